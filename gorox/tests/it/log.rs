//! Access logs on stdout, and what is said on the standard error.

use std::fs::File;
use std::process::Command;

use hemi_test::{Program, Signal, TempDir, eventually, free_port};

use crate::cli::GOROX;
use crate::pong::{PATIENCE, ping};

const CONFIG: &str = r#"stage {
    simpleLogger "access" { .target = "stdout"  .format = $uri + "  " + $status  .delay = 1ms }
    webapp "pong" {
        .hostnames = ("*")
        .useLogger = "access"
        rule { .returnCode = 200  .returnText = "pong" }
    }
    httpxServer "main" { .address = "127.0.0.1:@PORT@"  .webapps = ("pong") }
}"#;

#[test]
fn lines_are_written_to_stdout() {
    let mut gorox = Program::serve(GOROX, CONFIG).unwrap();
    ping(&mut gorox.connect().unwrap());
    assert!(eventually(PATIENCE, || gorox.stdout() == "/  200\n"), "{}", gorox.stdout());
    ping(&mut gorox.connect().unwrap());
    gorox.signal(Signal::TERM).unwrap();
    assert!(gorox.wait(PATIENCE).unwrap().success());
    assert_eq!(gorox.stdout(), "/  200\n".repeat(2));
}

#[test]
fn nobody_waits_for_the_reader_of_stdout() {
    let (dir, port) = (TempDir::new().unwrap(), free_port().unwrap());
    let file = dir.write("test.conf", CONFIG.replace("@PORT@", &port.to_string())).unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _reader = File::options().read(true).write(true).open(&pipe).unwrap();
    let mut command = Command::new("sh");
    let script = "exec \"$0\" serve --single --config \"$1\" > \"$2\"";
    command.arg("-c").arg(script).arg(GOROX).arg(file).arg(pipe);
    let mut gorox = Program::start(command, ([127, 0, 0, 1], port).into()).unwrap();
    let mut client = gorox.connect().unwrap();
    // Lines of eight bytes, and a pipe holds 64 KiB.
    for _ in 0..10_000 {
        ping(&mut client);
    }
    drop(client);
    assert!(eventually(PATIENCE, || gorox.stderr().contains("log lines can't be written")));
    gorox.signal(Signal::TERM).unwrap();
    assert!(gorox.wait(PATIENCE).unwrap().success());
}

#[test]
fn lines_that_are_dropped_are_told() {
    let config = CONFIG.replace(".delay = 1ms", ".delay = 1h  .bufSize = 1");
    let mut gorox = Program::serve(GOROX, &config).unwrap();
    let mut client = gorox.connect().unwrap();
    for _ in 0..3 {
        ping(&mut client);
    }
    drop(client);
    gorox.signal(Signal::TERM).unwrap();
    assert!(gorox.wait(PATIENCE).unwrap().success());
    assert_eq!(gorox.stdout(), "/  200\n");
    assert!(gorox.stderr().contains("2 log lines were dropped"), "{}", gorox.stderr());
}

#[test]
fn what_a_client_does_wrong_is_no_error_of_the_server() {
    let dir = TempDir::new().unwrap();
    let config = format!(
        r#"stage {{
    webapp "files" {{
        .hostnames = ("*")
        .webRoot = "{}"
        gunzip {{}}
        rule {{ webdav {{}} }}
    }}
    httpxServer "main" {{ .address = "127.0.0.1:@PORT@"  .webapps = ("files") }}
}}"#,
        dir.path().display()
    );
    let mut gorox = Program::serve(GOROX, &config).unwrap();
    let mut client = gorox.connect().unwrap();
    let fields = "Host: x\r\nContent-Encoding: gzip\r\nContent-Length: 7";
    client.send(format!("PUT /a HTTP/1.1\r\n{fields}\r\n\r\nno gzip")).unwrap();
    assert_eq!(client.read_response().unwrap().status, 400);
    drop(client);
    gorox.signal(Signal::TERM).unwrap();
    assert!(gorox.wait(PATIENCE).unwrap().success());
    assert!(!gorox.stderr().contains("ERROR"), "{}", gorox.stderr());
}
