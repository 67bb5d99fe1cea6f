//! Calls, byte by byte.

use hemi_proto::rpcx::{Compression, Metadata, Mode, Pairs};
use hemi_rpc::CodecId;

use crate::server::{bytes, call, frame, serve};
use crate::services::{Reply, Team};

/// `Arith.Mul` as Go asks for it, and as it answers.
const MUL: &str = "08000030 0000000000000000 0000001f 00000005 4172697468 00000003 4d756c 00000000 00000007 82a1410aa14214";
const MUL_ANSWER: &str = "08008030 0000000000000000 0000001d 00000005 4172697468 00000003 4d756c 00000000 00000005 81a143ccc8";
const MUL_JSON: &str = "08000010 0000000000000000 00000027 00000005 4172697468 00000003 4d756c 00000000 0000000f 7b2241223a31302c2242223a32307d";
const MUL_JSON_ANSWER: &str = "08008010 0000000000000000 00000021 00000005 4172697468 00000003 4d756c 00000000 00000009 7b2243223a3230307d";
const HEARTBEAT: &str =
    "08004030 0000000000000001 00000019 00000000 00000000 00000000 00000009 d318e9e2613a65190b";
const ECHO: &str =
    "0800c030 0000000000000001 00000019 00000000 00000000 00000000 00000009 d318e9e2613a65190b";

