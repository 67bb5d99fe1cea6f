//! The command line: two tables, [`ACTIONS`] and [`OPTIONS`], from which it is parsed and explained, and
//! from which completions and the man page are made. What is not in them can't be said.

mod actions;
pub(crate) mod completion;
pub(crate) mod help;
pub(crate) mod man;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use hemi_core::config::suggest;
use hemi_core::io::IoDriver;

use crate::admin::Identity;
use crate::sandbox::Sandbox;
use crate::{Call, Failure};

pub(crate) use actions::ACTIONS;
pub(crate) use table::OPTIONS;

/// Something that the program does: a row of [`ACTIONS`].
pub(crate) struct Action {
    /// Its name, then its other names, which are only known to the parser and the man page.
    pub(crate) names: &'static [&'static str],
    pub(crate) operands: Operands,
    /// In a line, as of what it does.
    pub(crate) about: &'static str,
    /// What else there is to know; lines are wrapped, paragraphs stay.
    pub(crate) more: &'static str,
    /// What its exit statuses mean, where more can be said than [`EXITS`] does.
    pub(crate) exits: &'static [(u8, &'static str)],
    pub(crate) run: fn(&Call<'_>) -> Result<(), Failure>,
}

/// The arguments of an action that are no options.
#[derive(Clone, Copy)]
pub(crate) enum Operands {
    Nothing,
    One(Value),
    Optional(Value),
    Several(Value),
}

/// What is given to an action or an option.
#[derive(Clone, Copy)]
pub(crate) struct Value {
    /// What to call it.
    pub(crate) name: &'static str,
    pub(crate) is: Is,
}

/// What a value can be, for those who complete it.
#[derive(Clone, Copy)]
pub(crate) enum Is {
    File,
    Dir,
    OneOf(&'static [&'static str]),
    /// The name of an action.
    Action,
    /// The sign of a component.
    Sign,
    /// Anything else, which can't be completed.
    Text,
}

/// What can be said about how to act: a row of [`OPTIONS`].
pub(crate) struct Opt {
    /// Its name, then its other names. One dash does as well as two.
    pub(crate) names: &'static [&'static str],
    pub(crate) set: Set,
    /// What it is for. `NAME` stands for the name of the program.
    pub(crate) about: &'static str,
    /// What holds without it, if there is something to say.
    pub(crate) default: &'static str,
    /// The actions that know it, by their names; all if there are none.
    pub(crate) of: &'static [&'static str],
}

/// How an option changes what was asked for.
pub(crate) enum Set {
    Flag(fn(&mut Options)),
    Value(Value, fn(&mut Options, String) -> Result<(), String>),
}

/// What the exit statuses of all actions mean.
pub(crate) const EXITS: &[(u8, &str)] = &[
    (0, "what was asked for is done"),
    (1, "it was refused, or it failed"),
    (2, "the command line is wrong"),
    (3, "the program that was asked for is not running"),
];

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Arguments that are not options.
    pub(crate) operands: Vec<String>,
    /// Asks what the action is, instead of doing it.
    pub(crate) help: bool,
    pub(crate) version: bool,
    /// A path, or an `http://` URL.
    pub(crate) config: Option<String>,
    pub(crate) top_dir: Option<PathBuf>,
    pub(crate) log_dir: Option<PathBuf>,
    pub(crate) tmp_dir: Option<PathBuf>,
    pub(crate) var_dir: Option<PathBuf>,
    /// The path of the control socket, or the address of a port beside it.
    pub(crate) cmdui: Option<String>,
    /// The address of the admin pages.
    pub(crate) webui: Option<String>,
    /// By which names these may be asked for.
    pub(crate) admin_hosts: Vec<String>,
    /// By what they speak TLS.
    pub(crate) admin_certificate: Option<PathBuf>,
    pub(crate) admin_key: Option<PathBuf>,
    pub(crate) admin_client_ca: Option<PathBuf>,
    /// In seconds.
    pub(crate) grace: Option<u16>,
    pub(crate) single: bool,
    pub(crate) daemon: bool,
    pub(crate) binary: Option<PathBuf>,
    pub(crate) io: Option<IoDriver>,
    /// Whom the process that serves is to be, and in which group.
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) sandbox: Sandbox,
    pub(crate) debug: u8,
    /// How long a certificate is to be valid.
    pub(crate) days: Option<u64>,
    pub(crate) write: bool,
    pub(crate) check: bool,
    pub(crate) json: bool,
    /// What is said to the tool of an action, as `--NAME=VALUE`.
    pub(crate) said: Vec<String>,
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(
    args: impl IntoIterator<Item = String>,
) -> Result<(&'static Action, Options), String> {
    let (mut options, mut action, mut given) = (Options::default(), None, Vec::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if let Some(option) = arg.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            let name = option.strip_prefix('-').unwrap_or(option);
            given.push(options.set(name, &arg, &mut args)?);
        } else if action.is_some() {
            options.operands.push(arg);
        } else {
            action = Some(Action::named(&arg)?);
        }
    }
    let action = match action {
        Some(action) if !options.help && !options.version => action,
        // `check --help` is `help check`.
        _ if options.help => {
            options.operands = action.map(|action| action.name().to_owned()).into_iter().collect();
            Action::named("help")?
        }
        _ if options.version => Action::named("version")?,
        _ => Action::named("serve")?,
    };
    if options.admin_certificate.is_some() != options.admin_key.is_some() {
        return Err("--admin-cert and --admin-key need each other".to_owned());
    }
    if options.admin_client_ca.is_some() && options.admin_key.is_none() {
        return Err("--admin-client-ca needs --admin-cert and --admin-key".to_owned());
    }
    if options.group.is_some() && options.user.is_none() {
        return Err("--group needs a --user".to_owned());
    }
    match given.iter().find(|option| !options.help && !option.is_of(action)) {
        Some(option) => Err(format!("{} does not know --{}", action.name(), option.name())),
        None => action.takes(&options.operands).map(|()| (action, options)),
    }
}

