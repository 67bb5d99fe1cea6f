//! The program starts, answers and ends.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::process::Command;
use std::time::Duration;

use hemi_test::{Program, Signal, free_port};

#[test]
fn books_are_added_and_listed_until_ctrl_c() {
    let addr = ([127, 0, 0, 1], free_port().unwrap()).into();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.arg(format!("{addr}"));
    let mut program = Program::start(command, addr).unwrap();
    let ask = |line: &str, content: &str| {
        let mut client = program.connect().unwrap();
        let fields = format!("Content-Type: application/json\r\nContent-Length: {}", content.len());
        client.send(format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{content}")).unwrap();
        let reply = client.read_response().unwrap();
        (reply.status, reply.text())
    };
    let books = "/v1/shelves/1/books";
    assert_eq!(ask(&format!("GET {books}"), "").0, 404);
    for book in [r#"{"title":"Emma","pages":474}"#, r#"{"title":"Persuasion","pages":249}"#] {
        assert_eq!(ask(&format!("POST {books}"), book), (200, book.to_owned()));
    }
    let told = r#"{"books":[{"title":"Emma","pages":474}]}"#;
    assert_eq!(ask(&format!("GET {books}?leastPages=300"), ""), (200, told.to_owned()));
    let refused = r#"{"code":3,"details":[],"message":"the book has no title"}"#;
    assert_eq!(ask(&format!("POST {books}"), "{}"), (400, refused.to_owned()));
    // By Connect, too.
    let call =
        ask("POST /bookshelf.Bookshelf/ListBooks", r#"{"shelf":"shelves/1","leastPages":300}"#);
    assert_eq!(call, (200, told.to_owned()));
    assert_eq!(ask("GET /", ""), (200, "Ask for /v1/shelves/1/books\n".to_owned()));
    program.signal(Signal::INT).unwrap();
    assert_eq!(program.wait(Duration::from_secs(20)).unwrap().code(), Some(0));
}
