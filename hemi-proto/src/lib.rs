//! Wire formats as values: no socket, no clock, no task.
#![forbid(unsafe_code)]
