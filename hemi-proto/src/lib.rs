//! Wire formats as values: no socket, no clock, no task.
//!
//! Every parser here takes bytes that came from a stranger and either gives a value that cannot be
//! misread or a named error; none of them panics, blocks or reads a clock. The caller owns the
//! buffers, and values are slices of them ([`bytes::Bytes`]) wherever that saves a copy.

#![forbid(unsafe_code)]

pub mod accept;
pub mod accept_encoding;
pub mod acme;
pub mod ajp;
pub mod ascii;
pub mod authority;
pub mod capsule;
pub mod capture;
pub mod cgi;
pub mod cidr;
pub mod client_hello;
pub mod conditional;
pub mod cookie;
pub mod cron;
pub mod date;
pub mod dns;
pub mod etag;
pub mod fcgi;
pub mod fields;
pub mod grpc;
pub mod grpc_health;
pub mod gzip;
pub mod hrpc;
pub mod http1;
pub mod http2;
pub mod http3;
pub mod http_rule;
pub mod huffman;
pub mod jws;
pub mod message;
pub mod multipart;
pub mod mysql;
pub mod ocsp;
pub mod params;
pub mod path;
pub mod pgsql;
pub mod prefix_int;
pub mod priority;
pub mod proxy_protocol;
pub mod query;
pub mod quic_head;
pub mod quic_initial;
pub mod range;
pub mod redis;
pub mod replace;
pub mod rpcx;
pub mod scgi;
pub mod sniff;
pub mod socks;
pub mod ssi;
pub mod traceparent;
pub mod uwsgi;
#[cfg(feature = "webdav")]
pub mod webdav;
pub mod websocket;
pub mod x509;
pub mod zookeeper;

mod quality;
