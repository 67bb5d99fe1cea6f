//! `cargo xtask tidy`: the rules of the house that a program can check at no cost.

mod configs;
mod crates;
mod files;
mod licences;
mod sources;

use crate::Result;

/// The Rust files of the crates and programs.
pub(crate) fn sources() -> Result<Vec<std::path::PathBuf>> {
    let is_source = |path: &std::path::PathBuf| {
        path.extension().is_some_and(|ext| ext == "rs")
            && path.components().any(|p| p.as_os_str() == "src")
    };
    Ok(files::all()?.into_iter().filter(is_source).collect())
}

/// Runs every check, and lists all that was found before it fails.
pub(crate) fn run() -> Result {
    let files = files::all()?;
    let metadata = crates::metadata()?;
    let findings = [
        sources::check(&files)?,
        crates::check(&metadata)?,
        licences::check(&metadata)?,
        configs::check(&files)?,
    ]
    .concat();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(format!("{count} findings").into()),
    }
}
