//! Checks of nodes.

mod http_check;

pub use http_check::{HttpCheck, HttpCheckConfig};
