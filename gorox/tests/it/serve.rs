//! `gorox serve`: where configs and directories come from, and how it ends.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hemi_test::{Program, Reply, Signal, Site, TempDir, eventually, free_port};

use crate::cli::{GOROX, run};

const SOON: Duration = Duration::from_secs(20);

fn get(program: &Program, target: &str) -> Reply {
    let mut client = program.connect().unwrap();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")).unwrap();
    client.read_response().unwrap()
}

/// Starts gorox with these arguments in a directory, on the port that its config takes from `%env.PORT`.
fn serve(dir: &Path, args: &[&str]) -> Program {
    start(dir, &[args, &["--single"]].concat())
}

/// The same by leader and worker, unless the arguments say otherwise.
fn start(dir: &Path, args: &[&str]) -> Program {
    let attempt = || {
        let port = free_port()?;
        let mut command = Command::new(GOROX);
        command.args(args).current_dir(dir).env("PORT", port.to_string());
        Program::start(command, (Ipv4Addr::LOCALHOST, port).into())
    };
    let in_use = |e: &io::Error| e.kind() == io::ErrorKind::AddrInUse;
    attempt().or_else(|e| if in_use(&e) { attempt() } else { Err(e) }).unwrap()
}

/// Serves `text` on the port of the environment.
fn config(text: &str) -> String {
    format!(
        r#"stage {{
            webapp "w" {{ .hostnames = ("*")  rule {{ .returnCode = 200  .returnText = {text} }} }}
            httpxServer "s" {{ .address = "127.0.0.1:" + %env.PORT  .webapps = ("w") }}
        }}"#
    )
}

#[test]
fn the_config_here_is_found_and_named_ones_go_first() {
    let dir = TempDir::new().unwrap();
    dir.write("conf/gorox.conf", config("\"here\"")).unwrap();
    dir.write("other.conf", config("\"other\"")).unwrap();
    for (args, text) in [
        (&[][..], "here"),
        (&["serve"], "here"),
        (&["serve", "--config", "other.conf"], "other"),
        (&["-config=other.conf"], "other"),
    ] {
        assert_eq!(get(&serve(dir.path(), args), "/").text(), text, "{args:?}");
    }
    // And from elsewhere, below the top directory.
    let elsewhere = TempDir::new().unwrap();
    let args = ["--top-dir", dir.path().to_str().unwrap()];
    assert_eq!(get(&serve(elsewhere.path(), &args), "/").text(), "here");
}

#[test]
fn directories_are_what_the_command_line_says() {
    let dir = TempDir::new().unwrap();
    let conf = dir
        .write("a.conf", config("%topDir + \"|\" + %logDir + \"|\" + %tmpDir + \"|\" + %varDir"));
    let conf = conf.unwrap();
    let conf = conf.to_str().unwrap();
    let here = dir.path().display();
    let args = ["serve", "--config", conf, "--top-dir", "top"];
    let expected =
        format!("{here}/top|{here}/top/data/log|{here}/top/data/tmp|{here}/top/data/var");
    assert_eq!(get(&serve(dir.path(), &args), "/").text(), expected);
    let args = [
        "serve", "-config", conf, "-topDir", "/t", "-logDir", "/l", "-tmpDir", "/m", "-varDir", "v",
    ];
    assert_eq!(get(&serve(dir.path(), &args), "/").text(), format!("/t|/l|/m|{here}/v"));
}

#[test]
fn the_top_directory_is_the_same_whether_the_config_is_named_or_found() {
    let dir = TempDir::new().unwrap();
    let top = config("%topDir");
    for name in ["conf/gorox.conf", "conf/more/other.conf", "other.conf", "site/conf/own.conf"] {
        dir.write(name, &top).unwrap();
    }
    let elsewhere = TempDir::new().unwrap();
    let here = dir.path().to_str().unwrap();
    let (named, site) = (format!("{here}/conf/gorox.conf"), format!("{here}/site"));
    for (at, args, expected) in [
        (dir.path(), &["serve"][..], here),
        (dir.path(), &["serve", "--config", "conf/gorox.conf"], here),
        (dir.path(), &["serve", "--config", "conf/more/other.conf"], here),
        (dir.path(), &["serve", "--config", "other.conf"], here),
        (dir.path(), &["serve", "--config", "site/conf/own.conf"], &site),
        (elsewhere.path(), &["serve", "--config", &named], here),
    ] {
        let program = serve(at, args);
        assert_eq!(get(&program, "/").text(), expected, "{args:?}");
        let told = || program.stderr().contains(&format!("top_dir={expected}"));
        assert!(eventually(SOON, told), "{args:?}: {}", program.stderr());
    }
}

