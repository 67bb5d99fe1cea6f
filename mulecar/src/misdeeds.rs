//! The handlet `misdeeds`: tries what a server that was taken over would try.

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request, Response};
use rustix::net::{AddressFamily, SocketType, socket};
use serde::Deserialize;

/// Tries to read the passwords of the system, to run a program, to look at all packets, and to write beside
/// what it serves; answers with what came of each.
#[derive(Debug)]
pub(crate) struct Misdeeds {
    victim: PathBuf,
}

/// Tries things.
#[derive(Debug, Deserialize, Explain)]
pub(crate) struct MisdeedsConfig {
    /// The file that it tries to write.
    victim: PathBuf,
}

impl Component for Misdeeds {
    const SIGN: &'static str = "misdeeds";
    type Config = MisdeedsConfig;

    fn create(config: MisdeedsConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self { victim: cx.path(config.victim) })
    }
}

impl Lifecycle for Misdeeds {}

impl Handlet for Misdeeds {
    async fn handle(&self, _: &mut Request) -> Reply {
        let deeds = [
            ("read", told(fs::read("/etc/shadow"))),
            ("list", told(fs::read_dir("/root"))),
            ("run", told(Command::new("/bin/true").status())),
            ("look at packets", told(socket(AddressFamily::PACKET, SocketType::RAW, None))),
            ("write", told(fs::write(&self.victim, "was here"))),
        ];
        let lines = deeds.iter().map(|(deed, outcome)| format!("{deed}: {outcome}\n"));
        Response::text(lines.collect::<String>()).into()
    }
}

fn told<T>(result: std::result::Result<T, impl Display>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(e) => e.to_string(),
    }
}
