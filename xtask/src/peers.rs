//! `cargo xtask peers`: installs the programs that tests and the bench use, on Debian.

use std::process::{Command, Stdio};

use hemi_test::peer::{self, Need, PEERS, Peer};

use crate::Result;
use crate::cargo::{command, run as run_command};

pub(crate) fn run(args: &[String]) -> Result {
    let mut all = false;
    let mut only_print = false;
    for arg in args {
        match arg.as_str() {
            "--all" => all = true,
            "--print" => only_print = true,
            _ => return Err(format!("unexpected argument {arg:?}").into()),
        }
    }
    let wanted = PEERS.iter().filter(|peer| all || peer.need == Need::Always);
    if only_print {
        wanted.for_each(print);
        return Ok(());
    }
    let missing: Vec<_> = wanted.filter(|peer| peer::find(peer.program).is_none()).collect();
    if missing.is_empty() {
        println!("all peers are installed");
        return Ok(());
    }
    install(&missing)?;
    match missing.iter().find(|peer| peer::find(peer.program).is_none()) {
        None => Ok(()),
        Some(peer) => {
            Err(format!("package {} has no program {}", peer.package, peer.program).into())
        }
    }
}

fn print(peer: &Peer) {
    let place = peer::find(peer.program);
    let place = place.map_or("not installed".into(), |path| path.display().to_string());
    println!("{:10} {:16} {:34} {place}", peer.program, peer.package, peer.purpose);
}

fn install(peers: &[&Peer]) -> Result {
    run_command(as_root("apt-get")?.arg("update").stdout(Stdio::null()))?;
    let mut install = as_root("apt-get")?;
    install.args(["install", "--yes", "--no-install-recommends"]);
    install.args(peers.iter().map(|peer| peer.package));
    run_command(&mut install)
}

/// The program, with sudo in front where this isn't root already. It asks no questions.
fn as_root(program: &str) -> Result<Command> {
    let is_root = crate::cargo::stdout_of(command("id").arg("-u"))?.trim() == "0";
    let mut command = command(if is_root { "env" } else { "sudo" });
    command.args(["DEBIAN_FRONTEND=noninteractive", program]);
    Ok(command)
}
