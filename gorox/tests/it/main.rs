//! The binary, run and spoken to from outside.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod admin;
mod cert;
mod check;
mod cli;
mod explain;
mod fmt;
mod layer4;
mod limits;
mod log;
mod memory;
mod options;
mod pong;
mod processes;
mod refused;
mod reverse;
mod serve;
mod signals;
mod systemd;
mod transparent;
