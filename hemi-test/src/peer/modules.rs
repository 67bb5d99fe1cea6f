//! Libraries of Python and Node.js that tests speak through, each ecosystem in a directory of ours:
//! `target/peers/python` is a virtual environment, `target/peers/node` has `node_modules`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Need, missing, peer};

/// A library.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// The name that it is imported by.
    pub name: &'static str,
    /// The name that it is installed by.
    pub package: &'static str,
    /// What it is used for.
    pub purpose: &'static str,
}

/// Those of Python, from PyPI.
pub const PYTHON: &[Module] = &[
    Module {
        name: "websockets",
        package: "websockets",
        purpose: "an independent client of WebSockets",
    },
    Module { name: "h2", package: "h2", purpose: "an independent client of HTTP/2" },
    Module { name: "aioquic", package: "aioquic", purpose: "an independent client of HTTP/3" },
    Module { name: "grpc", package: "grpcio", purpose: "gRPC of others, both ends" },
];

/// Those of Node.js, from npm.
pub const NODE: &[Module] =
    &[Module { name: "ws", package: "ws", purpose: "an independent client of WebSockets" }];

/// Where all of them are.
#[must_use]
pub fn directory() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    workspace.unwrap_or(Path::new(".")).join("target/peers")
}

/// Whether a library is there, in the directory of its ecosystem.
#[must_use]
pub fn is_installed(module: &Module) -> bool {
    let node = directory().join("node/node_modules").join(module.name);
    let python = python_modules().is_some_and(|modules| modules.join(module.name).exists());
    node.exists() || python
}

fn python_modules() -> Option<PathBuf> {
    let versions = std::fs::read_dir(directory().join("python/lib")).ok()?;
    versions.flatten().map(|version| version.path().join("site-packages")).find(|dir| dir.exists())
}

/// A command that runs Python with this library; `None`, with a line on stderr, when it is not installed.
///
/// # Panics
/// When it is missing though none may be: see [`peer`](super::peer()).
#[must_use]
pub fn python(module: &str) -> Option<Command> {
    let known = PYTHON.iter().find(|known| known.name == module).filter(|m| is_installed(m));
    known.or_else(|| missing(module, Need::Always))?;
    Some(Command::new(directory().join("python/bin/python3")))
}

/// The same for Node.js.
///
/// # Panics
/// When it is missing though none may be: see [`peer`](super::peer()).
#[must_use]
pub fn node(module: &str) -> Option<Command> {
    let node = peer("node")?;
    let known = NODE.iter().find(|known| known.name == module).filter(|m| is_installed(m));
    known.or_else(|| missing(module, Need::Always))?;
    let mut command = Command::new(node);
    command.env("NODE_PATH", directory().join("node/node_modules"));
    Some(command)
}
