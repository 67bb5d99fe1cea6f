//! The program starts, answers, tells what is new, and ends.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::process::Command;
use std::time::Duration;

use hemi_test::{Program, Signal, free_port};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const FILES: &str = "multipart/form-data; boundary=x";
const PART: &str = "--x\r\nContent-Disposition: form-data; name=f";

#[test]
fn notes_are_kept_and_told() {
    let addr = ([127, 0, 0, 1], free_port().unwrap()).into();
    let mut command = Command::new(env!("CARGO_BIN_EXE_webapp"));
    command.arg(format!("{addr}"));
    let mut program = Program::start(command, addr).unwrap();

    let mut listener = program.connect().unwrap();
    listener.send("GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let head = listener.read_response_to_head().unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));

    let mut client = program.connect().unwrap();
    let mut ask = |line: &str, media_type: &str, content: &str| {
        let length = content.len();
        let fields = format!("Content-Type: {media_type}\r\nContent-Length: {length}");
        client.send(format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n{content}")).unwrap();
        let reply = client.read_response().unwrap();
        (reply.status, reply.text())
    };
    let (status, page) = ask("GET /", JSON, "");
    assert!(status == 200 && page.starts_with("<!doctype html>"));
    let note = r#"{"text":"buy milk","done":false}"#;
    assert_eq!(ask("POST /api/notes", JSON, note), (201, "0".to_owned()));
    assert_eq!(ask("GET /api/notes", JSON, ""), (200, format!("[{note}]")));
    assert_eq!(ask("GET /api/notes?done=true", JSON, ""), (200, "[]".to_owned()));
    assert_eq!(ask("GET /api/notes/0", JSON, ""), (200, note.to_owned()));
    let (status, page) = ask("POST /", FORM, "text=two+words");
    assert_eq!((status, &*page), (303, ""));
    let long = "x".repeat(100_000);
    let file = format!("{PART}; filename=a.txt\r\n\r\n{long}\r\n--x--\r\n");
    assert_eq!(ask("POST /api/measure", FILES, &file), (200, "a.txt: 100000 bytes\n".to_owned()));

    // As long as the webapp allows it.
    let head = format!("POST /api/measure HTTP/1.1\r\nHost: x\r\nContent-Type: {FILES}");
    client
        .send(format!("{head}\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n"))
        .unwrap();
    assert_eq!(client.read_exact(25).unwrap(), b"HTTP/1.1 100 Continue\r\n\r\n");

    for note in [note, r#"{"text":"two words","done":false}"#] {
        let event = format!("data: {note}\n\n");
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        let came = listener.read_exact(chunk.len()).unwrap();
        assert_eq!(String::from_utf8_lossy(&came).to_lowercase(), chunk);
    }
    program.signal(Signal::INT).unwrap();
    assert_eq!(listener.read_to_end().unwrap(), b"0\r\n\r\n");
    drop(client);
    assert_eq!(program.wait(Duration::from_secs(20)).unwrap().code(), Some(0));
}
