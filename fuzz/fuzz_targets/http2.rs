//! A client that sends anything is answered, or told what is wrong, in bounded memory.
#![no_main]

use bytes::BytesMut;
use hemi_fuzz::split_piece_size;
use hemi_proto::http1::RequestHead;
use hemi_proto::http2::{Config, Connection, End, Event, PREFACE};
use http::StatusCode;
use libfuzzer_sys::fuzz_target;

/// Bytes of an answer's content.
const CONTENT: usize = 100;

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = split_piece_size(input) else { return };
    let whole = converse(bytes, bytes.len().max(1));
    let pieces = converse(bytes, size);
    // However it arrives, it means the same; the content of a frame may be passed on in parts.
    assert_eq!(whole, pieces);
});

/// What came of it: requests, bytes of content, and whether the connection is over.
fn converse(bytes: &[u8], size: usize) -> (u32, usize, bool) {
    let mut out = BytesMut::new();
    let config = Config { max_streams: 4, ..Config::default() };
    let mut connection = Connection::new(config, &mut out);
    let (mut buf, mut head) = (BytesMut::from(PREFACE), RequestHead::default());
    let (mut requests, mut content) = (0, 0);
    for piece in bytes.chunks(size) {
        buf.extend_from_slice(piece);
        loop {
            out.clear();
            let received = connection.receive(&mut buf, &mut head, &mut out);
            assert!(out.len() < 1 << 16);
            let Ok(Some(event)) = received else { break };
            match event {
                Event::Request { stream } => {
                    requests += 1;
                    assert!(head.authority.is_some());
                    answer(&mut connection, stream, &mut out);
                }
                Event::Refused { stream, .. } => answer(&mut connection, stream, &mut out),
                Event::Data { stream, data } => {
                    content += data.len();
                    connection.read(stream, data.len(), &mut out);
                }
                Event::End { .. } | Event::Reset { .. } | Event::Malformed(_) => {}
            }
            send(&mut connection, &mut out);
        }
    }
    (requests, content, connection.is_over())
}

fn answer(connection: &mut Connection, stream: u32, out: &mut BytesMut) {
    if let Some(head) = connection.head(stream, out) {
        head.status(StatusCode::OK).content_length(CONTENT as u64).finish(End::No);
        connection.set_ready(stream, true);
    }
}

fn send(connection: &mut Connection, out: &mut BytesMut) {
    for _ in 0..8 {
        let Some(turn) = connection.turn() else { return };
        assert!(turn.most > 0);
        let end = if turn.most >= CONTENT { End::Stream } else { End::No };
        connection.data(turn.stream, turn.most.min(CONTENT), end, out);
    }
}
