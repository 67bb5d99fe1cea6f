//! HTTP/2, spoken by clients of others and in frames of our own.

pub(crate) mod client;
mod floods;

use std::process::Command;
use std::sync::Arc;

use hemi_test::peer::{modules, peer};
use hemi_test::raw::Client;
use hemi_test::tls::{Authority, KeyKind};
use rustls::version::{TLS12, TLS13};

use self::client::{
    DATA, END_STREAM, GOAWAY, HEADERS, Http2, IN_THE_CLEAR, PING, RST_STREAM, WINDOW_UPDATE, head,
};
use crate::site::{Site, config};

fn site() -> Site {
    Site::with(IN_THE_CLEAR)
}

#[test]
fn requests_are_answered() {
    let site = site();
    let mut client = Http2::open(&site);
    let answer = client.ask(1, "/now");
    assert_eq!((answer.status(), answer.text()), (200, "now".into()));
    assert_eq!(answer.field("server"), Some("hemi"));
    assert_eq!(answer.field("content-length"), Some("3"));
    assert!(answer.field("date").is_some_and(|date| date.ends_with(" GMT")));
    assert_eq!(client.ask(3, "/wait/1").text(), "waited");
    assert_eq!(client.ask(5, "/host").text(), "x");
    assert_eq!(client.ask(7, "/nowhere").status(), 404);
    assert_eq!(client.ask(9, "/stream/3/4").text(), "x".repeat(12));
    assert_eq!(client.ask(11, "/panic").status(), 500);
    assert_eq!(client.ask(13, "/now/panic").status(), 500);
    let answer = client.ask(15, "/status/204");
    assert_eq!(
        (answer.status(), answer.body.len(), answer.field("content-length")),
        (204, 0, None)
    );
    client.request(17, END_STREAM, &head("HEAD", "/now"));
    let answer = client.answer(17);
    assert_eq!((answer.status(), answer.field("content-length")), (200, Some("3")));
    assert!(answer.body.is_empty());
    client.request(19, END_STREAM, &[(":method", "CONNECT"), (":authority", "x:1")]);
    assert_eq!(client.answer(19).status(), 501);
    // Interim answers and trailers are heads too.
    let answer = client.ask(21, "/hints");
    let statuses: Vec<_> = answer.heads.iter().map(|head| &*head[0].1).collect();
    assert_eq!(statuses, ["103", "103", "200"]);
    assert_eq!(answer.heads[0][1], ("link".into(), "</a.css>".into()));
    let answer = client.ask(23, "/trailers");
    assert_eq!(answer.heads[1], [("x-sum".into(), "6".into())]);
    // Of what length the content would be is not known.
    client.request(25, END_STREAM, &head("HEAD", "/empty"));
    let answer = client.answer(25);
    assert_eq!((answer.status(), answer.field("content-length")), (200, None));
    assert_eq!(site.counter("requests"), 13);
}

#[test]
fn answers_that_break_off_are_reset() {
    let site = site();
    let mut client = Http2::open(&site);
    for (stream, path) in [(1, "/fails"), (3, "/panic/streaming"), (5, "/long"), (7, "/short")] {
        assert_eq!(client.ask(stream, path).reset, Some(2), "{path}");
    }
    assert_eq!(client.ask(9, "/now").text(), "now");
}

#[test]
fn content_is_received() {
    let site = site();
    let mut client = Http2::open(&site);
    let piece = vec![b'x'; 16 << 10];
    let post = |path| head("POST", path);
    client.request(1, 0, &post("/read"));
    let mut windows = [65_535 + (1 << 20) - 65_535, 256 << 10];
    let mut sent = 0;
    while sent < 3 << 20 {
        while windows.iter().any(|window| *window < piece.len()) {
            let frame = client.expect(WINDOW_UPDATE);
            windows[usize::from(frame.stream != 0)] += frame.number(0) as usize;
        }
        client.send(DATA, 0, 1, &piece);
        windows.iter_mut().for_each(|window| *window -= piece.len());
        sent += piece.len();
    }
    client.request(1, END_STREAM, &[("x-sum", "6")]);
    let text = client.answer(1).text();
    assert!(text.starts_with("3145728 bytes, {\"x-sum\""), "{text}");
    // What goes back while it comes.
    client.request(3, 0, &post("/echo"));
    client.send(DATA, 0, 3, b"one ");
    client.send(DATA, END_STREAM, 3, b"two");
    assert_eq!(client.answer(3).text(), "one two");
    // A length is a promise.
    for (stream, length, data) in [(5, "4", &b"12345"[..]), (7, "6", b"12345")] {
        let lines = [&post("/read")[..], &[("content-length", length)]].concat();
        client.request(stream, 0, &lines);
        client.send(DATA, END_STREAM, stream, data);
        assert_eq!(client.answer(stream).reset, Some(1));
    }
    // What nobody reads does not disturb.
    client.request(9, 0, &post("/now"));
    client.send(DATA, 0, 9, &piece);
    assert_eq!(client.answer(9).text(), "now");
    client.send(DATA, END_STREAM, 9, &piece);
    // What is announced to be too long is not waited for.
    let lines = [&post("/read")[..], &[("content-length", "200000000")]].concat();
    client.request(11, 0, &lines);
    assert_eq!(client.answer(11).status(), 413);
    let lines = [&post("/read")[..], &[("expect", "100-continue")]].concat();
    client.request(13, 0, &lines);
    let frame = client.expect(HEADERS);
    assert_eq!((frame.stream, frame.ends_stream()), (13, false));
    client.send(DATA, END_STREAM, 13, b"12");
    assert_eq!(client.answer(13).heads.len(), 1);
}

