//! Clients that cost more than they are worth, each beside one that behaves well.

use std::io::ErrorKind;
use std::time::Duration;

use super::client::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, IN_THE_CLEAR, PADDED, PING,
    PRIORITY, PRIORITY_UPDATE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, head,
};
use super::site;
use crate::site::Site;

/// The code ENHANCE_YOUR_CALM.
const CALM: u32 = 11;

/// More frames than anybody is to put up with.
const MANY: u32 = 20_000;

/// Sends what `flood` makes until the server has enough, and asks for it by another client in between.
#[track_caller]
fn expect_calm(name: &str, open: impl Fn(&Site) -> Http2, flood: impl Fn(u32) -> Vec<u8>) {
    let site = site();
    let mut good = Http2::open(&site);
    let mut bad = open(&site);
    let mut ended = false;
    for round in 0..MANY {
        match bad.client.send(flood(round)) {
            Ok(()) => {}
            Err(e) => {
                let kinds =
                    [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset, ErrorKind::TimedOut];
                assert!(kinds.contains(&e.kind()), "{name}: {e}");
                ended = true;
                break;
            }
        }
        if round % 2_000 == 0 {
            assert_eq!(good.ask(round + 1, "/now").text(), "now", "{name}");
        }
    }
    if !ended {
        assert_eq!(bad.expect_goaway(), CALM, "{name}");
    }
    site.expect_counter("glitches", 1);
    assert_eq!(good.ask(MANY + 1, "/now").text(), "now", "{name}");
}

fn stream(round: u32) -> u32 {
    2 * round + 1
}

fn get(path: &str) -> Vec<u8> {
    block(&head("GET", path))
}

#[test]
fn rapid_resets() {
    for path in ["/now", "/wait/100000"] {
        let block = get(path);
        expect_calm("reset", Http2::open, |round| {
            let headers = frame(HEADERS, END_HEADERS | END_STREAM, stream(round), &block);
            [headers, frame(RST_STREAM, 0, stream(round), &[0, 0, 0, 8])].concat()
        });
    }
    let block = super::client::block(&head("POST", "/read"));
    expect_calm("reset of content", Http2::open, |round| {
        let headers = frame(HEADERS, END_HEADERS, stream(round), &block);
        [headers, frame(RST_STREAM, 0, stream(round), &[0, 0, 0, 8])].concat()
    });
}

/// MadeYouReset: the client has the server reset streams on which work was begun.
#[test]
fn resets_that_the_server_is_made_to_send() {
    let wait = block(&head("POST", "/wait/100000"));
    let sized = block(&[&head("POST", "/read")[..], &[("content-length", "1")]].concat());
    type Provoke = fn(u32) -> Vec<u8>;
    let causes: [(&str, &[u8], u8, Provoke); 7] = [
        ("WINDOW_UPDATE by 0", &wait, 0, |s| frame(WINDOW_UPDATE, 0, s, &[0; 4])),
        ("WINDOW_UPDATE beyond", &wait, 0, |s| frame(WINDOW_UPDATE, 0, s, &[0x7f, 255, 255, 255])),
        ("PRIORITY on itself", &wait, 0, |s| {
            frame(PRIORITY, 0, s, &[&s.to_be_bytes()[..], &[0]].concat())
        }),
        ("PRIORITY of a wrong size", &wait, 0, |s| frame(PRIORITY, 0, s, &[0; 4])),
        ("DATA after the end", &wait, END_STREAM, |s| frame(DATA, 0, s, b"x")),
        ("HEADERS after the end", &wait, END_STREAM, |s| {
            frame(HEADERS, END_HEADERS | END_STREAM, s, &[])
        }),
        ("a wrong length", &sized, 0, |s| frame(DATA, END_STREAM, s, b"xx")),
    ];
    for (name, block, flags, provoke) in causes {
        expect_calm(name, Http2::open, |round| {
            let headers = frame(HEADERS, END_HEADERS | flags, stream(round), block);
            [headers, provoke(stream(round))].concat()
        });
    }
}

