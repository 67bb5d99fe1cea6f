//! The handlet `scgiProxy`: has requests be answered by a program that speaks SCGI.
//!
//! ```gorox
//! stage {
//! 	scgiBackend "app" { node { .address = "127.0.0.1:4000" } }
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		rule $path ^= "/shop" { scgiProxy { .toBackend = "app"  .mount = "/shop" } }
//! 		rule { .returnCode = 404 }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```

use super::gateway::mounted::{MountedProxy, Program};

/// Has requests be answered by a program that speaks SCGI.
pub type ScgiProxy = MountedProxy<Scgi>;

/// Programs that speaks SCGI.
#[derive(Debug)]
pub struct Scgi;

impl Program for Scgi {
    const SIGN: &'static str = "scgiProxy";
    const ABOUT: &'static str = "Has requests be answered by a program that speaks SCGI.";
    const PROTOCOL: &'static str = "SCGI";
}
