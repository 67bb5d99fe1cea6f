//! Both sides of HRPC take any frames, in pieces as at once, and keep to their bounds.
#![no_main]

use bytes::{Bytes, BytesMut};
use hemi_fuzz::split_piece_size;
use hemi_proto::hrpc::{
    CHUNK, Code, Decoded, Event, Flags, HEAD_LEN, Hello, Limits, Mux, Open, PREFACE, Replied, Rest,
    begun, decode, frame as write_frame, hello,
};
use hemi_proto::rpcx::{Compression, Pairs};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { message: 128 << 10, metadata: 256 };
const STREAMS: usize = 16;

/// What has become of a stream that came byte by byte, or otherwise.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    events: usize,
    messages: usize,
    bytes: usize,
    broken: bool,
    sent: Vec<u8>,
}

/// Feeds one side, which answers some of what it gets.
fn feed(wire: &[u8], size: usize, mut mux: Mux<u8>, calls: u32) -> Seen {
    let (mut out, mut seen) = (BytesMut::new(), Seen::default());
    let own = Hello { streams: 9, message: 1 << 20, compressions: 3 };
    hello(&mut out, &own);
    for stream in 1..=calls {
        mux.begin(stream, 1);
        mux.send(stream, Bytes::from(vec![7; 100_000 * stream as usize % 170_000]), Flags::END);
    }
    let (mut buf, mut fed) = (Vec::new(), wire.chunks(size.max(1)));
    'pieces: loop {
        match decode(&buf, LIMITS) {
            Err(_) => seen.broken = true,
            Ok(Decoded::Needs(needs)) => {
                assert!(needs > buf.len() && needs <= LIMITS.frame() + HEAD_LEN);
                let Some(piece) = fed.next() else { break };
                buf.extend_from_slice(piece);
                continue;
            }
            Ok(Decoded::Frame(frame, length)) => {
                let _ = frame.see();
                let mut again = BytesMut::new();
                if frame.body.len() <= CHUNK {
                    write_frame(&mut again, &frame.head, frame.body);
                    assert_eq!(again, &buf[..length]);
                }
                match mux.receive(&frame, &mut out) {
                    Err(_) => seen.broken = true,
                    Ok(event) => act(&mut mux, event, &mut out, &mut seen),
                }
                buf.drain(..length);
            }
        }
        if seen.broken {
            break 'pieces;
        }
        while let Some(chunk) = mux.next_chunk(&mut out) {
            assert!(chunk.body.len() <= CHUNK);
            seen.bytes += chunk.body.len();
        }
        assert!(mux.len() <= STREAMS);
        seen.sent.extend_from_slice(&out.split());
    }
    seen
}

fn act(mux: &mut Mux<u8>, event: Event<'_, u8>, out: &mut BytesMut, seen: &mut Seen) {
    seen.events += 1;
    let (stream, message, end) = match event {
        Event::Call { stream, message, end, .. }
        | Event::Reply { stream, message, end, .. }
        | Event::Message { stream, message, end } => (stream, message, end),
        Event::Trailers { stream, .. } => (stream, None, true),
        _ => return,
    };
    if let Some(message) = message {
        assert!(message.bytes.len() <= LIMITS.message);
        seen.messages += 1;
        // Some are never consumed.
        if message.bytes.first() != Some(&0) {
            mux.consumed(stream, message.weight, out);
        }
    }
    if end {
        let long = stream % 3 == 0;
        let start = out.len();
        let replied = Replied { code: Code::OK, metadata: Pairs::NONE };
        let open = Open::reply(out, stream, &replied);
        out.extend_from_slice(&vec![1; if long { 100_000 } else { 10 }]);
        open.end(out, Flags::MESSAGE.and(Flags::END), Compression::NONE);
        match Rest::of(out, start) {
            Some(rest) => {
                if mux.get(stream).is_none() && mux.len() < STREAMS {
                    mux.keep(stream, 2);
                }
                mux.send_rest(rest);
            }
            None => drop(mux.close(stream, out)),
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((size, wire)) = split_piece_size(input) else { return };
    let _ = begun(wire);
    let wire = wire.strip_prefix(PREFACE).unwrap_or(wire);
    let server = || Mux::server(LIMITS, STREAMS);
    assert_eq!(feed(wire, size, server(), 0), feed(wire, wire.len(), server(), 0));
    let client = || Mux::client(LIMITS);
    assert_eq!(feed(wire, size, client(), 5), feed(wire, wire.len(), client(), 5));
});
