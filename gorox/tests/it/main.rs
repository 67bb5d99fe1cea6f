//! The binary, run and spoken to from outside.

mod gorox;
mod limits;
mod memory;
mod refused;
mod signals;
