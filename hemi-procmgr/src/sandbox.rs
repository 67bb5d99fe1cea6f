//! A sandbox for a process that serves: what its config has no need of, it can't do any more.
//!
//! - Landlock (landlock(7)): no files but those that the config names, some of the system, and the
//!   directories for logs, temporary and other data.
//! - Seccomp (seccomp(2)): no system calls but those that a server has use for. Above all it can't run programs.
//!
//! Both hold for the thread that enters and for those that it starts then: so it is entered first. What is
//! forbidden fails with `EACCES` or `EPERM`.

mod files;
mod syscalls;

use std::str::FromStr;

use hemi_core::io::IoDriver;

pub(crate) use files::Files;

/// Whether there is to be one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sandbox {
    #[default]
    Off,
    /// As far as the kernel can.
    On,
    /// With all of it, or the program does not start.
    Required,
}

impl FromStr for Sandbox {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "on" => Ok(Self::On),
            "required" => Ok(Self::Required),
            _ => Err("takes off, on or required".to_owned()),
        }
    }
}

impl Sandbox {
    /// Enters it, for good; comes back with what there is not, to be told.
    pub(crate) fn enter(self, files: &mut Files, driver: IoDriver) -> Result<Vec<String>, String> {
        if self == Self::Off {
            return Ok(Vec::new());
        }
        let missing: Vec<String> = [files.confine(), syscalls::confine(driver)]
            .into_iter()
            .filter_map(|done| done.err().map(|why| format!("sandbox: {why}")))
            .collect();
        match self {
            Self::Required if !missing.is_empty() => Err(missing.join("\n")),
            _ => Ok(missing),
        }
    }
}
