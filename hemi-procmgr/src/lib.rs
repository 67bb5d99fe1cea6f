//! The command line and the processes of a Hemi program.
//!
//! A program says who it is and which components it knows; [`Program::run`] is its whole `main`.

#![forbid(unsafe_code)]

mod actions;
mod admin;
mod advise;
mod channel;
mod confine;
mod control;
mod dirs;
mod journal;
mod leader;
mod logging;
mod messages;
mod options;
mod privileges;
mod recent;
mod sandbox;
mod signals;
mod single;
mod systemd;
mod term;
mod worker;

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
    /// The arguments as they came, for processes that are to have the same.
    args: Vec<String>,
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

/// Exit status: the program that was asked for is not running.
const NOT_RUNNING: u8 = 3;

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
        let complain = |e: String| {
            term::complain(&format!("{}: {e}\nTry `{} help`.", self.name, self.name));
            USAGE.into()
        };
        let mut args = match utf8(args) {
            Ok(args) => args,
            Err(e) => return complain(e),
        };
        let role = args.first().and_then(|first| Role::named(first));
        if role.is_some() {
            args.remove(0);
        }
        let (action, options) = match options::parse(args.iter().cloned()) {
            Ok(asked) => asked,
            Err(e) => return complain(e),
        };
        let call = Call { program: &self, options: &options, env, args };
        let done = match role {
            None => (action.run)(&call),
            Some(Role::Worker) => worker::run(&call),
            Some(Role::Leader) => leader::run(&call, leader::StartedBy::Parent),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure { status, message }) => {
                // Programs have read it already.
                if !message.is_empty() {
                    term::complain(message.trim_end());
                }
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

/// What a process is for that this program has started itself.
#[derive(Clone, Copy)]
enum Role {
    Leader,
    Worker,
}

impl Role {
    fn named(arg: &str) -> Option<Self> {
        match arg {
            leader::LEADER => Some(Self::Leader),
            leader::WORKER => Some(Self::Worker),
            _ => None,
        }
    }
}

/// All the program deals with is text, its config above all.
fn utf8(args: impl IntoIterator<Item = OsString>) -> Result<Vec<String>, String> {
    let text = |arg: OsString| {
        arg.into_string().map_err(|arg| format!("`{}` is not UTF-8", arg.display()))
    };
    args.into_iter().map(text).collect()
}
