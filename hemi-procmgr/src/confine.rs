//! What a process that serves gives up first: its user, and whatever its config has no need of.

use hemi_core::config::{Constants, Source};
use tracing::warn;

use crate::privileges::User;
use crate::sandbox::{Files, Sandbox};
use crate::{Call, Failure};

/// Becomes the user that the options name, if they do.
///
/// To be called while the process has one thread.
pub(crate) fn become_user(call: &Call<'_>, constants: &Constants) -> Result<(), Failure> {
    let Some(name) = &call.options.user else { return Ok(()) };
    let user = User::find(name, call.options.group.as_deref())?;
    for dir in [&constants.log_dir, &constants.tmp_dir, &constants.var_dir] {
        user.provide(dir)?;
    }
    Ok(user.assume()?)
}

/// Enters the sandbox that the options ask for, made for this config.
///
/// To be called while the process has one thread.
pub(crate) fn enter_sandbox(
    call: &Call<'_>,
    source: &Source,
    constants: &Constants,
) -> Result<(), Failure> {
    let sandbox = call.options.sandbox;
    if sandbox == Sandbox::Off {
        return Ok(());
    }
    let needs = hemi_core::needs(&call.program.registry(), source, constants)?;
    for missing in sandbox.enter(&Files::new(needs, source, constants))? {
        warn!("{missing}");
    }
    Ok(())
}