#[test]
fn cheap_frames() {
    type Flood = fn(u32) -> Vec<u8>;
    let floods: [(&str, Flood); 7] = [
        ("PING", |_| frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", |_| frame(SETTINGS, 0, 0, &[])),
        ("SETTINGS acknowledged", |_| frame(SETTINGS, 1, 0, &[])),
        ("PRIORITY", |round| frame(PRIORITY, 0, stream(round), &[0; 5])),
        ("PRIORITY_UPDATE", |round| {
            frame(PRIORITY_UPDATE, 0, 0, &[&stream(round).to_be_bytes()[..], b"u=1"].concat())
        }),
        ("unknown", |_| frame(0xbb, 0, 0, b"?")),
        ("WINDOW_UPDATE", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ];
    for (name, flood) in floods {
        expect_calm(name, Http2::open, flood);
    }
}

#[test]
fn empty_data() {
    let open = |site: &Site| {
        let mut client = Http2::open(site);
        client.request(1, 0, &head("POST", "/read"));
        client
    };
    expect_calm("DATA", open, |_| frame(DATA, 0, 1, &[]));
    expect_calm("padding", open, |_| frame(DATA, PADDED, 1, &[3, 0, 0, 0]));
    let open = |site: &Site| {
        let mut client = Http2::open(site);
        client.ask(1, "/now");
        client
    };
    expect_calm("RST_STREAM", open, |_| frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]));
}

#[test]
fn endless_blocks() {
    for payload in [&[0; 0][..], &block(&[("x", &"y".repeat(200))])] {
        let site = site();
        let mut client = Http2::open(&site);
        client.send(HEADERS, END_STREAM, 1, &get("/now"));
        for _ in 0..MANY {
            if client.try_send(CONTINUATION, 0, 1, payload).is_err() {
                break;
            }
        }
        assert_eq!(client.expect_goaway(), CALM);
        assert_eq!(Http2::open(&site).ask(1, "/now").text(), "now");
    }
}

/// A block of 16 KB that stands for 64 MB.
#[test]
fn bombs() {
    let site = site();
    let mut client = Http2::open(&site);
    let mut block = get("/now");
    // An entry that fills the table, then its index again and again.
    block.extend([0x40, 1, b'x', 0x7f, 0xc1, 0x1e]);
    block.extend([b'y'; 4032]);
    block.extend([0xbe; 14_000]);
    let (first, rest) = block.split_at(16 << 10);
    client.send(HEADERS, END_STREAM, 1, first);
    client.send(CONTINUATION, END_HEADERS, 1, rest);
    assert_eq!(client.answer(1).status(), 431);
    // Crumbs of cookies, one byte each.
    let mut block = get("/now");
    block.extend([0x40 | 32, 1, b'c']);
    block.extend([0xbe; 16_000]);
    client.send(HEADERS, END_HEADERS | END_STREAM, 3, &block);
    assert_eq!(client.answer(3).status(), 431);
    assert_eq!(client.ask(5, "/now").text(), "now");
}

#[test]
fn streams_beyond_those_allowed_are_refused() {
    let site = site();
    let mut client = Http2::open(&site);
    for round in 0..200 {
        client.get(stream(round), "/wait/100000");
    }
    for round in 128..200 {
        assert_eq!(client.answer(stream(round)).reset, Some(7));
    }
    drop(client);
    site.expect_idle();
}

/// Who takes nothing, or next to nothing, is not waited for.
#[test]
fn windows_that_stay_closed() {
    let properties = format!("{IN_THE_CLEAR} .sendTimeout = 300ms");
    let site = Site::with(&properties);
    let mut client = Http2::open_with(&site, &[(4, 0)]);
    for round in 0..100 {
        client.get(stream(round), "/now");
    }
    for round in 0..100 {
        assert_eq!(client.answer(stream(round)).reset, Some(8));
    }
    site.expect_counter("send_timeout", 100);
    assert_eq!(site.counter("requests"), 100);

    let site = Site::with(&format!("{IN_THE_CLEAR} .minRate = 1K .rateGrace = 300ms"));
    let mut client = Http2::open_with(&site, &[(4, 0)]);
    client.get(1, "/big");
    loop {
        client.send(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
        let frame = loop {
            let frame = client.next().unwrap();
            if matches!(frame.kind, DATA | RST_STREAM) {
                break frame;
            }
        };
        if frame.kind == RST_STREAM {
            break;
        }
        client.client.wait(Duration::from_millis(50));
    }
    site.expect_counter("send_timeout", 1);
}
