//! `dump`: a config as one text.

use hemi_core::config;

use crate::{Call, Failure, dirs, term};

pub(crate) fn dump(call: &Call<'_>) -> Result<(), Failure> {
    let (source, constants) = dirs::locate(call)?;
    let tree = config::load(&source, &constants).map_err(|e| e.to_string())?;
    let canonical = config::fmt("the dumped config", tree.flat()).map_err(|e| e.to_string())?;
    term::say(&canonical);
    Ok(())
}
