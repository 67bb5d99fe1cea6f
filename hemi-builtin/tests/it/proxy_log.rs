//! What is logged of nodes: their faults, once each; and those of clients not as theirs.

use std::fmt::{Debug, Write};
use std::net::SocketAddr;
use std::sync::{Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::server::{Running, ask, site_on};
use crate::upstream::{Act, Upstream};

/// What this process has warned of.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Warnings;

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        WARNINGS.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

/// From now on, for all that this process runs.
fn listen() {
    static LISTENS: Once = Once::new();
    LISTENS.call_once(|| tracing::subscriber::set_global_default(Warnings).unwrap());
}

/// What was said of a node.
fn said(node: SocketAddr) -> Vec<String> {
    let node = format!("node={node} ");
    WARNINGS.lock().unwrap().iter().filter(|line| line.contains(&node)).cloned().collect()
}

fn proxy(kind: &str, node: SocketAddr, webapp: &str) -> Running {
    proxy_within("1m", kind, node, webapp)
}

fn proxy_within(time: &str, kind: &str, node: SocketAddr, webapp: &str) -> Running {
    let backend =
        format!("{kind} \"b\" {{ .readTimeout = {time}  node {{ .address = \"{node}\" }} }}");
    site_on(1, &backend, &format!("{webapp}  rule {{ httpProxy {{ .toBackend = \"b\" }} }}"))
}

#[test]
fn answers_that_break_off_are_told_of_once() {
    listen();
    let begin = |fields: &str, content: &str| {
        format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{content}").into_bytes()
    };
    let long = "x".repeat(3_000_000);
    for (name, act, why) in [
        ("short", Act::AnswerAndClose(begin("content-length: 100", "abc")), "incomplete"),
        ("long", Act::AnswerAndClose(begin("content-length: 5000000", &long)), "end of file"),
        (
            "chunk",
            Act::AnswerAndClose(begin("transfer-encoding: chunked", "5\r\nab")),
            "incomplete",
        ),
        (
            "last",
            Act::AnswerAndClose(begin("transfer-encoding: chunked", "1\r\na\r\n")),
            "incomplete",
        ),
        ("bad", Act::AnswerAndClose(begin("transfer-encoding: chunked", "x\r\n")), "chunk"),
        ("silent", Act::Answer(begin("content-length: 100", "abc")), "nothing came within 200ms"),
    ] {
        let mut act = Some(act);
        let upstream = Upstream::start(move |_| act.take().unwrap_or(Act::Wait));
        let time = if name == "silent" { "200ms" } else { "1m" };
        let server = proxy_within(time, "http1Backend", upstream.addr(), "");
        assert!(ask(&mut server.connect(), "GET", "/", &[]).is_err(), "{name}");
        server.quit();
        let lines = said(upstream.addr());
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        assert!(lines[0].contains("the answer of the node broke off: "), "{name}: {lines:?}");
        assert!(lines[0].contains(why), "{name}: {lines:?}");
    }
}

#[test]
fn nodes_are_not_blamed_for_what_clients_do() {
    listen();
    for (name, content, status) in [
        ("none", "Content-Length: 5\r\n\r\nab", None),
        ("bad", "Transfer-Encoding: chunked\r\n\r\nx\r\n", Some(400)),
        ("much", "Transfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n5\r\n12345\r\n", Some(413)),
    ] {
        let upstream = Upstream::start(|_| Act::Wait);
        let server = proxy("http1Backend", upstream.addr(), ".maxBodySize = 10");
        let mut client = server.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{content}")).unwrap();
        if let Some(status) = status {
            assert_eq!(client.read_response().unwrap().status, status, "{name}");
        }
        drop(client);
        server.quit();
        let lines = said(upstream.addr());
        assert!(lines.is_empty(), "{name}: {lines:?}");
    }
}
