//! Servers and clients of rpcx, through real sockets: byte by byte, and against those in Go.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod calls;
mod client;
mod cluster;
mod gateway;
mod go;
mod grpc;
mod hrpc;
mod limits;
mod server;
mod services;
mod side;
mod tool;
mod transports;
