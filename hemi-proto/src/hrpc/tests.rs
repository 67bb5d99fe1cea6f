//! Frames as `docs/hrpc.md` has them, and two sides that talk to each other.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::*;
use crate::rpcx::{CodecId, Compression, Metadata, Pairs};

const LIMITS: Limits = Limits { message: 8 << 20, metadata: 1 << 10 };
const HELLO: Hello = Hello { streams: 1024, message: 4 << 20, compressions: 3 };

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

type Write<'a> = &'a dyn Fn(&mut BytesMut);

/// One side of a connection.
struct End {
    mux: Mux<u64>,
    out: BytesMut,
    whole: BTreeMap<u32, Vec<(u8, Vec<u8>)>>,
    ended: BTreeMap<u32, Code>,
    /// Whether messages are consumed as they come.
    consumes: bool,
    held: Vec<(u32, usize)>,
}

impl End {
    fn new(mux: Mux<u64>) -> Self {
        let mut out = BytesMut::new();
        hello(&mut out, &HELLO);
        let (whole, ended) = (BTreeMap::new(), BTreeMap::new());
        Self { mux, out, whole, ended, consumes: true, held: Vec::new() }
    }

    fn call(&mut self, message: &[u8], flags: Flags) -> u32 {
        let stream = self.mux.next_stream().unwrap();
        let start = self.out.len();
        let open = Open::call(&mut self.out, stream, &asked(Pairs::NONE));
        self.out.extend_from_slice(message);
        open.end(&mut self.out, flags, Compression::NONE);
        self.mux.begin(stream, 7);
        if let Some(rest) = Rest::of(&mut self.out, start) {
            self.mux.send_rest(rest);
        }
        stream
    }

    fn reply(&mut self, stream: u32, message: &[u8]) {
        let replied = Replied { code: Code::OK, metadata: Pairs::NONE };
        let start = self.out.len();
        let open = Open::reply(&mut self.out, stream, &replied);
        self.out.extend_from_slice(message);
        open.end(&mut self.out, Flags::MESSAGE.and(Flags::END), Compression::NONE);
        match Rest::of(&mut self.out, start) {
            Some(rest) => {
                if self.mux.get(stream).is_none() {
                    self.mux.keep(stream, 7);
                }
                self.mux.send_rest(rest);
            }
            None => drop(self.mux.close(stream, &mut self.out)),
        }
    }

    /// What is to be sent: control and opening frames, and up to `most` others.
    fn send(&mut self, most: usize) -> Vec<u8> {
        for _ in 0..most {
            let Some(chunk) = self.mux.next_chunk(&mut self.out) else { break };
            self.out.extend_from_slice(&chunk.head);
            self.out.extend_from_slice(&chunk.body);
        }
        self.out.split().to_vec()
    }

    fn receive(&mut self, wire: &[u8]) -> Result<(), Broken> {
        let mut at = 0;
        while let Decoded::Frame(frame, length) = decode(&wire[at..], LIMITS).unwrap() {
            at += length;
            let (stream, message, end) = match self.mux.receive(&frame, &mut self.out)? {
                Event::Call { stream, message, end, .. }
                | Event::Message { stream, message, end } => {
                    (stream, message, end.then_some(Code::OK))
                }
                Event::Reply { stream, message, end, replied } => {
                    (stream, message, end.then_some(replied.code))
                }
                Event::Trailers { stream, replied } => (stream, None, Some(replied.code)),
                Event::Reset { code, .. } => (0, None, Some(code)),
                Event::TooLong { .. } => (0, None, Some(Code::RESOURCE_EXHAUSTED)),
                Event::Push { asked, message: (compression, bytes) } => {
                    assert_eq!(asked.service, b"Arith");
                    self.whole.entry(0).or_default().push((compression, bytes.to_vec()));
                    continue;
                }
                Event::None | Event::Hello(_) | Event::Goaway { .. } => continue,
            };
            if let Some(message) = message {
                let Message { compression, bytes, weight } = message;
                self.whole.entry(stream).or_default().push((compression, bytes.into_owned()));
                self.held.push((stream, weight));
            }
            if let Some(code) = end {
                self.ended.insert(stream, code);
            }
        }
        assert_eq!(at, wire.len());
        if self.consumes {
            for (stream, weight) in std::mem::take(&mut self.held) {
                self.mux.consumed(stream, weight, &mut self.out);
            }
        }
        Ok(())
    }
}

