//! The command line and the processes of a Hemi program.
//!
//! A program says who it is and which components it knows; [`Program::run`] is its whole `main`.

#![forbid(unsafe_code)]

mod actions;
#[cfg_attr(not(test), expect(dead_code, reason = "the leader that has it is to come"))]
mod admin;
mod advise;
#[allow(dead_code, reason = "the worker that asks what it admits is to come")]
mod confine;
#[cfg_attr(not(test), expect(dead_code, reason = "the leader that answers is to come"))]
mod control;
mod dirs;
mod options;
mod privileges;
#[cfg_attr(not(test), expect(dead_code, reason = "the leader that answers is to come"))]
mod recent;
#[allow(dead_code, reason = "the same")]
mod sandbox;
#[allow(dead_code, reason = "the leader that notifies is to come")]
mod systemd;
mod term;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

use hemi_core::Registry;

use options::Options;

/// A Hemi program.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     let program = hemi_procmgr::Program {
///         name: "mine",
///         title: "Mine, a program of my own",
///         version: env!("CARGO_PKG_VERSION"),
///         default_config: "stage {}",
///         register: |_| {},
///     };
///     program.run(std::env::args_os().skip(1), std::env::vars_os())
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name: of the binary, and of its config file.
    pub name: &'static str,
    /// What it is, in a line.
    pub title: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The config it runs with when none is found.
    pub default_config: &'static str,
    /// Adds the components it knows.
    pub register: fn(&mut Registry),
}

/// What an action has to go by.
pub(crate) struct Call<'a> {
    program: &'a Program,
    options: &'a Options,
    /// What configs see as `%env.NAME`.
    env: BTreeMap<String, String>,
}

/// Why an action is not done, and what its exit status says about it: see [`options::EXITS`].
pub(crate) struct Failure {
    status: u8,
    message: String,
}

/// Exit status: what was asked for was refused, or failed.
const FAILED: u8 = 1;

/// Exit status: the command line is wrong.
const USAGE: u8 = 2;

impl Failure {
    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: USAGE, message: message.into() }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { status: FAILED, message }
    }
}

impl From<hemi_core::Error> for Failure {
    fn from(e: hemi_core::Error) -> Self {
        e.to_string().into()
    }
}

impl Program {
    /// Does what the arguments say; `env` is what configs see as `%env.NAME`, which is text: variables
    /// that are not UTF-8 are left out.
    ///
    /// The exit status is 0 if it was done, 1 if it was refused or failed, 2 if the command line is wrong, 3 if
    /// the program that it is about is not running.
    pub fn run(
        self,
        args: impl IntoIterator<Item = OsString>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> ExitCode {
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let env = env.into_iter().filter_map(text).collect();
        let (action, options) = match utf8(args).and_then(options::parse) {
            Ok(asked) => asked,
            Err(e) => {
                term::complain(&format!("{}: {e}\nTry `{} help`.", self.name, self.name));
                return USAGE.into();
            }
        };
        match (action.run)(&Call { program: &self, options: &options, env }) {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure { status, message }) => {
                term::complain(message.trim_end());
                status.into()
            }
        }
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::new();
        (self.register)(&mut registry);
        registry
    }
}

/// All the program deals with is text, its config above all.
fn utf8(args: impl IntoIterator<Item = OsString>) -> Result<Vec<String>, String> {
    let text = |arg: OsString| {
        arg.into_string().map_err(|arg| format!("`{}` is not UTF-8", arg.display()))
    };
    args.into_iter().map(text).collect()
}
