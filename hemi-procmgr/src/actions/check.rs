//! `check`: does everything with a config but start it.

use std::collections::BTreeMap;

use hemi_core::config::Source;

use crate::options::Options;
use crate::{Program, dirs, term};

pub(crate) fn check(
    program: &Program,
    options: &Options,
    env: BTreeMap<String, String>,
) -> Result<(), String> {
    let (source, constants) = dirs::locate(program, options, env)?;
    hemi_core::check(&program.registry(), &source, &constants).map_err(|e| e.to_string())?;
    let name = match &source {
        Source::Text { name, .. } => name.clone(),
        Source::File(path) => path.display().to_string(),
        Source::Url(url) => url.clone(),
    };
    term::say(&format!("{name}: no mistakes found\n"));
    Ok(())
}
