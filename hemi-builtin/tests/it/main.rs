//! The standard components, asked through the servers that hold them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is tests")]

mod cronjobs;
mod echo;
mod favicon;
mod headers;
mod mirror;
mod redirect;
mod revisers;
mod rewrite;
mod server;
mod sessions;
mod simple_logger;
mod static_files;