#[test]
fn large_answers_share_the_connection_and_heed_windows() {
    let site = site();
    let mut client = Http2::open(&site);
    client.get(1, "/big");
    client.get(3, "/now");
    let answer = client.answer(3);
    assert_eq!(answer.text(), "now");
    let answer = client.answer(1);
    assert_eq!(answer.body.len(), 64 << 20);

    let mut client = Http2::open_with(&site, &[(4, 0)]);
    client.get(1, "/now");
    client.get(3, "/stream/2/3");
    for (stream, text) in [(1, "now"), (3, "xxxxxx")] {
        for at in 0..text.len() {
            client.send(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]);
            let frame = client.expect(DATA);
            assert_eq!((frame.stream, &frame.payload[..]), (stream, &text.as_bytes()[at..=at]));
        }
    }
}

#[test]
fn the_urgent_goes_first() {
    let site = site();
    let mut client = Http2::open(&site);
    let with = |priority| [&head("GET", "/big")[..], &[("priority", priority)]].concat();
    // The windows hold back what comes first until all have been asked for.
    client.request(1, END_STREAM, &with("u=5"));
    while client.expect(DATA).payload.len() == 16 << 10 {}
    client.request(3, END_STREAM, &with("u=4"));
    client.request(5, END_STREAM, &with("u=6"));
    client.send(16, 0, 0, &[&5u32.to_be_bytes()[..], b"u=1"].concat());
    client.send(PING, 0, 0, &[0; 8]);
    client.expect(PING);
    for expected in [5, 3, 1] {
        client.send(WINDOW_UPDATE, 0, 1, &65_535u32.to_be_bytes());
        client.send(WINDOW_UPDATE, 0, 0, &65_535u32.to_be_bytes());
        let mut left = 65_535;
        while left > 0 {
            let frame = client.expect(DATA);
            assert_eq!(frame.stream, expected);
            left -= frame.payload.len();
        }
    }
}

#[test]
fn streams_leave_http() {
    let site = site();
    let mut client = Http2::open(&site);
    let lines = [&head("CONNECT", "/")[..], &[(":protocol", "shout")]].concat();
    let mut lines = lines;
    lines.swap(0, 4);
    client.request(1, 0, &lines);
    let opened = client.expect(HEADERS);
    assert!(!opened.ends_stream());
    client.send(DATA, 0, 1, b"hello");
    assert_eq!(client.expect(DATA).payload, b"HELLO");
    assert_eq!(client.ask(3, "/now").text(), "now");
    client.send(DATA, END_STREAM, 1, b"bye");
    assert_eq!(client.expect(DATA).payload, b"BYE");
    assert!(client.expect(DATA).ends_stream());
    // Who is not understood is told by a status.
    lines[0].1 = "unknown";
    client.request(5, 0, &lines);
    assert_eq!(client.answer(5).status(), 404);
    site.expect_counter("panics", 0);
}

#[test]
fn a_draining_server_takes_leave_in_two_steps() {
    let mut site = site();
    let mut client = Http2::open(&site);
    assert_eq!(client.ask(1, "/now").text(), "now");
    client.get(3, "/wait/500");
    client.send(PING, 0, 0, &[1; 8]);
    client.expect(PING);
    site.load(&config("127.0.0.1:0", "")).unwrap();
    let first = client.expect(GOAWAY);
    assert_eq!((first.number(0), first.number(4)), (u32::MAX >> 1, 0));
    // Sent before the client knew.
    client.get(5, "/now");
    let ping = client.expect(PING);
    client.send(PING, 1, 0, &ping.payload);
    let last = client.expect(GOAWAY);
    assert_eq!((last.number(0), last.number(4)), (5, 0));
    client.get(7, "/now");
    assert_eq!(client.answer(3).text(), "waited");
    assert!(client.next().is_none());
}

