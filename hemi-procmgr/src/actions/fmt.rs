//! `fmt`: configs in canonical form.

use std::fs;

use hemi_core::config;

use crate::options::Options;
use crate::term;

pub(crate) fn fmt(options: &Options) -> Result<(), String> {
    if options.operands.is_empty() {
        return Err("name the files to format".to_owned());
    }
    let mut failed = Vec::new();
    for file in &options.operands {
        if let Err(message) = one(file, options.write) {
            failed.push(message);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

fn one(file: &str, write: bool) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|e| format!("cannot read {file}: {e}"))?;
    let canonical = config::fmt(file, &text).map_err(|e| e.to_string())?;
    if !write {
        term::say(&canonical);
    } else if canonical != text {
        // A file that is half written is no config: the new one takes its place at once.
        let new = format!("{file}.new");
        let replaced = fs::write(&new, canonical).and_then(|()| fs::rename(&new, file));
        replaced.map_err(|e| format!("cannot write {file}: {e}"))?;
        term::say(&format!("{file}\n"));
    }
    Ok(())
}
