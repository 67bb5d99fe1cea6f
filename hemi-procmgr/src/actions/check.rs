//! `check`: does everything with a config but start it.

use hemi_core::config::Source;

use crate::{Call, Failure, dirs, term};

pub(crate) fn check(call: &Call<'_>) -> Result<(), Failure> {
    let (source, constants) = dirs::locate(call)?;
    hemi_core::check(&call.program.registry(), &source, &constants)?;
    let name = match &source {
        Source::Text { name, .. } => name.clone(),
        Source::File(path) => path.display().to_string(),
        Source::Url(url) => url.clone(),
    };
    term::say(&format!("{name}: no mistakes found\n"));
    Ok(())
}
