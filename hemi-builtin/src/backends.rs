//! Backends: groups of servers that do the work.

mod ajp;
pub(crate) mod cgi;
mod conns;
mod exchange;
mod fcgi;
mod group;
mod http;
mod http1;
pub(crate) mod http2;
mod http3;
mod multiplexed;
mod scgi;
mod uwsgi;

pub use ajp::{AjpBackend, AjpConfig};
pub use conns::ConnsConfig;
pub use exchange::TimesConfig;
pub use fcgi::{FcgiBackend, FcgiConfig};
pub use http::HttpConfig;
pub use http1::Http1Backend;
pub use http2::Http2Backend;
pub use http3::{Http3Backend, Http3Config};
pub use multiplexed::MultiplexConfig;
pub use scgi::ScgiBackend;
pub use uwsgi::{UwsgiBackend, UwsgiConfig};
