//! Limits, deadlines and drains.

use std::time::Duration;

use hemi_core::Registry;
use hemi_core::config::{Constants, Size, Source};
use hemi_proto::rpcx::{Metadata, Mode, Pairs, TIMEOUT_KEY};
use hemi_rpc::{CodecId, RpcxLimits, ServiceRegistry};

use crate::server::{call, frame, serve, serve_config, serve_with};
use crate::services::{Echoes, Reply};

const SHORT: Duration = Duration::from_millis(200);

#[test]
fn what_is_too_long_is_told_so() {
    let limits = RpcxLimits {
        max_message_size: Size(1000),
        max_metadata_size: Size(100),
        ..RpcxLimits::default()
    };
    let server = serve_with(limits);
    let mut caller = server.connect();
    caller.send(call(5, "Mul", &format!("{{}}{}", " ".repeat(1000))));
    let answer = caller.answer();
    let error = "a message of 1026 bytes, which may have 1000";
    assert_eq!((answer.head.seq, answer.error()), (5, Some(error)));
    caller.finish().expect_close();
    let mut metadata = Metadata::new();
    metadata.set("k", [b'v'; 100]);
    let mut caller = server.connect();
    let pairs = metadata.pairs();
    caller.send(frame(Mode::Call, CodecId::JSON, 6, ("Arith", "Mul"), pairs, b"{}"));
    let answer = caller.answer();
    assert_eq!(answer.error(), Some("metadata of 109 bytes, which may have 100"));
    caller.finish().expect_close();
    server.await_counter("rpc_malformed", 2);
}

#[test]
fn a_payload_may_not_become_too_long() {
    let server =
        serve_with(RpcxLimits { max_decompressed_size: Size(1024), ..RpcxLimits::default() });
    let gzipped = crate::server::bytes(
        "1f8b08000000000000ffaa1805a360148c5c00000000ffff010000ffff91f12f5801040000",
    );
    let mut sent = frame(Mode::Call, CodecId::RAW, 0, ("Raw", "Upper"), Pairs::NONE, &gzipped);
    sent[2] |= 4;
    let mut caller = server.connect();
    let error = "the payload becomes more than 1024 bytes when it is decompressed";
    assert_eq!(caller.send(sent).answer().error(), Some(error));
    assert_eq!(caller.send(call(1, "Mul", "{}")).answer().reply::<Reply>().c, 0);
}

#[test]
fn numbers_of_compressions_have_one_meaning_each() {
    for (said, good) in [
        (".zstdNumber = 2  .snappyNumber = 3", true),
        (".zstdNumber = 7", true),
        (".zstdNumber = 1", false),
        (".snappyNumber = 8", false),
        (".zstdNumber = 2  .snappyNumber = 2", false),
    ] {
        let mut registry = Registry::new();
        hemi_rpc::register(&mut registry);
        registry.service::<Echoes>();
        let config = format!(
            r#"stage {{ echoes "E" {{}} rpcxServer "main" {{ .address = ":1"  .services = ("E")  {said} }} }}"#
        );
        let source = Source::text("test.conf", &config);
        let checked = hemi_core::check(&registry, &source, &Constants::default());
        let text = checked.err().map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(text.contains("numbers of compressions"), !good, "{said}: {text}");
    }
}

