//! What a process that serves gives up first: its user, and whatever its config has no need of.

use hemi_core::Registry;
use hemi_core::config::{Constants, Source};
use hemi_core::io::IoDriver;
use tracing::warn;

use crate::privileges::User;
use crate::sandbox::{Files, Sandbox};
use crate::{Call, Failure};

/// The user that the options name, if they do.
pub(crate) fn user(call: &Call<'_>) -> Result<Option<User>, Failure> {
    let group = call.options.group.as_deref();
    Ok(call.options.user.as_ref().map(|name| User::find(name, group)).transpose()?)
}

/// Makes the directories in which that user is to write.
pub(crate) fn provide(call: &Call<'_>, constants: &Constants) -> Result<(), Failure> {
    let Some(user) = user(call)? else { return Ok(()) };
    for dir in [&constants.log_dir, &constants.tmp_dir, &constants.var_dir] {
        user.provide(dir)?;
    }
    Ok(())
}

/// Becomes that user.
///
/// To be called while the process has one thread.
pub(crate) fn become_user(call: &Call<'_>) -> Result<(), Failure> {
    Ok(user(call)?.map(|user| user.assume()).transpose().map(drop)?)
}

/// The sandbox that a process is in.
#[derive(Debug)]
pub(crate) struct Confined(Option<Files>);

/// Enters the sandbox that the options ask for, made for the config that it serves, and for those that come
/// from the same source later.
///
/// To be called while the process has one thread.
pub(crate) fn enter_sandbox(
    call: &Call<'_>,
    serves: &Source,
    source: &Source,
    constants: &Constants,
) -> Result<Confined, Failure> {
    if call.options.sandbox == Sandbox::Off {
        return Ok(Confined(None));
    }
    let registry = call.program.registry();
    // The mistakes of a config are told by who loads it.
    let needs = hemi_core::needs(&registry, serves, constants).unwrap_or_default();
    let mut files = Files::new(needs, source, constants);
    let driver = call.options.io.unwrap_or(IoDriver::DEFAULT);
    for missing in call.options.sandbox.enter(&mut files, driver)? {
        warn!("{missing}");
    }
    Ok(Confined(Some(files)))
}

impl Confined {
    /// Whether there is room in it for another config.
    pub(crate) fn admits(
        &self,
        registry: &Registry,
        source: &Source,
        constants: &Constants,
    ) -> Result<(), String> {
        let Some(files) = &self.0 else { return Ok(()) };
        let Ok(needs) = hemi_core::needs(registry, source, constants) else { return Ok(()) };
        match files.lacks(&Files::new(needs, source, constants)) {
            None => Ok(()),
            Some(path) => Err(format!(
                "the sandbox of this worker forbids {}: `rework` starts one that is made for the config",
                path.display()
            )),
        }
    }
}
