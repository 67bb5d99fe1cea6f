//! The Hemi engine: config language, components, stages, runtime, sockets.

pub mod config;
