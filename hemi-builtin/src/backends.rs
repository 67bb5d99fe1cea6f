//! Backends: groups of servers that do the work.

mod http1;

pub use http1::Http1Backend;
