//! The files of the repository, without what is built or generated.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::cargo::root;

/// Directories that hold no text of ours.
const SKIPPED: &[&str] = &["target", "corpus", "artifacts", "data"];

/// Every file, with its path relative to the root of the repository, sorted.
pub(super) fn all() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(root(), &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with('.') && !SKIPPED.contains(&name.as_ref()) {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path().strip_prefix(root())?.to_owned());
        }
    }
    Ok(())
}
