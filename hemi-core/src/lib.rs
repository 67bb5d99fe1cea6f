//! The Hemi engine: config language, components, stages, runtime, sockets.

// What `#[derive(Explain)]` writes works in this crate too.
#[allow(unused_extern_crates, reason = "only what is derived names it")]
extern crate self as hemi_core;

pub mod config;

pub use config::Explain;