fn asked(metadata: Pairs<'_>) -> Asked<'_> {
    let (service, method) = (&b"Arith"[..], &b"Mul"[..]);
    Asked { codec: CodecId::MSGPACK, timeout: 0, service, method, metadata }
}

fn pair() -> (End, End) {
    let (client, server) = (Mux::client(LIMITS), Mux::server(LIMITS, 4));
    let (mut client, mut server) = (End::new(client), End::new(server));
    server.receive(&client.send(0)).unwrap();
    client.receive(&server.send(0)).unwrap();
    (client, server)
}

/// Lets both talk until neither has more to say.
fn talk(client: &mut End, server: &mut End) {
    loop {
        let (asked, answered) = (client.send(3), server.send(3));
        if asked.is_empty() && answered.is_empty() {
            return;
        }
        server.receive(&asked).unwrap();
        client.receive(&answered).unwrap();
    }
}

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 / 7) as u8).collect()
}

/// The examples of the specification: what they are, and their bytes.
const EXAMPLES: &[(&str, &str)] = &[
    ("preface", "a8 48525043 01 0000"),
    ("hello", "0000000c 01 00 0000 00000000 00000400 00400000 00000003"),
    (
        "call",
        "0000001b 02 03 0003 00000001 000005dc 0005 4172697468 0003 4d756c 00000000 82a1410aa14214",
    ),
    ("reply", "00000009 03 03 0000 00000001 00000000 81a143ccc8"),
    (
        "failure",
        "0000001e 03 01 000c 00000002 0000001a 0000000e 5f5f727063785f6572726f725f5f 00000004 626f6f6d",
    ),
    ("reset", "00000000 06 00 0001 00000003"),
    ("credit", "00000004 07 00 0000 00000003 00008000"),
    ("ping", "00000008 08 00 0000 00000000 0000000000000001"),
    ("pong", "00000008 08 01 0000 00000000 0000000000000001"),
    ("goaway", "0000000c 09 00 0000 00000000 00000003 647261696e696e67"),
];

fn example(name: &str) -> Vec<u8> {
    bytes(EXAMPLES.iter().find(|(known, _)| *known == name).unwrap().1)
}

#[test]
fn frames_are_those_of_the_specification() {
    assert_eq!(example("preface"), PREFACE);
    let wrote = |write: Write<'_>| {
        let mut out = BytesMut::new();
        write(&mut out);
        out.to_vec()
    };
    let (end, message) = (Flags::END, Flags::MESSAGE);
    let mul = bytes("82a1410aa14214");
    let own: &[(&str, Write<'_>)] = &[
        ("hello", &|out| hello(out, &HELLO)),
        ("call", &|out| {
            let open = Open::call(out, 1, &Asked { timeout: 1500, ..asked(Pairs::NONE) });
            out.extend_from_slice(&mul);
            open.end(out, message.and(end), Compression::NONE);
        }),
        ("reply", &|out| {
            let open = Open::reply(out, 1, &Replied { code: Code::OK, metadata: Pairs::NONE });
            out.extend_from_slice(&bytes("81a143ccc8"));
            open.end(out, message.and(end), Compression::NONE);
        }),
        ("failure", &|out| {
            let mut metadata = Metadata::new();
            metadata.set(crate::rpcx::ERROR_KEY, "boom");
            let (code, metadata) = (Code::UNIMPLEMENTED, metadata.pairs());
            Open::reply(out, 2, &Replied { code, metadata }).end(out, end, Compression::NONE);
        }),
        ("reset", &|out| reset(out, 3, Code::CANCELLED, "")),
        ("credit", &|out| parts::credit(out, 3, 32 << 10)),
        ("ping", &|out| ping(out, 1_u64.to_be_bytes())),
        ("goaway", &|out| goaway(out, 3, Code::OK, "draining")),
    ];
    for (name, write) in own {
        assert_eq!(wrote(write), example(name), "{name}");
    }
    for (_, hex) in &EXAMPLES[1..] {
        let wire = bytes(hex);
        for cut in 0..wire.len() {
            let Ok(Decoded::Needs(needs)) = decode(&wire[..cut], LIMITS) else { panic!("{hex}") };
            assert!(needs > cut && needs <= wire.len());
        }
        let Ok(Decoded::Frame(frame, length)) = decode(&wire, LIMITS) else { panic!("{hex}") };
        assert_eq!((length, frame.body.len()), (wire.len(), wire.len() - HEAD_LEN));
        let mut again = BytesMut::new();
        super::frame(&mut again, &frame.head, frame.body);
        assert_eq!(again, wire);
    }
}