#[test]
fn a_client_that_leaves_ends_what_runs_for_it() {
    let site = site();
    let mut client = Http2::open(&site);
    client.get(1, "/wait/100000");
    client.get(3, "/now");
    client.answer(3);
    client.send(RST_STREAM, 0, 1, &8u32.to_be_bytes());
    assert_eq!(client.ask(5, "/now").text(), "now");
    client.get(7, "/wait/100000");
    client.get(9, "/big");
    drop(client);
    site.expect_idle();
}

#[test]
fn limits_of_a_connection() {
    let site = Site::with(&format!("{IN_THE_CLEAR} .maxRequestsPerConn = 2"));
    let mut client = Http2::open(&site);
    assert_eq!(client.ask(1, "/now").text(), "now");
    assert_eq!(client.ask(3, "/now").text(), "now");
    assert_eq!(client.expect(GOAWAY).number(4), 0);
    let ping = client.expect(PING);
    client.send(PING, 1, 0, &ping.payload);
    assert_eq!(client.expect_goaway(), 0);
    site.expect_counter("requests_per_conn", 1);

    let site = Site::with(&format!("{IN_THE_CLEAR} .idleTimeout = 200ms"));
    let mut client = Http2::open(&site);
    assert_eq!(client.ask(1, "/now").text(), "now");
    assert_eq!(client.expect_goaway(), 0);
    site.expect_counter("idle_timeout", 1);

    let site = Site::with(&format!("{IN_THE_CLEAR} .headTimeout = 200ms"));
    let mut client = Http2::open(&site);
    client.client.send([0, 0, 5, HEADERS]).unwrap();
    while client.next().is_some() {}
    site.expect_counter("head_timeout", 1);

    let site = Site::with(&format!("{IN_THE_CLEAR} .totalTimeout = 200ms"));
    let mut client = Http2::open(&site);
    assert_eq!(client.ask(1, "/wait/100000").reset, Some(8));
    assert_eq!(client.ask(3, "/now").text(), "now");
    site.expect_counter("total_timeout", 1);

    let site = Site::with(&format!("{IN_THE_CLEAR} .bodyTimeout = 200ms"));
    let mut client = Http2::open(&site);
    client.request(1, 0, &head("POST", "/read"));
    assert_eq!(client.answer(1).status(), 408);
    site.expect_counter("body_timeout", 2);
}

#[test]
fn what_comes_behind_a_fault_is_read_to_a_bound() {
    let site = site();
    let mut client = Http2::open(&site);
    client.send(DATA, 0, 0, b"x");
    assert_eq!(client.expect_goaway(), 1);
    // Far more than the kernel keeps for both ends.
    let piece = vec![0; 1 << 20];
    assert!((0..256).any(|_| client.client.send(&piece).is_err()));
    site.expect_idle();
}

#[test]
fn faults_of_requests() {
    let site = site();
    let mut client = Http2::open(&site);
    let get = head("GET", "/now");
    for (stream, line, code) in [
        (1, ("Upper", "case"), 1),
        (3, ("connection", "close"), 1),
        (5, ("te", "gzip"), 1),
        (7, ("x", "a\r\nb: c"), 1),
        (9, ("host", "other"), 1),
        (11, (":path", "/again"), 1),
    ] {
        client.request(stream, END_STREAM, &[&get[..], &[line]].concat());
        assert_eq!(client.answer(stream).reset, Some(code), "{line:?}");
    }
    let field = ("x", "y".repeat(200));
    let many: Vec<_> = get.into_iter().chain((0..130).map(|_| (field.0, "y"))).collect();
    client.request(13, END_STREAM, &many);
    assert_eq!(client.answer(13).status(), 431);
    let long: Vec<_> = get.into_iter().chain((0..150).map(|_| ("x", &*field.1))).collect();
    let block = client::block(&long);
    let (first, rest) = block.split_at(16 << 10);
    client.send(HEADERS, END_STREAM, 15, first);
    let (second, third) = rest.split_at(10 << 10);
    client.send(client::CONTINUATION, 0, 15, second);
    client.send(client::CONTINUATION, client::END_HEADERS, 15, third);
    assert_eq!(client.answer(15).status(), 431);
    client.request(17, END_STREAM, &head("GET", &format!("/{}", "a".repeat(250))));
    assert_eq!(client.answer(17).status(), 404);
    client.request(19, END_STREAM, &head("GET", "/../up"));
    assert_eq!(client.answer(19).status(), 400);
    assert_eq!(client.ask(21, "/now").text(), "now");
    site.expect_counter("bad_head", 7);
}

