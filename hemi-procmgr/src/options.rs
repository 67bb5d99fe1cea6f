//! The command line: one table, from which it is parsed and explained.

use std::path::PathBuf;

use hemi_core::io::IoDriver;

use crate::Program;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Serve,
    Check,
    Fmt,
    Explain,
    Version,
    Help,
}

/// Name, what it takes, what it does.
const ACTIONS: &[(&str, Action, &str, &str)] = &[
    ("serve", Action::Serve, "", "serve until Ctrl-C or SIGTERM, then drain (the default)"),
    ("check", Action::Check, "[FILE]", "check a config and do everything but start it"),
    ("fmt", Action::Fmt, "FILE...", "print configs in canonical form; see --write"),
    ("explain", Action::Explain, "[SIGN]", "describe a component and its properties, or list all"),
    ("version", Action::Version, "", "print the version"),
    ("help", Action::Help, "", "print this"),
];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) action: Action,
    /// Arguments that are not options.
    pub(crate) operands: Vec<String>,
    /// A path, or an `http://` URL.
    pub(crate) config: Option<String>,
    pub(crate) top_dir: Option<PathBuf>,
    pub(crate) log_dir: Option<PathBuf>,
    pub(crate) tmp_dir: Option<PathBuf>,
    pub(crate) var_dir: Option<PathBuf>,
    pub(crate) io: IoDriver,
    pub(crate) debug: u8,
    pub(crate) write: bool,
    pub(crate) json: bool,
}

/// How an option changes what was asked for.
enum Set {
    Flag(fn(&mut Options)),
    Value(&'static str, fn(&mut Options, String) -> Result<(), String>),
}

/// Names, of which the first is shown; what it sets; what it does. One dash does as well as two.
const OPTIONS: &[(&[&str], Set, &str)] = &[
    (
        &["config"],
        Set::Value("FILE", |o, v| {
            o.config = Some(v);
            Ok(())
        }),
        "the config, a path or an http:// URL; default:\n\
         conf/NAME.conf here, then in the top directory, then\n\
         the one in the binary",
    ),
    (
        &["top-dir", "topDir"],
        Set::Value("DIR", |o, v| {
            o.top_dir = Some(v.into());
            Ok(())
        }),
        "%topDir; default: where conf/NAME.conf was found,\n\
         else where the binary is",
    ),
    (
        &["log-dir", "logDir"],
        Set::Value("DIR", |o, v| {
            o.log_dir = Some(v.into());
            Ok(())
        }),
        "%logDir; default: data/log in the top directory",
    ),
    (
        &["tmp-dir", "tmpDir"],
        Set::Value("DIR", |o, v| {
            o.tmp_dir = Some(v.into());
            Ok(())
        }),
        "%tmpDir; default: data/tmp in the top directory",
    ),
    (
        &["var-dir", "varDir"],
        Set::Value("DIR", |o, v| {
            o.var_dir = Some(v.into());
            Ok(())
        }),
        "%varDir; default: data/var in the top directory",
    ),
    (
        &["io"],
        Set::Value("DRIVER", |o, v| {
            o.io = v.parse().map_err(|_| "--io takes auto, epoll or uring")?;
            Ok(())
        }),
        "what moves the bytes of connections: epoll (default),\n\
         uring (io_uring, Linux 6.1), or auto: uring if it can\n\
         be had, else epoll",
    ),
    (
        &["debug"],
        Set::Value("LEVEL", |o, v| {
            o.debug = v.parse().ok().filter(|l| *l <= 2).ok_or("--debug takes 0, 1 or 2")?;
            Ok(())
        }),
        "what to log: 0 what happens (default), 1 why, 2 all",
    ),
    (
        &["write"],
        Set::Flag(|o| o.write = true),
        "with fmt: write the files instead of printing them",
    ),
    (&["json"], Set::Flag(|o| o.json = true), "with explain: for programs, as JSON"),
    (&["help", "h"], Set::Flag(|o| o.action = Action::Help), "print this"),
    (&["version"], Set::Flag(|o| o.action = Action::Version), "print the version"),
];

impl Options {
    /// Reads the arguments after the program's name.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            action: Action::Serve,
            operands: Vec::new(),
            config: None,
            top_dir: None,
            log_dir: None,
            tmp_dir: None,
            var_dir: None,
            io: IoDriver::DEFAULT,
            debug: 0,
            write: false,
            json: false,
        };
        let mut args = args.into_iter();
        let mut acting = false;
        while let Some(arg) = args.next() {
            if let Some(option) = arg.strip_prefix('-').filter(|rest| !rest.is_empty()) {
                options.set(option.strip_prefix('-').unwrap_or(option), &arg, &mut args)?;
            } else if acting {
                options.operands.push(arg);
            } else {
                let action = ACTIONS.iter().find(|(name, ..)| *name == arg);
                options.action = action.ok_or(format!("there is no action `{arg}`"))?.1;
                acting = true;
            }
        }
        match (options.action, options.operands.as_slice()) {
            (Action::Fmt, []) => Err("fmt needs a FILE".to_owned()),
            (Action::Fmt, _) | (_, []) => Ok(options),
            (Action::Check | Action::Explain, [_]) => Ok(options),
            (_, [.., extra]) => Err(format!("I don't know what to do with `{extra}`")),
        }
    }

    fn set(
        &mut self,
        option: &str,
        arg: &str,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<(), String> {
        let (name, given) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option, None),
        };
        let known = OPTIONS.iter().find(|(names, ..)| names.contains(&name));
        match (&known.ok_or(format!("there is no option `{arg}`"))?.1, given) {
            (Set::Flag(set), None) => {
                set(self);
                Ok(())
            }
            (Set::Flag(_), Some(_)) => Err(format!("--{name} takes no value")),
            (Set::Value(what, set), given) => {
                let value = given.or_else(|| rest.next());
                set(self, value.ok_or(format!("--{name} needs a {what}"))?)
            }
        }
    }
}