#[test]
fn what_go_sends_is_answered_as_go_does() {
    let server = serve();
    let mut caller = server.connect();
    for (sent, answer) in [
        (MUL, MUL_ANSWER),
        (MUL_JSON, MUL_JSON_ANSWER),
        (HEARTBEAT, ECHO),
        // A list in the place of a struct.
        (
            "08000030 0000000000000000 0000001b 00000005 4172697468 00000003 4d756c 00000000 00000003 920a14",
            MUL_ANSWER,
        ),
        // The length of a payload says nothing.
        (
            "08000030 0000000000000000 0000001f 00000005 4172697468 00000003 4d756c 00000000 ffffffff 82a1410aa14214",
            MUL_ANSWER,
        ),
    ] {
        caller.send(bytes(sent)).expect(&bytes(answer));
    }
    // Byte by byte, and all at once.
    for byte in bytes(MUL) {
        caller.send([byte]);
    }
    caller.expect(&bytes(MUL_ANSWER));
    caller.send(bytes(MUL).repeat(1000)).expect(&bytes(MUL_ANSWER).repeat(1000));
    // Who sends no more still gets the answers.
    caller.send(call(1, "Sleep", r#"{"A":20}"#)).finish();
    assert_eq!(caller.answer().reply::<Reply>().c, 20);
    caller.expect_close();
}

#[test]
fn a_failure_has_a_text_and_the_connection_goes_on() {
    let server = serve();
    let mut caller = server.connect();
    let own = |service: &str, method: &str, codec: u8, payload: &[u8]| {
        let codec = CodecId::new(codec).unwrap();
        frame(Mode::Call, codec, 7, (service, method), Pairs::NONE, payload)
    };
    for (sent, error) in [
        (own("Arith", "Fail", 1, b"{}"), "boom"),
        (own("Nope", "Mul", 1, b"{}"), "rpcx: can't find service Nope"),
        (own("Arith", "Nope", 1, b"{}"), "rpcx: can't find method Nope"),
        (own("Arith", "mul", 1, b"{}"), "rpcx: can't find method mul"),
        (own("Arith", "Mul", 9, b"{}"), "can not find codec for 9"),
        (own("Arith", "Mul", 2, b""), "Protobuf is no form of this value: it is sent otherwise"),
        (own("Arith", "Panic", 1, b"{}"), "at the disco"),
        (own("Arith", "PanicLater", 1, b"{}"), "in the end"),
    ] {
        let answer = caller.send(sent).answer();
        assert_eq!((answer.head.seq, answer.error()), (7, Some(error)));
        assert!(answer.payload.is_empty());
    }
    let answer = caller.send(own("Arith", "Mul", 1, b"{]")).answer();
    assert!(answer.error().unwrap().starts_with("cannot be read: "), "{answer:?}");
    // Bits that say how a call went are not sent back.
    let mut odd = call(8, "Mul", r#"{"A":2,"B":3}"#);
    odd[1] = 5;
    odd[2] |= 3;
    let answer = caller.send(odd).answer();
    assert_eq!((answer.head.version, answer.head.mode), (5, Mode::Answer));
    assert_eq!(answer.reply::<Reply>().c, 6);
    assert_eq!((server.counter("rpc_panics"), server.counter("rpc_faults")), (2, 9));
}

#[test]
fn what_is_no_rpcx_ends_the_connection() {
    let server = serve();
    let changed = |at: usize, value: u32| {
        let mut wire = bytes(MUL);
        wire[at..at + 4].copy_from_slice(&value.to_be_bytes());
        wire
    };
    let mut metadata = Metadata::new();
    metadata.set("key", "value");
    let pairs = metadata.pairs();
    let mut cut = frame(Mode::Call, CodecId::JSON, 0, ("Arith", "Mul"), pairs, b"{}");
    cut[39] += 1;
    let compressed = |flags: u8| {
        let mut wire = bytes(MUL);
        wire[2] = flags;
        wire
    };
    let bad = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        changed(16, 0x100),
        changed(25, 0x100),
        changed(32, 0x100),
        changed(12, 15),
        cut,
        // Compressed by 2, and by gzip that is none.
        compressed(0x08),
        compressed(0x04),
    ];
    let count = bad.len() as u64;
    for wire in bad {
        // Others are not concerned.
        let mut other = server.connect();
        server.connect().send(&wire).expect_close();
        other.send(bytes(MUL)).expect(&bytes(MUL_ANSWER));
    }
    server.await_counter("rpc_malformed", count);
}

#[test]
fn nothing_comes_back_for_a_one_way_call() {
    let server = serve();
    let mut caller = server.connect();
    for method in ["Mul", "Fail", "Nope", "Panic", "PanicLater", "Sleep"] {
        let sent = frame(Mode::OneWay, CodecId::JSON, 1, ("Arith", method), Pairs::NONE, b"{}");
        caller.send(sent);
    }
    caller.send(frame(Mode::OneWay, CodecId::JSON, 1, ("Nope", "x"), Pairs::NONE, b"{}"));
    // Answers to what was not asked.
    caller.send(bytes(MUL_ANSWER));
    caller.send(bytes(MUL)).expect(&bytes(MUL_ANSWER));
    assert_eq!(server.counter("rpc_calls"), 8);
}

#[test]
fn metadata_goes_both_ways_and_messages_are_pushed() {
    let server = serve();
    let mut caller = server.connect();
    let mut metadata = Metadata::new();
    metadata.set("", "empty");
    metadata.set("k", b"\xff\0v");
    let pairs = metadata.pairs();
    caller.send(frame(Mode::Call, CodecId::JSON, 3, ("Arith", "Meta"), pairs, br#"{"A":4}"#));
    let answer = caller.answer();
    assert_eq!(answer.reply::<Reply>().c, 4);
    assert_eq!(answer.metadata.pairs().find("back").unwrap(), b"\xff\0v");
    caller.send(call(4, "Push", r#"{"A":3}"#));
    let mut pushes = 0;
    loop {
        let answer = caller.answer();
        if answer.head.mode == Mode::OneWay {
            pushes += 1;
            assert_eq!((answer.service.as_str(), answer.method.as_str()), ("news", "flash"));
            assert_eq!((answer.payload, answer.head.seq), (vec![b'!'; pushes], pushes as u64));
        } else {
            assert_eq!((answer.head.seq, answer.reply::<Reply>().c), (4, 3));
        }
        if pushes == 3 {
            break;
        }
    }
}

#[test]
fn answers_come_when_they_are_there() {
    let server = serve();
    let mut caller = server.connect();
    caller.send(call(1, "Sleep", r#"{"A":300}"#)).send(call(2, "Sleep", r#"{"A":1}"#));
    caller.send(call(3, "Mul", r#"{"A":1,"B":2}"#));
    let seqs = [caller.answer(), caller.answer(), caller.answer()].map(|answer| answer.head.seq);
    assert_eq!(seqs, [3, 2, 1]);
}

#[test]
fn what_came_compressed_is_answered_so() {
    let server = serve();
    let mut caller = server.connect();
    // 1025 x, by Go.
    let gzipped =
        bytes("1f8b08000000000000ffaa1805a360148c5c00000000ffff010000ffff91f12f5801040000");
    let mut sent = frame(Mode::Call, CodecId::RAW, 0, ("Raw", "Upper"), Pairs::NONE, &gzipped);
    sent[2] |= 4;
    let answer = caller.send(&sent).answer();
    assert_eq!(answer.head.compression, Compression::GZIP);
    assert!(answer.payload.len() < 100);
    let plain = hemi_proto::rpcx::gunzip(&answer.payload, 2000).unwrap();
    assert_eq!(plain, vec![b'X'; 1025]);
    // What came plain is not, nor what is short.
    let long = vec![b'x'; 5000];
    let sent = frame(Mode::Call, CodecId::RAW, 0, ("Raw", "Upper"), Pairs::NONE, &long);
    let answer = caller.send(sent).answer();
    assert_eq!((answer.head.compression, answer.payload.len()), (Compression::NONE, 5000));
    let team = caller.send(call(5, "Same", r#"{"ID":7,"Crest":"AQI=","Points":{"a":1}}"#)).answer();
    let team: Team = team.reply();
    assert_eq!((team.id, team.crest, team.points["a"]), (7, vec![1, 2], 1));
}
