//! `check`: does everything with a config but start it.

use crate::{Call, Failure, dirs, term};

pub(crate) fn check(call: &Call<'_>) -> Result<(), Failure> {
    let (source, constants) = dirs::locate(call)?;
    hemi_core::check(&call.program.registry(), &source, &constants)?;
    term::say(&format!("{source}: no mistakes found\n"));
    Ok(())
}