/// The document has the same bytes.
#[test]
fn the_specification_has_these_examples() {
    let text = include_str!("../../../docs/hrpc.md");
    let digits = |text: &str| -> String {
        let lines = text.lines().map(|line| line.split("  //").next().unwrap_or_default());
        lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect()
    };
    let text = digits(text);
    for (name, hex) in EXAMPLES {
        assert!(text.contains(&digits(hex)), "{name}");
    }
}

#[test]
fn a_start_is_told_from_others() {
    for (start, is) in [
        (&PREFACE[..], Begun::Hrpc),
        (b"\xa8HRPC\x02\0\0\0\0\0\x0c", Begun::Hrpc),
        (b"\xa8HRPC\0\0\0", Begun::Other),
        (b"", Begun::Partly),
        (b"\xa8", Begun::Partly),
        (b"\xa8HRPC\x01\0", Begun::Partly),
        (b"\xa8HRPX", Begun::Other),
        (b"\x08\0\0", Begun::Other),
        (b"GET / HTTP/1.1", Begun::Other),
    ] {
        assert_eq!(begun(start), is, "{}", start.escape_ascii());
    }
}

#[test]
fn messages_of_all_sizes_arrive() {
    let both = Flags::MESSAGE.and(Flags::END);
    for len in [0, 1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 65_536 + CHUNK, 300_000, 5 << 20] {
        let (mut client, mut server) = pair();
        let stream = client.call(&noise(len), both);
        talk(&mut client, &mut server);
        assert_eq!(server.whole[&stream], [(0, noise(len))], "{len}");
        assert_eq!(server.ended[&stream], Code::OK);
        server.reply(stream, &noise(len));
        talk(&mut client, &mut server);
        assert_eq!(client.whole[&stream], [(0, noise(len))]);
        assert_eq!(client.ended[&stream], Code::OK);
        assert_eq!(client.mux.close(stream, &mut client.out), Some(7));
        assert!(client.mux.is_empty() && server.mux.is_empty());
        assert_eq!((client.mux.rests(), server.mux.rests()), ((0, 0), (0, 0)));
    }
}

#[test]
fn small_messages_overtake_large_ones() {
    let (mut client, mut server) = pair();
    let both = Flags::MESSAGE.and(Flags::END);
    let large = client.call(&noise(3 << 20), both);
    server.receive(&client.send(2)).unwrap();
    let small = client.call(b"small", both);
    server.receive(&client.send(0)).unwrap();
    assert_eq!(server.whole[&small], [(0, b"small".to_vec())]);
    assert!(!server.whole.contains_key(&large));
    // Two large ones share the way.
    let other = client.call(&noise(100_000), both);
    talk(&mut client, &mut server);
    assert_eq!(server.whole[&large], [(0, noise(3 << 20))]);
    assert_eq!(server.whole[&other], [(0, noise(100_000))]);
}