impl Options {
    /// How long a stage may take to drain.
    pub(crate) fn grace(&self) -> Duration {
        self.grace.map_or(hemi_core::GRACE, |seconds| Duration::from_secs(seconds.into()))
    }

    /// By what the admin servers speak TLS, if they are to.
    pub(crate) fn admin_identity(&self) -> Option<Identity> {
        let (certificate, key) = (self.admin_certificate.clone()?, self.admin_key.clone()?);
        Some(Identity { certificate, key, client_ca: self.admin_client_ca.clone() })
    }

    fn say(&mut self, name: &str, value: &str) -> Result<(), String> {
        self.said.push(format!("--{name}={value}"));
        Ok(())
    }

    fn set(
        &mut self,
        option: &str,
        arg: &str,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<&'static Opt, String> {
        let (name, given) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option, None),
        };
        let known =
            OPTIONS.iter().find(|option| option.names.contains(&name)).ok_or_else(|| {
                let names = OPTIONS.iter().flat_map(|option| option.names).copied();
                let near = suggest(name, names).map(|near| format!("--{near}"));
                format!("there is no option `{arg}`{}", did_you_mean(near.as_deref()))
            })?;
        match (&known.set, given) {
            (Set::Flag(set), None) => set(self),
            (Set::Flag(_), Some(_)) => return Err(format!("--{name} takes no value")),
            (Set::Value(value, set), given) => {
                let given = given.or_else(|| rest.next());
                let given = given.ok_or(format!("--{name} needs a {}", value.name))?;
                value.admits(&format!("--{name}"), &given)?;
                set(self, given).map_err(|e| format!("--{name} {e}"))?;
            }
        }
        Ok(known)
    }
}

impl Action {
    pub(crate) fn name(&self) -> &'static str {
        self.names.first().unwrap_or(&"")
    }

    /// The one of that name.
    pub(crate) fn named(name: &str) -> Result<&'static Self, String> {
        ACTIONS.iter().find(|action| action.names.contains(&name)).ok_or_else(|| {
            let near = suggest(name, ACTIONS.iter().flat_map(|action| action.names).copied());
            format!("there is no action `{name}`{}", did_you_mean(near))
        })
    }

    /// The options that it knows.
    pub(crate) fn options(&self) -> impl Iterator<Item = &'static Opt> {
        OPTIONS.iter().filter(|option| option.is_of(self))
    }

    fn takes(&self, operands: &[String]) -> Result<(), String> {
        let name = self.name();
        match (self.operands, operands) {
            (Operands::One(value) | Operands::Several(value), []) => {
                Err(format!("{name} needs a {}", value.name))
            }
            (Operands::Nothing, [extra, ..])
            | (Operands::One(_) | Operands::Optional(_), [_, extra, ..]) => {
                Err(format!("I don't know what to do with `{extra}`"))
            }
            _ => operands.iter().try_for_each(|operand| match self.operands.value() {
                Some(value) => value.admits(name, operand),
                None => Ok(()),
            }),
        }
    }
}

