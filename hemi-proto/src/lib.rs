//! Wire formats as values: no socket, no clock, no task.