/// The text of `help`.
pub(crate) fn help(program: &Program) -> String {
    let name = program.name;
    let mut text = format!("{}\n\nUsage: {name} [ACTION] [OPTIONS]\n\nActions:\n", program.title);
    for (action, _, operands, about) in ACTIONS {
        text += &format!("  {:<18} {about}\n", format!("{action} {operands}"));
    }
    text += "\nOptions:\n";
    for (names, set, about) in OPTIONS {
        let value = match set {
            Set::Flag(_) => String::new(),
            Set::Value(what, _) => format!(" {what}"),
        };
        let about = about.replace("NAME", name).replace('\n', &format!("\n{:21}", ""));
        text +=
            &format!("  {:<18} {about}\n", format!("--{}{value}", names.first().unwrap_or(&"")));
    }
    text + "\nExit status: 0 done, 1 refused or failed, 2 wrong command line.\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn both_spellings_are_known() {
        let gnu = parse("check --config a.conf --log-dir=/l --debug 1").unwrap();
        assert_eq!(gnu, parse("check -config a.conf -logDir /l -debug=1").unwrap());
        assert_eq!((gnu.action, gnu.config.as_deref()), (Action::Check, Some("a.conf")));
        assert_eq!((gnu.log_dir, gnu.debug), (Some("/l".into()), 1));
    }

    #[test]
    fn actions_and_their_operands() {
        assert_eq!(parse("").unwrap().action, Action::Serve);
        assert_eq!(parse("-h").unwrap().action, Action::Help);
        assert_eq!(parse("fmt a b --write").unwrap().operands, ["a", "b"]);
        assert_eq!(parse("explain static").unwrap().operands, ["static"]);
        for (line, message) in [
            ("sreve", "no action `sreve`"),
            ("serve now", "don't know what to do with `now`"),
            ("explain a b", "don't know what to do with `b`"),
            ("fmt --write", "fmt needs a FILE"),
            ("--conifg x", "no option `--conifg`"),
            ("--config", "--config needs a FILE"),
            ("--write=1", "--write takes no value"),
            ("--debug 9", "--debug takes 0, 1 or 2"),
            ("--io kqueue", "--io takes auto, epoll or uring"),
        ] {
            assert!(parse(line).unwrap_err().contains(message), "{line}");
        }
    }

    #[test]
    fn help_names_everything() {
        let program =
            Program { name: "p", title: "P", version: "1", default_config: "", register: |_| {} };
        let text = help(&program);
        assert!(ACTIONS.iter().all(|(name, ..)| text.contains(&format!("\n  {name}"))), "{text}");
        assert!(
            OPTIONS.iter().all(|(names, ..)| text.contains(&format!("--{}", names[0]))),
            "{text}"
        );
    }
}
