//! The standard components, asked through the servers that hold them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is tests")]

mod access;
mod basic_auth;
mod cors;
mod cronjobs;
mod echo;
mod favicon;
mod fcgi_proxy;
mod forward_auth;
mod forward_proxies;
mod headers;
mod http2_proxy;
mod http_proxy;
mod https;
mod jwt_auth;
mod limit;
mod maintenance;
mod metrics;
mod mirror;
mod proxy_faults;
mod redirect;
mod redis;
mod referer;
mod request_id;
mod revisers;
mod rewrite;
mod server;
mod sessions;
mod simple_logger;
mod socklets;
mod static_files;
mod syslog_logger;
mod tcpx;
mod upstream;
