//! Programs of ours in Go that tests speak to, made with other people's libraries: built when a test asks for one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Need, missing, modules, peer};

/// The program whose module is in this directory; `None`, with a line on stderr, when it can't be built here.
///
/// # Panics
/// When it can't though no peer may be missing: see [`peer`](super::peer()).
#[must_use]
pub fn go(module: &Path) -> Option<PathBuf> {
    let go = peer("go")?;
    let name = module.file_name()?.to_str()?;
    let binary = modules::directory().join("go").join(name);
    let mut build = Command::new(go);
    build.current_dir(module).args(["build", "-o"]).arg(&binary).arg(".").stdin(Stdio::null());
    // Its libraries are fetched if they are not there.
    match build.status() {
        Ok(status) if status.success() => Some(binary),
        _ => missing(name, Need::Always),
    }
}
