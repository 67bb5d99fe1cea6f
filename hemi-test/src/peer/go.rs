//! Programs of ours in Go that tests speak to, made with other people's libraries: built when a test asks for one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::{Need, missing, modules, peer};

/// What has been built by this process, each once: a program that runs can't be written.
static BUILT: Mutex<Option<HashMap<PathBuf, PathBuf>>> = Mutex::new(None);

/// The program whose module is in this directory; `None`, with a line on stderr, when it can't be built here.
///
/// # Panics
/// When it can't though no peer may be missing: see [`peer`](super::peer()).
#[must_use]
pub fn go(module: &Path) -> Option<PathBuf> {
    let go = peer("go")?;
    let name = module.file_name()?.to_str()?;
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    if let Some(binary) = built.get(module) {
        return Some(binary.clone());
    }
    let binary = modules::directory().join("go").join(name);
    let mut build = Command::new(go);
    build.current_dir(module).args(["build", "-o"]).arg(&binary).arg(".").stdin(Stdio::null());
    // Its libraries are fetched if they are not there.
    match build.status() {
        Ok(status) if status.success() => {
            built.insert(module.to_owned(), binary.clone());
            Some(binary)
        }
        _ => missing(name, Need::Always),
    }
}