impl Value {
    /// Whether it can be that, as far as the table knows.
    fn admits(self, taker: &str, given: &str) -> Result<(), String> {
        match self.is {
            Is::OneOf(choices) if !choices.contains(&given) => {
                let (last, others) = choices.split_last().unwrap_or((&"", &[]));
                Err(format!("{taker} takes {} or {last}", others.join(", ")))
            }
            Is::Action => Action::named(given).map(drop),
            _ => Ok(()),
        }
    }
}

impl Operands {
    /// What they are, if there are any.
    pub(crate) fn value(self) -> Option<Value> {
        match self {
            Self::Nothing => None,
            Self::One(value) | Self::Optional(value) | Self::Several(value) => Some(value),
        }
    }

    /// As it is written in a synopsis.
    pub(crate) fn synopsis(self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::One(value) => value.name.to_owned(),
            Self::Optional(value) => format!("[{}]", value.name),
            Self::Several(value) => format!("{}...", value.name),
        }
    }
}

impl Opt {
    pub(crate) fn name(&self) -> &'static str {
        self.names.first().unwrap_or(&"")
    }

    pub(crate) fn value(&self) -> Option<Value> {
        match self.set {
            Set::Flag(_) => None,
            Set::Value(value, _) => Some(value),
        }
    }

    pub(crate) fn is_of(&self, action: &Action) -> bool {
        self.of.is_empty() || self.of.contains(&action.name())
    }

    /// What it is for, in the program of this name, and what holds without it.
    pub(crate) fn text(&self, program: &str) -> String {
        let default = match self.default {
            "" => String::new(),
            default => format!(" (default: {default})"),
        };
        format!("{}{default}", self.about).replace("NAME", program)
    }
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(&'static str, Options), String> {
        let (action, options) = parse(line.split_whitespace().map(str::to_owned))?;
        Ok((action.name(), options))
    }

    #[test]
    fn both_spellings_are_known() {
        let gnu = read("check --config a.conf --log-dir=/l").unwrap();
        assert_eq!(gnu, read("check -config a.conf -logDir /l").unwrap());
        assert_eq!((gnu.0, gnu.1.config.as_deref()), ("check", Some("a.conf")));
        assert_eq!(gnu.1.log_dir, Some("/l".into()));
        assert_eq!(read("--debug 1").unwrap(), read("serve -debug=1").unwrap());
    }

    #[test]
    fn actions_and_their_operands() {
        assert_eq!(read("").unwrap().0, "serve");
        assert_eq!(read("fmt a b --write").unwrap().1.operands, ["a", "b"]);
        assert_eq!(read("explain static").unwrap().1.operands, ["static"]);
        for line in ["-h", "--help", "-h --io epoll"] {
            let (action, options) = read(line).unwrap();
            assert_eq!((action, options.operands.as_slice()), ("help", &[][..]), "{line}");
        }
        for line in ["help check", "check --help", "check a b -h", "-h check"] {
            let (action, options) = read(line).unwrap();
            assert_eq!((action, &*options.operands), ("help", &["check".to_owned()][..]), "{line}");
        }
        for (line, message) in [
            ("sreve", "no action `sreve`; did you mean `serve`?"),
            ("xyzzy", "no action `xyzzy`"),
            ("serve now", "don't know what to do with `now`"),
            ("explain a b", "don't know what to do with `b`"),
            ("fmt --write", "fmt needs a FILE"),
            ("--conifg x", "no option `--conifg`; did you mean `--config`?"),
            ("-topdir x", "no option `-topdir`; did you mean `--topDir`?"),
            ("--config", "--config needs a FILE"),
            ("--write=1", "--write takes no value"),
            ("check --write", "check does not know --write"),
            ("--debug 9", "--debug takes 0, 1 or 2"),
            ("--io kqueue", "--io takes auto, epoll or uring"),
            ("completion csh", "completion takes bash, zsh or fish"),
            ("completion", "completion needs a SHELL"),
            ("help cehck", "no action `cehck`; did you mean `check`?"),
        ] {
            let said = read(line).unwrap_err();
            assert!(said.contains(message), "{line}: {said}");
        }
    }

    #[test]
    fn names_are_given_once_and_options_belong_to_actions_that_are() {
        let mut names: Vec<&str> =
            ACTIONS.iter().flat_map(|action| action.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        let mut names: Vec<&str> =
            OPTIONS.iter().flat_map(|option| option.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for action in OPTIONS.iter().flat_map(|option| option.of) {
            assert!(Action::named(action).is_ok_and(|row| row.name() == *action), "{action}");
        }
    }
}