#[test]
fn a_call_has_its_time() {
    let server = serve_with(RpcxLimits { call_timeout: SHORT, ..RpcxLimits::default() });
    let mut caller = server.connect();
    let answer = caller.send(call(1, "Sleep", r#"{"A":600000}"#)).answer();
    assert_eq!((answer.head.seq, answer.error()), (1, Some("deadline exceeded")));
    let server = serve();
    let mut caller = server.connect();
    let mut metadata = Metadata::new();
    metadata.set(TIMEOUT_KEY, "50");
    let (pairs, json) = (metadata.pairs(), br#"{"A":600000}"#);
    caller.send(frame(Mode::Call, CodecId::JSON, 2, ("Arith", "Sleep"), pairs, json));
    let answer = caller.answer();
    assert_eq!((answer.head.seq, answer.error()), (2, Some("deadline exceeded")));
    assert_eq!(caller.send(call(3, "Sleep", r#"{"A":1}"#)).answer().reply::<Reply>().c, 1);
    assert_eq!(server.counter("rpc_timeouts"), 1);
}

#[test]
fn the_silent_and_the_slow_are_cut() {
    let server = serve_with(RpcxLimits { idle_timeout: SHORT, ..RpcxLimits::default() });
    server.connect().expect_close();
    server.await_counter("rpc_cuts", 1);
    // Who waits for an answer is not silent.
    let mut caller = server.connect();
    assert_eq!(caller.send(call(3, "Sleep", r#"{"A":900}"#)).answer().reply::<Reply>().c, 900);
    let server = serve_with(RpcxLimits { message_timeout: SHORT, ..RpcxLimits::default() });
    let mut caller = server.connect();
    caller.send(&call(1, "Mul", "{}")[..20]).expect_close();
    server.await_counter("rpc_cuts", 1);
}

#[test]
fn who_takes_no_answers_is_not_worked_for() {
    let limits = RpcxLimits { send_timeout: Duration::from_secs(1), ..RpcxLimits::default() };
    let server = serve_with(limits);
    let mut greedy = server.connect();
    // 100 answers of a MiB, of which the kernel takes a few.
    let mut calls = Vec::new();
    for seq in 0..100 {
        calls.extend(call(seq, "Large", r#"{"A":700000}"#));
    }
    greedy.send(&calls);
    let mut other = server.connect();
    assert_eq!(other.send(call(1, "Mul", r#"{"A":2,"B":2}"#)).answer().reply::<Reply>().c, 4);
    server.await_counter("rpc_cuts", 1);
    assert!(server.counter("rpc_calls") < 50, "{}", server.counter("rpc_calls"));
}

#[test]
fn calls_that_are_too_many_wait_for_others() {
    let server = serve_with(RpcxLimits { max_calls_per_conn: 2, ..RpcxLimits::default() });
    let mut caller = server.connect();
    let mut calls = Vec::new();
    for seq in 0..20 {
        calls.extend(call(seq, "Sleep", r#"{"A":5}"#));
    }
    caller.send(&calls);
    let mut seqs: Vec<_> = (0..20).map(|_| caller.answer().head.seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (0..20).collect::<Vec<_>>());
}

#[test]
fn calls_that_come_too_fast_are_refused() {
    let server = serve_with(RpcxLimits { max_call_rate: 5, ..RpcxLimits::default() });
    let mut caller = server.connect();
    let calls: Vec<u8> = (0..100).flat_map(|seq| call(seq, "Mul", "{}")).collect();
    caller.send(&calls);
    let answers: Vec<_> = (0..100).map(|_| caller.answer()).collect();
    let limit = Some("request reached rate limit");
    let refused = answers.iter().filter(|answer| answer.error() == limit).count();
    assert!(refused > 50 && answers[..10].iter().all(|answer| answer.error().is_none()));
    assert_eq!(server.counter("rpc_refused"), refused as u64);
}

#[test]
fn who_shows_no_token_is_sent_away() {
    let mut metadata = Metadata::new();
    metadata.set("__AUTH", "two");
    let config = r#"stage {
        echoes "Arith" {}
        rpcxServer "main" {
            .address = "127.0.0.1:0"
            .services = ("Arith")
            .authTokens = ("one", "two")
        }
    }"#;
    let server = serve_config(config);
    let mut caller = server.connect();
    let pairs = metadata.pairs();
    caller.send(frame(Mode::Call, CodecId::RAW, 1, ("Arith", "Echo"), pairs, b"me"));
    assert_eq!(caller.answer().payload, b"me");
    for token in ["", "on", "onee", "TWO"] {
        metadata.set("__AUTH", token);
        let pairs = metadata.pairs();
        let mut stranger = server.connect();
        stranger.send(frame(Mode::Call, CodecId::RAW, 1, ("Arith", "Echo"), pairs, b"me"));
        assert_eq!(stranger.answer().error(), Some("not authorized"));
        stranger.finish().expect_close();
    }
    // Signs of life are not asked who they are.
    let mut stranger = server.connect();
    let heartbeat = frame(Mode::Heartbeat, CodecId::RAW, 1, ("", ""), Pairs::NONE, b"");
    assert_eq!(stranger.send(heartbeat).answer().head.mode, Mode::Echo);
    assert_eq!(server.counter("rpc_refused"), 4);
}

#[test]
fn a_drain_lets_calls_end_and_tells_others() {
    let server = serve();
    let mut idle = server.connect();
    let mut busy = server.connect();
    assert_eq!(idle.send(call(1, "Mul", "{}")).answer().reply::<Reply>().c, 0);
    busy.send(call(1, "Sleep", r#"{"A":700}"#));
    server.await_counter("rpc_calls", 2);
    let quit = std::thread::spawn(move || server.quit());
    idle.expect_close();
    assert_eq!(busy.answer().reply::<Reply>().c, 700);
    busy.expect_close();
    quit.join().unwrap();
}
