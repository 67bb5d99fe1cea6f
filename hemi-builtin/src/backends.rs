//! Backends: groups of servers that do the work.

mod cgi;
mod conns;
mod exchange;
mod fcgi;
mod http1;
mod http2;

pub use conns::ConnsConfig;
pub use exchange::TimesConfig;
pub use fcgi::{FcgiBackend, FcgiConfig};
pub use http1::{Http1Backend, Http1Config};
pub use http2::{Http2Backend, Http2Config};
