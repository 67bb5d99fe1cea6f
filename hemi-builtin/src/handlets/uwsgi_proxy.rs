//! The handlet `uwsgiProxy`: has requests be answered by a program that uWSGI runs.
//!
//! ```gorox
//! stage {
//! 	uwsgiBackend "app" { node { .address = "127.0.0.1:3031" } }
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		rule $path ^= "/shop" { uwsgiProxy { .toBackend = "app"  .mount = "/shop" } }
//! 		rule { .returnCode = 404 }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```

use super::gateway::mounted::{MountedProxy, Program};

/// Has requests be answered by a program that uWSGI runs.
pub type UwsgiProxy = MountedProxy<Uwsgi>;

/// Programs that uWSGI runs.
#[derive(Debug)]
pub struct Uwsgi;

impl Program for Uwsgi {
    const SIGN: &'static str = "uwsgiProxy";
    const ABOUT: &'static str = "Has requests be answered by a program that uWSGI runs.";
    const PROTOCOL: &'static str = "uwsgi";
}
