//! Loggers.

mod gather;
mod simple;
mod syslog;

pub use gather::GatherConfig;
pub use simple::{Every, RotationConfig, SimpleLogger, SimpleLoggerConfig, Target};
pub use syslog::{
    AppName, BadAppName, Daemon, DaemonError, Facility, Severity, SyslogConfig, SyslogLogger,
    Transport,
};
