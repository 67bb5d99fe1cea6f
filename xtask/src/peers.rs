//! `cargo xtask peers`: installs the programs and libraries that tests and the bench use, on Debian.

use std::process::{Command, Stdio};

use hemi_test::peer::modules::{self, Module, NODE, PYTHON};
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
        PYTHON.iter().chain(NODE).for_each(print_module);
        return Ok(());
    }
    let missing: Vec<_> = wanted.filter(|peer| peer::find(peer.program).is_none()).collect();
    let (programs, packages): (Vec<&Peer>, _) =
        missing.iter().partition(|peer| peer.go_module().is_some());
    if !packages.is_empty() {
        install(&packages)?;
    }
    programs.into_iter().try_for_each(install_by_go)?;
    if let Some(peer) = missing.iter().find(|peer| peer::find(peer.program).is_none()) {
        return Err(format!("package {} has no program {}", peer.package, peer.program).into());
    }
    install_modules()?;
    println!("all peers are installed");
    Ok(())
}

/// Installs the libraries that are not there yet, in the directories of their ecosystems.
fn install_modules() -> Result {
    let missing = |all: &'static [Module]| {
        let missing = all.iter().filter(|module| !modules::is_installed(module));
        missing.map(|module| module.package).collect::<Vec<_>>()
    };
    let (python, node) = (modules::directory().join("python"), modules::directory().join("node"));
    let names = missing(PYTHON);
    if !names.is_empty() {
        run_command(command("python3").args(["-m", "venv"]).arg(&python))?;
        let pip = python.join("bin/pip");
        run_command(command(pip).args(["install", "--quiet"]).args(names))?;
    }
    let names = missing(NODE);
    if !names.is_empty() {
        std::fs::create_dir_all(&node)?;
        let mut npm = command("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&node);
        run_command(npm.args(names))?;
    }
    Ok(())
}

fn print(peer: &Peer) {
    let place = peer::find(peer.program);
    let place = place.map_or("not installed".into(), |path| path.display().to_string());
    println!("{:10} {:16} {:34} {place}", peer.program, peer.package, peer.purpose);
}

fn print_module(module: &Module) {
    let installed = modules::is_installed(module);
    let place = if installed { "installed" } else { "not installed" };
    println!("{:10} {:16} {:34} {place}", module.name, "", module.purpose);
}

fn install(peers: &[&Peer]) -> Result {
    run_command(as_root("apt-get")?.arg("update").stdout(Stdio::null()))?;
    let mut install = as_root("apt-get")?;
    install.args(["install", "--yes", "--no-install-recommends"]);
    install.args(peers.iter().map(|peer| peer.package));
    run_command(&mut install)
}

/// Has Go build a program where all programs are found. A module of its own requires that of the
/// program: `go install PATH@VERSION` would also ask the proxy for modules of longer names, and
/// fails when that refuses what it does not know.
fn install_by_go(peer: &Peer) -> Result {
    let Some((module, version, path)) = peer.go_module() else { return Ok(()) };
    let directory = modules::directory().join("go").join(peer.program);
    std::fs::create_dir_all(&directory)?;
    let requires = format!("module peer\n\ngo 1.20\n\nrequire {module} {version}\n");
    std::fs::write(directory.join("go.mod"), requires)?;
    let mut go = as_root("GOBIN=/usr/local/bin")?;
    go.args(["go", "install", "-mod=mod"]).arg(format!("{module}/{path}"));
    run_command(go.current_dir(directory))
}

/// The program, with sudo in front where this isn't root already. It asks no questions.
fn as_root(program: &str) -> Result<Command> {
    let is_root = crate::cargo::stdout_of(command("id").arg("-u"))?.trim() == "0";
    let mut command = command(if is_root { "env" } else { "sudo" });
    command.args(["DEBIAN_FRONTEND=noninteractive", program]);
    Ok(command)
}
