//! `fmt`: configs in canonical form.

use std::path::Path;
use std::{fs, io};

use hemi_core::config;

use crate::options::Options;
use crate::{Call, Failure, term};

pub(crate) fn fmt(Call { options, .. }: &Call<'_>) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for file in &options.operands {
        if let Err(message) = one(file, options) {
            failed.push(message);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

fn one(file: &str, options: &Options) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|e| format!("cannot read {file}: {e}"))?;
    let canonical = config::fmt(file, &text).map_err(|e| e.to_string())?;
    if options.check {
        let same = canonical == text;
        return same.then_some(()).ok_or_else(|| format!("{file} is not in canonical form"));
    }
    if !options.write {
        term::say(&canonical);
    } else if canonical != text {
        replace(Path::new(file), &canonical).map_err(|e| format!("cannot write {file}: {e}"))?;
        term::say(&format!("{file}\n"));
    }
    Ok(())
}

/// Puts a new file in the place of the old one, at once: a config that is half written is none. A link
/// stays a link, and who may read the file stays the same.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = file.canonicalize()?;
    let new = file.with_added_extension("new");
    let replaced = fs::copy(&file, &new)
        .and_then(|_| fs::write(&new, text))
        .and_then(|()| fs::rename(&new, &file));
    replaced.inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}
