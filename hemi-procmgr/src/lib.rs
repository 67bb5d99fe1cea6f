//! The command line and the processes of a Hemi program.
#![forbid(unsafe_code)]