#[test]
fn what_is_not_consumed_holds_up_its_stream_alone() {
    let (mut client, mut server) = pair();
    server.consumes = false;
    let stream = client.call(b"", Flags::MESSAGE);
    for _ in 0..100 {
        client.mux.send(stream, noise(10_000).into(), Flags::NONE);
    }
    client.mux.send_end(stream);
    talk(&mut client, &mut server);
    let came: usize = server.whole[&stream].iter().map(|(_, message)| message.len()).sum();
    assert!((50_000..=64 << 10).contains(&came), "{came}");
    assert!(client.mux.queued_on(stream) > 900_000 && client.mux.rests() == (0, 0));
    // Others are not concerned.
    let other = client.call(&noise(2 << 20), Flags::MESSAGE.and(Flags::END));
    talk(&mut client, &mut server);
    assert_eq!(server.whole[&other].len(), 1);
    server.consumes = true;
    server.receive(&[]).unwrap();
    talk(&mut client, &mut server);
    assert_eq!((server.whole[&stream].len(), server.ended[&stream]), (101, Code::OK));
    assert_eq!(client.mux.rests(), (0, 0));
}

#[test]
fn streams_that_are_not_read_hold_up_no_others() {
    let mut client = End::new(Mux::client(LIMITS));
    let mut server = End::new(Mux::server(LIMITS, 200));
    server.receive(&client.send(0)).unwrap();
    client.receive(&server.send(0)).unwrap();
    server.consumes = false;
    // More than the connection has, all in all, and some of it long.
    let unread: Vec<_> = (0..40).map(|_| client.call(b"", Flags::MESSAGE)).collect();
    for (at, stream) in unread.iter().enumerate() {
        client.mux.send(*stream, noise(60_000).into(), Flags::NONE);
        if at < 3 {
            client.mux.send(*stream, noise(7 << 20).into(), Flags::NONE);
        }
    }
    talk(&mut client, &mut server);
    for stream in &unread[3..] {
        assert_eq!(server.whole[stream].len(), 2);
    }
    let other = client.call(b"", Flags::MESSAGE);
    for _ in 0..3 {
        client.mux.send(other, noise(2 << 20).into(), Flags::NONE);
    }
    client.mux.send_end(other);
    for _ in 0..4 {
        talk(&mut client, &mut server);
        // It alone is read.
        for (stream, weight) in server.held.extract_if(.., |(stream, _)| *stream == other) {
            server.mux.consumed(stream, weight, &mut server.out);
        }
    }
    assert_eq!((server.whole[&other].len(), server.ended[&other]), (4, Code::OK));
    // What nobody reads has a bound.
    for stream in &unread[3..9] {
        client.mux.send(*stream, noise(7 << 20).into(), Flags::NONE);
    }
    talk(&mut client, &mut server);
    let held: usize = server.held.iter().map(|(_, weight)| weight).sum();
    assert!(held < 5 * LIMITS.message + 40 * STREAM_CREDIT as usize, "{held}");
    server.consumes = true;
    server.receive(&[]).unwrap();
    talk(&mut client, &mut server);
    for stream in &unread[..9] {
        assert_eq!(server.whole[stream].len(), 3);
    }
}

#[test]
fn many_long_messages_are_taken_in_one_after_the_other() {
    let (mut client, mut server) = pair();
    let both = Flags::MESSAGE.and(Flags::END);
    let streams: Vec<_> = (0..4).map(|_| client.call(&noise(1 << 20), both)).collect();
    // The first is given up in the middle.
    for _ in 0..8 {
        server.receive(&client.send(4)).unwrap();
        client.receive(&server.send(4)).unwrap();
    }
    client.mux.reset(streams[0], Code::CANCELLED, "", &mut client.out);
    talk(&mut client, &mut server);
    for stream in &streams[1..] {
        assert_eq!(server.whole[stream], [(0, noise(1 << 20))]);
    }
    assert!(!server.whole.contains_key(&streams[0]));
    assert_eq!(client.mux.rests(), (0, 0));
}

