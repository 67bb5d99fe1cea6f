//! Content that is compressed as it comes.

use hemi_test::raw::Client;
use zlib_rs::{Inflate, InflateFlush};

use super::{decoded, gunzip, text};
use crate::server::{Running, site};

fn mirrored(revisers: &str) -> Running {
    site("", &format!("rule {{ mirror {{}} {revisers} }}"))
}

/// Begins a request with content of this length to the mirror. The answer ends with the connection.
fn begin(server: &Running, len: usize, coding: &str) -> Client {
    let mut client = server.connect();
    let head = format!(
        "POST / HTTP/1.0\r\nReply-Content-Type: text/event-stream\r\nAccept-Encoding: {coding}\r\n\
         Content-Length: {len}\r\n\r\n"
    );
    client.send(head).unwrap();
    client
}

fn skip_head(client: &mut Client) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(client.read_exact(1).unwrap());
    }
}

#[test]
fn a_piece_can_be_read_before_the_next_one_is_there() {
    let server = mirrored("gzip {}");
    let mut client = begin(&server, 700, "gzip");
    let mut inflate = Inflate::new(true, 31);
    let mut out = vec![0; 1000];
    for number in 0..7 {
        client.send(vec![b'a' + number; 100]).unwrap();
        if number == 0 {
            skip_head(&mut client);
        }
        let read = |inflate: &Inflate| inflate.total_out() as usize;
        while read(&inflate) < (number as usize + 1) * 100 {
            let bytes = client.read_some().unwrap();
            let start = read(&inflate);
            inflate.decompress(&bytes, &mut out[start..], InflateFlush::SyncFlush).unwrap();
        }
    }
    assert_eq!(out[..700], (0..7).flat_map(|n| [b'a' + n; 100]).collect::<Vec<u8>>());
    client.read_to_end().unwrap();
}

#[test]
fn every_coding_gives_what_it_has_when_it_has_to_wait() {
    for (sign, coding) in [("brotli", "br"), ("zstd", "zstd")] {
        let server = mirrored(&format!("{sign} {{}}"));
        let mut client = begin(&server, 2000, coding);
        client.send(text(1000)).unwrap();
        skip_head(&mut client);
        // Less than this was never made of such a text: it is all there but for the end.
        let mut got = Vec::new();
        while got.len() < 300 {
            got.extend(client.read_some().unwrap());
        }
        client.send(text(1000)).unwrap();
        got.extend(client.read_to_end().unwrap());
        let reply = hemi_test::Reply {
            status: 200,
            headers: vec![("content-encoding".into(), coding.into())],
            body: got,
            trailers: vec![],
            closed: true,
        };
        assert_eq!(decoded(&reply), [text(1000), text(1000)].concat());
    }
}

#[test]
fn trailers_are_kept() {
    let server = mirrored("gzip {}");
    let mut client = server.connect();
    client
        .send(
            "POST / HTTP/1.1\r\nHost: x\r\nReply-Content-Type: text/plain\r\n\
             Accept-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n",
        )
        .unwrap();
    let reply = client.read_response().unwrap();
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    assert_eq!(gunzip(&reply.body), b"hello world");
    assert_eq!(reply.trailers, [("x-sum".to_owned(), "11".to_owned())]);
}

#[test]
fn content_of_no_bytes_is_still_an_answer() {
    for (sign, coding) in [("gzip", "gzip"), ("brotli", "br"), ("zstd", "zstd")] {
        let server = mirrored(&format!("{sign} {{}}"));
        let mut client = server.connect();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nReply-Content-Type: text/plain\r\n\
             Accept-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        );
        client.send(head).unwrap();
        let reply = client.read_response().unwrap();
        assert_eq!(reply.header("content-encoding"), Some(coding));
        assert_eq!(decoded(&reply), b"");
    }
}

#[test]
fn encoders_serve_one_content_after_the_other_and_several_at_once() {
    let server = mirrored("gzip {} zstd {}");
    let content = text(200_000);
    for coding in ["gzip", "zstd"] {
        let mut clients: Vec<_> = (0..8).map(|_| begin(&server, 200_000, coding)).collect();
        for client in &mut clients {
            client.send(&content[..100_000]).unwrap();
        }
        // One that is left midway gives its encoder to the next.
        clients.pop();
        for mut client in clients {
            client.send(&content[100_000..]).unwrap();
            skip_head(&mut client);
            let reply = hemi_test::Reply {
                status: 200,
                headers: vec![("content-encoding".into(), coding.into())],
                body: client.read_to_end().unwrap(),
                trailers: vec![],
                closed: true,
            };
            assert!(decoded(&reply) == content);
        }
    }
}

#[test]
fn a_cut_content_does_not_look_whole() {
    let server = mirrored("gzip {}");
    let mut client = begin(&server, 1000, "gzip");
    client.send(vec![b'a'; 500]).unwrap();
    client.finish().unwrap();
    let got = client.read_to_end();
    let whole = got.is_ok_and(|bytes| {
        let body = bytes.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |at| at + 4);
        let mut inflate = Inflate::new(true, 31);
        let mut out = vec![0; 2000];
        let status = inflate.decompress(&bytes[body..], &mut out, InflateFlush::Finish);
        matches!(status, Ok(zlib_rs::Status::StreamEnd))
    });
    assert!(!whole);
}
