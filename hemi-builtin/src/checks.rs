//! Checks of nodes.

mod grpc_check;
mod http_check;

pub use grpc_check::{GrpcCheck, GrpcCheckConfig};
pub use http_check::{HttpCheck, HttpCheckConfig};