#[test]
fn in_the_clear_it_has_to_be_asked_for() {
    let plain = Site::with("");
    let mut client = plain.connect();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    assert!(client.read_to_end().unwrap().starts_with(b"HTTP/1.1 "));
    let offer = "GET /now HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
                 http2-settings: AAQAAP__\r\n\r\n";
    let mut client = plain.connect();
    client.send(offer).unwrap();
    assert_eq!(client.read_response().unwrap().status, 200);

    let site = Site::with(".h2cUpgrade = true");
    let mut client = site.connect();
    client.send(offer).unwrap();
    let head = client.read_response_to_head().unwrap();
    assert_eq!((head.status, head.header("upgrade")), (101, Some("h2c")));
    let mut client = Http2::over(client, &[]);
    assert_eq!(client.answer(1).text(), "now");
    assert_eq!(client.ask(3, "/wait/1").text(), "waited");
    // Not with content, nor without settings.
    let post = offer
        .replace("GET /now", "POST /read")
        .replace("\r\n\r\n", "\r\ncontent-length: 1\r\n\r\nx");
    for other in [post, offer.replace("AAQAAP__", "?"), offer.replace(", http2-settings", "")] {
        let mut client = site.connect();
        client.send(other).unwrap();
        assert_eq!(client.read_response().unwrap().status, 200);
    }
}

#[test]
fn clients_of_others() {
    let site = Site::with(&format!("{IN_THE_CLEAR} .h2cUpgrade = true"));
    let url = |path: &str| format!("http://{}{path}", site.addr());
    if let Some(curl) = peer("curl") {
        for version in ["--http2", "--http2-prior-knowledge"] {
            let mut command = Command::new(&curl);
            command.args(["--silent", version, "--write-out", "%{http_version} %{http_code}"]);
            let output = command.arg(url("/stream/300/1000")).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.ends_with("x2 200") && text.len() == 300_005, "{version}: {output:?}");
        }
    }
    if let Some(mut python) = modules::python("h2") {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/http2/client.py");
        let output = python.arg(script).arg(site.addr().port().to_string()).output().unwrap();
        assert_eq!(output.stdout, b"all is well\n", "{output:?}");
    }
    if let Some(h2load) = peer("h2load") {
        let mut command = Command::new(h2load);
        command.args(["--requests=1000", "--clients=4", "--max-concurrent-streams=20"]);
        let output = command.args([url("/now"), url("/stream/30/1000")]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("1000 succeeded, 0 failed"), "{text}");
    }
}

#[test]
fn over_tls_it_is_chosen_by_alpn() {
    let ca = Authority::new("ca");
    let identity = ca.server(&["localhost"], KeyKind::Ecdsa);
    let config = |properties| {
        let site = identity.properties();
        format!(
            r#"stage {{
                webapp "probe" {{ .hostnames = ("localhost")  {site}  rule {{ probe {{}} }} }}
                httpxServer "main" {{
                    .address = "127.0.0.1:0"  .webapps = ("probe")  .tlsMode = true  {properties}
                }}
            }}"#
        )
    };
    let site = Site::of(&config(""));
    let connect = |site: &Site| {
        let mut config = ca.trusted_by(&[&TLS13, &TLS12], None);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Client::connect_tls(site.addr(), "localhost", &Arc::new(config)).unwrap()
    };
    let mut client = Http2::over(connect(&site), &[]);
    for (stream, path, len) in [(1, "/now", 3), (3, "/wait/1", 6), (5, "/big", 64 << 20)] {
        let mut lines = head("GET", path);
        lines[2].1 = "localhost";
        client.request(stream, END_STREAM, &lines);
        assert_eq!(client.answer(stream).body.len(), len);
    }
    let alpn = client.client.tls().and_then(|tls| tls.alpn_protocol());
    assert_eq!(alpn, Some(&b"h2"[..]));
    if let Some(h2spec) = peer("h2spec") {
        expect_all(Command::new(h2spec).args(["--tls", "--insecure"]), &site);
    }
    let site = Site::of(&config(".http2 = false"));
    let mut client = connect(&site);
    client.send("GET /now HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "now");
}

#[test]
fn h2spec() {
    let Some(h2spec) = peer("h2spec") else { return };
    expect_all(&mut Command::new(h2spec), &site());
}

/// Has h2spec try out everything.
#[track_caller]
fn expect_all(h2spec: &mut Command, site: &Site) {
    let port = site.addr().port().to_string();
    h2spec.args(["--strict", "--host=localhost", "--timeout=10", "--path=/stream/3/4"]);
    let output = h2spec.args(["--port", &port]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("146 tests, 146 passed, 0 skipped, 0 failed"), "{text}");
}