#[test]
fn answers_are_streams_too() {
    let (mut client, mut server) = pair();
    let stream = client.call(b"first", Flags::MESSAGE);
    talk(&mut client, &mut server);
    let replied = Replied { code: Code::OK, metadata: Pairs::NONE };
    Open::reply(&mut server.out, stream, &replied).end(
        &mut server.out,
        Flags::NONE,
        Compression::NONE,
    );
    server.mux.send(stream, Bytes::from_static(b"one"), Flags::NONE.compressed(1));
    talk(&mut client, &mut server);
    client.mux.send(stream, noise(70_000).into(), Flags::NONE.compressed(5));
    client.mux.send_end(stream);
    talk(&mut client, &mut server);
    assert_eq!(server.whole[&stream], [(0, b"first".to_vec()), (5, noise(70_000))]);
    server.mux.send(stream, Bytes::from_static(b""), Flags::NONE);
    let mut metadata = Metadata::new();
    metadata.set("k", "v");
    server.mux.send_trailers(stream, Code::ABORTED, metadata.pairs());
    talk(&mut client, &mut server);
    assert_eq!(client.whole[&stream], [(1, b"one".to_vec()), (0, Vec::new())]);
    assert_eq!(client.ended[&stream], Code::ABORTED);
    assert!(server.mux.is_empty());
}

#[test]
fn what_is_too_much_is_refused() {
    let (mut client, mut server) = pair();
    let both = Flags::MESSAGE.and(Flags::END);
    client.call(&noise((8 << 20) + 1), both);
    talk(&mut client, &mut server);
    assert_eq!(
        (server.ended[&0], client.ended[&0]),
        (Code::RESOURCE_EXHAUSTED, Code::RESOURCE_EXHAUSTED)
    );
    assert!(server.mux.is_empty() && client.mux.is_empty());
    // One more than the server takes at once.
    let (mut client, mut server) = pair();
    for _ in 0..5 {
        client.call(b"", Flags::NONE);
    }
    talk(&mut client, &mut server);
    assert_eq!((server.mux.len(), client.mux.len(), client.ended[&0]), (4, 4, Code::REFUSED));
    let mut metadata = Metadata::new();
    metadata.set("k", noise(1 << 10));
    let (mut client, mut server) = pair();
    let open = Open::call(&mut client.out, 1, &asked(metadata.pairs()));
    open.end(&mut client.out, Flags::END, Compression::NONE);
    client.mux.begin(1, 7);
    talk(&mut client, &mut server);
    assert_eq!((server.ended.len(), client.ended[&0]), (0, Code::RESOURCE_EXHAUSTED));
    let mut frame = example("call");
    frame[..4].copy_from_slice(&(LIMITS.frame() as u32 + 1).to_be_bytes());
    let e = FrameError { length: LIMITS.frame() + 1, most: LIMITS.frame() };
    assert_eq!(decode(&frame, LIMITS).unwrap_err(), e);
}