#[test]
fn actions_find_what_serves_with_and_without_the_name_of_its_config() {
    let dir = TempDir::new().unwrap();
    dir.write("conf/gorox.conf", config("\"x\"")).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(GOROX);
        command.args(args).current_dir(dir.path());
        run(command)
    };
    let started = start(dir.path(), &["serve", "--config", "conf/gorox.conf"]);
    assert_eq!(get(&started, "/").text(), "x");
    for args in [&["status"][..], &["status", "--config", "conf/gorox.conf"], &["quit"]] {
        let found = eventually(SOON, || run(args).code == Some(0));
        assert!(found, "{args:?}: {}{}", run(args).stderr, started.stderr());
    }
    let lines = started.stderr();
    assert!(lines.contains(" leader[") && lines.contains(" worker["), "{lines}");
}

#[test]
fn a_web_root_that_is_not_there_is_told() {
    let dir = TempDir::new().unwrap();
    let text = config("\"x\"").replace(".hostnames", ".webRoot = %topDir + \"/none\"  .hostnames");
    dir.write("conf/gorox.conf", text).unwrap();
    let program = serve(dir.path(), &["serve"]);
    let told =
        format!("`.webRoot` is {}/none, and there is no such directory", dir.path().display());
    assert!(eventually(SOON, || program.stderr().contains(&told)), "{}", program.stderr());
}

#[test]
fn a_config_can_come_from_another_gorox() {
    let dir = TempDir::new().unwrap();
    let files = Site::new().unwrap().file("gorox.conf", config("\"fetched\"")).unwrap();
    let files = files.file("broken.conf", "stage {\n\t.a =\n}\n").unwrap();
    let origin = format!(
        r#"stage {{
            webapp "w" {{ .hostnames = ("*")  .webRoot = "{}"  rule {{ static {{}} }} }}
            httpxServer "s" {{ .address = "127.0.0.1:@PORT@"  .webapps = ("w") }}
        }}"#,
        files.root().display()
    );
    let origin = Program::serve(GOROX, &origin).unwrap();
    let url = |name: &str| format!("http://{}/{name}", origin.addr());
    let program = serve(dir.path(), &["serve", "--config", &url("gorox.conf")]);
    assert_eq!(get(&program, "/").text(), "fetched");
    for (name, message) in [("broken.conf", ":2:5: error: "), ("missing.conf", "404")] {
        let mut command = Command::new(GOROX);
        command.args(["check", &url(name)]).current_dir(dir.path());
        let ended = run(command);
        assert_eq!(ended.code, Some(1), "{name}");
        assert!(ended.stderr.contains(&url(name)), "{}", ended.stderr);
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
}

#[test]
fn without_a_config_the_welcome_page_is_served() {
    // The default config listens there, and on all addresses.
    const PORT: u16 = 3080;
    if TcpListener::bind(("::", PORT)).is_err() || TcpListener::bind(("0.0.0.0", PORT)).is_err() {
        println!("skipped: port {PORT} is in use");
        return;
    }
    let dir = TempDir::new().unwrap();
    let mut command = Command::new(GOROX);
    command.arg("--single").current_dir(dir.path());
    let program = match Program::start(command, SocketAddr::from(([127, 0, 0, 1], PORT))) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            println!("skipped: port {PORT} was taken");
            return;
        }
        program => program.unwrap(),
    };
    let page = get(&program, "/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("Gorox"), "{}", page.text());
    assert_eq!(get(&program, "/favicon.ico").status, 200);
    assert_eq!(get(&program, "/other").status, 404);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is written");
}

#[test]
fn a_bad_config_never_starts() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    for (text, message) in [
        (config("").as_str(), "test.conf:2:"),
        ("stage { <test.conf> }", "includes itself"),
        (
            &config("\"x\"").replace("%env.PORT", &format!("\"{port}\"")),
            "cannot listen on 127.0.0.1:",
        ),
    ] {
        dir.write("test.conf", text).unwrap();
        let mut command = Command::new(GOROX);
        command.args(["serve", "--config", "test.conf", "--var-dir", "var"]);
        command.current_dir(dir.path()).env("PORT", "1");
        let ended = run(command);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{text}");
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
}

#[test]
fn both_signals_end_it_with_status_0() {
    let dir = TempDir::new().unwrap();
    dir.write("conf/gorox.conf", config("\"x\"")).unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let mut program = serve(dir.path(), &[]);
        assert_eq!(get(&program, "/").text(), "x");
        program.signal(signal).unwrap();
        assert_eq!(program.wait(SOON).unwrap().code(), Some(0), "{}", program.stderr());
        assert!(program.connect().is_err(), "it still listens");
    }
}

#[test]
fn a_single_process_reloads_by_a_signal() {
    let dir = TempDir::new().unwrap();
    dir.write("conf/gorox.conf", config("\"one\"")).unwrap();
    let mut program = serve(dir.path(), &[]);
    for (text, serves) in [(config(""), "one"), (config("\"two\""), "two")] {
        dir.write("conf/gorox.conf", text).unwrap();
        program.signal(Signal::HUP).unwrap();
        let heard = || program.stderr().contains("the config is refused");
        assert!(eventually(SOON, heard), "{}", program.stderr());
        assert!(eventually(SOON, || get(&program, "/").text() == serves), "{}", program.stderr());
    }
}
