//! The binary, run and spoken to from outside.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod gorox;
mod limits;
mod memory;
mod refused;
mod signals;
