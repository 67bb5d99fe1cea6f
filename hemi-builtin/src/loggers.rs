//! Loggers.

mod simple;

pub use simple::{SimpleLogger, SimpleLoggerConfig};
