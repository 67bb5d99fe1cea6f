//! The command line itself.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use hemi_test::peer::peer;

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
    let check = gorox(&["help", "check"]);
    assert!(check.stdout.starts_with("Usage: gorox check [FILE] [OPTIONS]\n"), "{}", check.stdout);
    assert!(!check.stdout.contains("--write"), "{}", check.stdout);
    assert_eq!(gorox(&["check", "--help"]).stdout, check.stdout);
}

#[test]
fn the_man_page_says_what_help_does() {
    let page = gorox(&["man"]).stdout;
    assert!(page.starts_with(".TH GOROX 1"), "{page}");
    for text in ["\\fBexplain\\fR \\fI[SIGN]\\fR", "\\fB\\-\\-top\\-dir\\fR", ".SH EXIT STATUS"] {
        assert!(page.contains(text), "{text} not in\n{page}");
    }
    let Some(mut groff) = peer("groff").map(Command::new) else { return };
    groff.args(["-man", "-ww", "-z", "-Tutf8"]);
    assert_eq!(fed(groff, &page), ("".to_owned(), "".to_owned()));
}

#[test]
fn bash_completes_the_command_line() {
    let script = gorox(&["completion", "bash"]).stdout;
    for (words, expected) in [
        ("gorox ch", "check"),
        ("gorox check --con", "--config"),
        ("gorox check --io", ""),
        ("gorox serve --io ", "auto epoll uring"),
        ("gorox completion f", "fish"),
        ("gorox explain stati", "static"),
        ("gorox fmt --config ./Carg", "./Cargo.toml"),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let (last, typed) = (words.len() - 1, words.join("\" \""));
        let ask =
            format!("COMP_WORDS=(\"{typed}\"); COMP_CWORD={last}; _gorox; echo ${{COMPREPLY[@]}}");
        let mut bash = Command::new("bash");
        bash.arg("-s");
        // No `compopt` without a prompt.
        let (said, _) = fed(bash, &format!("compopt() {{ :; }}\n{script}\n{ask}\n"));
        assert_eq!(said.trim(), expected, "{words:?}");
    }
}

#[test]
fn zsh_and_fish_complete_the_command_line() {
    if let Some(mut zsh) = peer("zsh").map(Command::new) {
        zsh.args(["-f", "-n", "/dev/stdin"]);
        let said = fed(zsh, &gorox(&["completion", "zsh"]).stdout);
        assert_eq!(said, ("".to_owned(), "".to_owned()));
    }
    if let Some(mut fish) = peer("fish").map(Command::new) {
        let script = gorox(&["completion", "fish"]).stdout;
        fish.args(["--no-config", "/dev/stdin"]);
        let (said, errors) = fed(fish, &format!("{script}\ncomplete -C 'gorox check --top-d'\n"));
        assert!(said.starts_with("--top-dir\t%topDir"), "{said}{errors}");
    }
}

/// Runs it on this input; returns what it says, and complains.
fn fed(mut command: Command, input: &str) -> (String, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_wrong_command_line_is_exit_status_2() {
    for (args, message) in [
        (&["sreve"][..], "there is no action `sreve`; did you mean `serve`?"),
        (&["serve", "now"], "I don't know what to do with `now`"),
        (&["check", "a", "b"], "I don't know what to do with `b`"),
        (&["--conifg", "x"], "there is no option `--conifg`; did you mean `--config`?"),
        (&["check", "--write"], "check does not know --write"),
        (&["completion", "csh"], "completion takes bash, zsh or fish"),
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

#[test]
fn advice_is_given_as_text_and_as_json() {
    let advice: serde_json::Value =
        serde_json::from_str(&gorox(&["advise", "--json"]).stdout).unwrap();
    let text = gorox(&["advise"]).stdout;
    let advice = advice.as_array().unwrap();
    assert!(advice.iter().any(|one| one["name"] == "open files"), "{text}");
    for one in advice {
        let head = format!("{}: {}", one["name"].as_str().unwrap(), one["seen"].as_str().unwrap());
        assert!(text.contains(&head), "{head} not in\n{text}");
    }
}
