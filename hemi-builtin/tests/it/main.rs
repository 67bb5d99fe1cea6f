//! The standard components, asked through the servers that hold them.

mod echo;
mod favicon;
mod server;
mod simple_logger;
mod static_files;
