//! The command line itself.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use crate::cli::{GOROX, gorox, run};

#[test]
fn the_version_is_told() {
    for args in [&["version"][..], &["--version"], &["-version"]] {
        let ended = gorox(args);
        let expected = concat!("gorox ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), expected), "{args:?}");
    }
}

#[test]
fn help_names_actions_options_and_exit_codes() {
    let help = gorox(&["help"]);
    for text in ["serve", "check", "fmt", "explain", "--config", "--top-dir", "Exit status"] {
        assert!(help.stdout.contains(text), "{text} not in\n{}", help.stdout);
    }
    for args in [["--help"], ["-h"], ["-help"]] {
        assert_eq!(gorox(&args).stdout, help.stdout);
    }
    assert!(help.stdout.lines().all(|line| line.chars().count() <= 80), "{}", help.stdout);
}

#[test]
fn a_wrong_command_line_is_exit_status_2() {
    for (args, message) in [
        (&["sreve"][..], "there is no action `sreve`"),
        (&["serve", "now"], "I don't know what to do with `now`"),
        (&["check", "a", "b"], "I don't know what to do with `b`"),
        (&["--conifg", "x"], "there is no option `--conifg`"),
        (&["check", "--config"], "--config needs a FILE"),
        (&["fmt"], "fmt needs a FILE"),
        (&["fmt", "--write=yes", "a"], "--write takes no value"),
        (&["-debug", "9"], "--debug takes 0, 1 or 2"),
    ] {
        let ended = gorox(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert_eq!(ended.stderr, format!("gorox: {message}\nTry `gorox help`.\n"));
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_as_arguments_and_left_out_of_the_environment() {
    let strange = OsStr::from_bytes(b"--config=\xff");
    let mut command = Command::new(GOROX);
    command.arg(strange);
    let ended = run(command);
    let message = "gorox: `--config=\u{fffd}` is not UTF-8\nTry `gorox help`.\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(2), message));

    let mut command = Command::new(GOROX);
    command.arg("explain").env("STRANGE", strange).env(strange, "x");
    assert_eq!(run(command).code, Some(0));
}