#[test]
fn what_is_no_hrpc_breaks_the_connection() {
    let call = example("call");
    let with = |at: usize, byte: u8| {
        let mut changed = call.clone();
        changed[at] = byte;
        changed
    };
    let data = |stream: u32, flags: u8, body: &[u8]| {
        let mut out = BytesMut::new();
        let (kind, flags) = (Kind::DATA, Flags(flags));
        super::frame(&mut out, &Head { kind, flags, value: 0, stream }, body);
        out.to_vec()
    };
    let open = with(5, 2);
    let table: &[(&str, Vec<u8>)] = &[
        ("a second HELLO", example("hello")),
        ("a REPLY of a client", example("reply")),
        ("a PUSH that can't be", [&[0, 0, 0, 27, 10][..], &call[5..]].concat()),
        ("TRAILERS of a client", bytes("00000004 05 01 0000 00000001 00000000")),
        ("a CALL whose stream is not the next one", with(11, 2)),
        ("a CALL whose stream is not the next one", with(11, 0)),
        ("a CALL whose stream is not the next one", [&call[..], &call].concat()),
        ("a codec above 15", with(7, 16)),
        ("a codec above 15", with(6, 1)),
        ("a CALL whose lengths contradict each other", with(16, 1)),
        ("a CALL whose lengths contradict each other", with(23, 1)),
        ("a CALL whose lengths contradict each other", bytes("00000002 02 01 0003 00000001 0000")),
        ("metadata that is longer than its frame", with(30, 1)),
        ("metadata that breaks off", with(31, 7)),
        ("bytes of no message", with(5, 1)),
        (
            "bytes of no message",
            bytes("00000014 02 05 0003 00000001 00000000 0005 4172697468 0003 4d756c 00000000"),
        ),
        ("the end within a message", with(5, 7)),
        ("a frame of a stream that was never begun", example("reset")),
        ("a frame of a stream that was never begun", example("credit")),
        ("a frame of a stream that was never begun", data(1, 2, b"x")),
        ("a frame of a stream that was never begun", data(0, 2, b"x")),
        ("a CREDIT of no number", bytes("00000003 07 00 0000 00000000 000080")),
        ("a PING that has not 8 bytes", bytes("00000001 08 00 0000 00000000 00")),
        ("a GOAWAY that breaks off", bytes("00000003 09 00 0000 00000000 000000")),
        ("more data than there was credit for", {
            [open.clone(), data(1, 2, &noise(CHUNK)).repeat(4), data(1, 2, b"x")].concat()
        }),
        ("DATA after the end", [open.clone(), data(1, 1, b""), data(1, 2, b"x")].concat()),
        ("the end within a message", [with(5, 6), data(1, 1, b"")].concat()),
        ("bytes of no message", [open.clone(), data(1, 0, b"x")].concat()),
        ("more of a message than a frame may have", [open, data(1, 2, &noise(CHUNK + 1))].concat()),
    ];
    for (error, wire) in table {
        let (_, mut server) = pair();
        // What was consumed would be credit again.
        server.consumes = false;
        assert_eq!(server.receive(wire), Err(Broken(error)), "{error}");
    }
    let early = End::new(Mux::server(LIMITS, 1)).receive(&call);
    assert_eq!(early, Err(Broken("a frame before HELLO")));
    let mut deaf = End::new(Mux::client(LIMITS));
    assert_eq!(
        deaf.receive(&bytes("00000008 01 00 0000 00000000 0000040000400000")),
        Err(Broken("a HELLO that breaks off"))
    );
    // Of a server.
    let trailers = bytes("00000004 05 01 0000 00000001 00000000");
    let reply = bytes("00000004 03 00 0000 00000001 00000000");
    for (error, wire) in [
        ("a CALL of a server", call.clone()),
        ("DATA before REPLY", data(1, 2, b"x")),
        ("a second REPLY", [&reply[..], &reply].concat()),
        ("TRAILERS within a message", [&reply[..], &data(1, 6, b"x"), &trailers].concat()),
        ("bytes behind TRAILERS", bytes("00000005 05 01 0000 00000001 00000000 00")),
    ] {
        let (mut client, _) = pair();
        client.call(b"", Flags::END.and(Flags::MESSAGE));
        assert_eq!(client.receive(&wire), Err(Broken(error)), "{error}");
    }
    let (mut client, mut server) = pair();
    let open = Open::push(&mut server.out, &asked(Pairs::NONE));
    server.out.extend_from_slice(b"news");
    open.end(&mut server.out, Flags::MESSAGE, Compression::NONE);
    talk(&mut client, &mut server);
    assert_eq!(client.whole[&0], [(0, b"news".to_vec())]);
    // What comes late, and what is of a later version.
    let (mut client, mut server) = pair();
    let stream = client.call(b"", Flags::MESSAGE);
    server.receive(&client.send(0)).unwrap();
    server.mux.reset(stream, Code::CANCELLED, "", &mut server.out);
    for late in [data(1, 2, b"x"), example("ping"), bytes("00000001 2a ff ffff ffffffff 00")] {
        server.receive(&late).unwrap();
    }
    assert!(server.out.ends_with(&example("pong")));
    let whole = Message { compression: 0, bytes: Cow::Borrowed(&b"x"[..]), weight: 1 };
    assert_eq!(whole.clone(), whole);
}
