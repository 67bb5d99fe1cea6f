//! The tracer `otlpTracer`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use hemi_test::eventually;

use crate::server::{Running, site};

/// How long is waited for what has to come.
const SOON: Duration = Duration::from_secs(20);

/// A collector that answers with this status line, and hands on what was posted to it.
fn collector(status: &'static str) -> (SocketAddr, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, posted) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let start = head.len();
                reader.read_line(&mut head).unwrap();
                match head[start..].trim_end() {
                    "" => break,
                    line => {
                        if let Some(value) = line.strip_prefix("content-length: ") {
                            length = value.parse().unwrap();
                        }
                    }
                }
            }
            let mut message = vec![0; length];
            reader.read_exact(&mut message).unwrap();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
            if sender.send((head, message)).is_err() {
                return;
            }
        }
    });
    (addr, posted)
}

/// A field of a message of Protocol Buffers, by its number.
#[derive(Clone, Debug, PartialEq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

/// Reads a message, whatever it is.
fn fields(mut message: &[u8]) -> Vec<(u64, Field)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = message[0];
            *message = &message[1..];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        number
    }
    fn take<'a>(message: &mut &'a [u8], len: usize) -> &'a [u8] {
        let (taken, rest) = message.split_at(len);
        *message = rest;
        taken
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut message)),
            1 => Field::Number(u64::from_le_bytes(take(&mut message, 8).try_into().unwrap())),
            2 => {
                let len = varint(&mut message);
                Field::Bytes(take(&mut message, len as usize).to_vec())
            }
            5 => {
                let number = u32::from_le_bytes(take(&mut message, 4).try_into().unwrap());
                Field::Number(number.into())
            }
            kind => panic!("no such kind of field: {kind}"),
        };
        found.push((key >> 3, field));
    }
    found
}

/// All messages at the end of a path of numbers.
fn at(message: &[u8], path: &[u64]) -> Vec<Vec<u8>> {
    let Some((first, rest)) = path.split_first() else { return vec![message.to_vec()] };
    let inner = fields(message).into_iter().filter(|(number, _)| number == first);
    inner
        .flat_map(|(_, field)| match field {
            Field::Bytes(bytes) => at(&bytes, rest),
            Field::Number(_) => panic!("a number at {path:?}"),
        })
        .collect()
}

fn text(message: &[u8], path: &[u64]) -> String {
    String::from_utf8(at(message, path).concat()).unwrap()
}

fn number(message: &[u8], of: u64) -> Option<u64> {
    fields(message).into_iter().find_map(|(number, field)| match field {
        Field::Number(value) if number == of => Some(value),
        _ => None,
    })
}

/// A text, or a number as text.
fn attribute(span: &[u8], name: &str) -> Option<String> {
    let attribute = at(span, &[9]).into_iter().find(|a| text(a, &[1]) == name)?;
    let value = at(&attribute, &[2]).concat();
    Some(number(&value, 3).map_or_else(|| text(&value, &[1]), |number| number.to_string()))
}

fn traced(endpoint: SocketAddr, properties: &str) -> Running {
    let stage =
        format!(r#"otlpTracer "t" {{ .endpoint = "http://{endpoint}/v1/traces"  {properties} }}"#);
    let rules = r#".useTracer = "t"
        rule $path == "/bad" { .returnCode = 503 }
        rule { .returnCode = 200  .returnText = $traceId + "/" + $spanId }"#;
    site(&stage, rules)
}

#[test]
fn a_collector_hears_of_requests() {
    let (addr, posted) = collector("200 OK");
    let server = traced(addr, ".serviceName = \"shop\"  .delay = 10ms");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let field = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01");
    let lines = [&*field, "tracestate: a=1", "User-Agent: me"];
    let answer = server.send("GET", "/x?secret=1", &lines, "").text();
    let (head, message) = posted.recv_timeout(SOON).unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    let resource = at(&message, &[1, 1, 1]);
    assert_eq!(text(&resource[0], &[1]), "service.name");
    assert_eq!(text(&resource[0], &[2, 1]), "shop");
    let spans = at(&message, &[1, 2, 2]);
    let [span] = &spans[..] else { panic!("{spans:?}") };
    let hex = |of: u64| {
        let bytes = at(span, &[of]).concat();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!((hex(1), hex(4)), (trace.to_owned(), "00f067aa0ba902b7".to_owned()));
    assert_eq!(answer, format!("{trace}/{}", hex(2)));
    assert_eq!((text(span, &[3]), text(span, &[5])), ("a=1".to_owned(), "GET".to_owned()));
    assert_eq!((number(span, 6), number(span, 16)), (Some(2), Some(1)));
    let (began, ended) = (number(span, 7).unwrap(), number(span, 8).unwrap());
    assert!(began <= ended && ended - began < SOON.as_nanos() as u64);
    assert!(at(span, &[15]).is_empty());
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.path", "/x"),
        ("url.scheme", "http"),
        ("server.address", "site.test"),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "me"),
        ("network.protocol.version", "1.1"),
    ] {
        assert_eq!(attribute(span, name).as_deref(), Some(value), "{name}");
    }
    assert!(!String::from_utf8_lossy(&message).contains("secret"));
    server.send("SEARCH", "/bad", &[], "");
    let (_, message) = posted.recv_timeout(SOON).unwrap();
    let span = at(&message, &[1, 2, 2]).concat();
    assert_eq!(attribute(&span, "http.request.method").as_deref(), Some("_OTHER"));
    assert_eq!(attribute(&span, "error.type").as_deref(), Some("503"));
    assert_eq!(number(&at(&span, &[15]).concat(), 3), Some(2));
    assert!(at(&span, &[4]).is_empty());
}

#[test]
fn the_client_or_the_sample_decides_what_is_recorded() {
    let (addr, posted) = collector("200 OK");
    // Of so many, a trace that begins here is not among those recorded.
    let server = traced(addr, ".sample = 4000000000  .delay = 10ms");
    let of = |span: u32, flags: u32| {
        format!("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-{span:016x}-{flags:02x}")
    };
    server.send("GET", "/", &[], "");
    server.send("GET", "/", &[&of(1, 0)], "");
    server.send("GET", "/", &[&of(2, 1)], "");
    let (_, message) = posted.recv_timeout(SOON).unwrap();
    let spans = at(&message, &[1, 2, 2]);
    assert_eq!(spans.len(), 1);
    assert_eq!(at(&spans[0], &[4]).concat(), [0, 0, 0, 0, 0, 0, 0, 2]);
}

#[test]
fn what_a_collector_does_not_take_is_dropped_and_counted() {
    let (addr, posted) = collector("503 Service Unavailable");
    let server = traced(addr, ".delay = 10ms");
    server.send("GET", "/", &[], "");
    posted.recv_timeout(SOON).unwrap();
    assert!(eventually(SOON, || server.tracer("t").dropped() == 1));
    // Nobody is there at all.
    drop(posted);
    let nobody = SocketAddr::from(([127, 0, 0, 1], hemi_test::free_port().unwrap()));
    let server = traced(nobody, ".delay = 10ms");
    server.send("GET", "/", &[], "");
    assert!(eventually(SOON, || server.tracer("t").dropped() == 1));
}

#[test]
fn no_more_is_gathered_than_allowed_and_the_rest_is_sent_at_the_end() {
    let (addr, posted) = collector("200 OK");
    let server = traced(addr, ".delay = 1h  .maxSpans = 3");
    // On one connection, and so on one core.
    let mut client = hemi_test::raw::Client::connect(server.addr()).unwrap();
    for _ in 0..5 {
        client.send("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").unwrap();
        assert_eq!(client.read_response().unwrap().status, 200);
    }
    assert!(eventually(SOON, || server.tracer("t").dropped() == 2));
    drop(client);
    server.quit();
    let (_, message) = posted.recv_timeout(SOON).unwrap();
    assert_eq!(at(&message, &[1, 2, 2]).len(), 3);
}

#[test]
fn long_queues_are_sent_in_batches() {
    let (addr, posted) = collector("200 OK");
    let server = traced(addr, ".delay = 1h  .batch = 2");
    let mut client = hemi_test::raw::Client::connect(server.addr()).unwrap();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").unwrap();
        assert_eq!(client.read_response().unwrap().status, 200);
    }
    // A full batch does not wait.
    let (_, message) = posted.recv_timeout(SOON).unwrap();
    assert_eq!(at(&message, &[1, 2, 2]).len(), 2);
}
