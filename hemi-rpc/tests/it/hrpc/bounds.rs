//! What one call may cost, and that it costs no other.

use futures_util::stream;
use hemi_rpc::GrpcChannel;
use rpc_interop::proto::test_service_client::TestServiceClient;
use rpc_interop::proto::{Empty, ResponseParameters, StreamingOutputCallRequest};

use super::*;
use crate::grpc::interop;

/// More than a connection has of credit at first, and all of it unread.
#[tokio::test]
async fn streams_that_nobody_reads_hold_up_no_others() {
    let server = RpcxServer::new("127.0.0.1:0".parse().unwrap()).grpc_service(interop());
    let server = serve_this(server);
    let channel = GrpcChannel::to(&format!("hrpc@{}", server.addr())).unwrap();
    let mut client = TestServiceClient::new(channel);
    let parameter = |size| ResponseParameters { size, interval_us: 0, compressed: None };
    let asked = |sizes: &[i32]| StreamingOutputCallRequest {
        response_parameters: sizes.iter().copied().map(parameter).collect(),
        ..StreamingOutputCallRequest::default()
    };
    let mut unread = Vec::new();
    for _ in 0..40 {
        let many = asked(&[10_000; 50]);
        unread.push(client.streaming_output_call(many).await.unwrap().into_inner());
    }
    let sizes = [100, 30_000, 500_000, 3_000_000];
    for _ in 0..3 {
        let request = stream::iter([asked(&sizes)]);
        let mut replies = client.full_duplex_call(request).await.unwrap().into_inner();
        for size in sizes {
            let reply = replies.message().await.unwrap().unwrap();
            assert_eq!(reply.payload.unwrap().body.len(), size as usize);
        }
        client.empty_call(Empty {}).await.unwrap();
    }
    for mut replies in unread {
        let mut count = 0;
        while replies.message().await.unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, 50);
    }
}

#[test]
fn calls_without_an_answer_count_until_they_are_done() {
    let (server, slow) = server(RpcxLimits { max_calls_per_conn: 4, ..RpcxLimits::default() });
    let client = client(server.addr(), ClientConfig::default());
    runtime().block_on(async {
        for _ in 0..200 {
            client.ask("Slow", "Pause").send(&()).await.unwrap();
        }
        // Its end is that of those before it.
        drop(client);
        let task = tokio::task::spawn_blocking(move || server.await_counter("rpc_calls", 200));
        task.await.unwrap();
    });
    assert!(eventually(LONG, || slow.0.load(Ordering::Relaxed) == 0));
    assert!(slow.1.load(Ordering::Relaxed) <= 4);
}

#[test]
fn the_end_of_a_call_without_an_answer_is_told() {
    let server = serve();
    let mut caller = Caller::connect(&server);
    let calls = [("Arith", "Mul"), ("Arith", "Fail"), ("Arith", "Nope"), ("Nope", "Mul")];
    for (stream, name) in (1..).zip(calls) {
        caller.send(with(stream, name, 0, Pairs::NONE, Flags::END.and(Flags::ONE_WAY), b"{}"));
        let told = caller.next();
        let Head { kind, flags, value, stream: told_of } = told.head;
        assert_eq!((kind, flags, value, told_of), (Kind::REPLY, Flags::END, 0, stream));
        assert_eq!(told.reply(), (Metadata::new(), &b""[..]));
    }
}

#[test]
fn metadata_and_texts_that_are_too_long_end_their_calls_alone() {
    let (server, slow) = server(RpcxLimits::default());
    let client = client(server.addr(), ClientConfig::default());
    runtime().block_on(async {
        let waiting = {
            let client = client.clone();
            tokio::spawn(async move { client.ask("Slow", "Wait").call::<_, ()>(&()).await })
        };
        while slow.0.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        for bytes in [70_000, 1 << 20] {
            let failed = client.ask("Slow", "Says").call::<_, ()>(&bytes).await.unwrap_err();
            assert!(failed.to_string().contains("of which HRPC has room for 65536"), "{failed}");
            let failed = client.ask("Slow", "Complains").call::<_, ()>(&bytes).await.unwrap_err();
            let RpcError::Failed(failure) = failed else { panic!("{failed:?}") };
            let text = failure.text();
            assert!(text.chars().all(|c| c == 'é') && text.len() == 32 << 10, "{}", text.len());
            let value = vec![b'v'; bytes as usize];
            let unsent = client.ask("Slow", "Says").metadata("k", &value).call::<_, ()>(&1).await;
            assert!(matches!(unsent, Err(RpcError::Unwritable(_))), "{unsent:?}");
            let name = "n".repeat(bytes as usize);
            let unsent = client.ask("Slow", &name).call::<_, ()>(&1).await;
            assert!(matches!(unsent, Err(RpcError::Unwritable(_))), "{unsent:?}");
        }
        client.ask("Slow", "Says").call::<_, ()>(&65_000).await.unwrap();
        assert!(!waiting.is_finished());
        waiting.abort();
    });
    assert_eq!(server.counter("rpc_malformed"), 0);
    // The server may want less.
    let server = serve_with(RpcxLimits { max_metadata_size: Size(100), ..RpcxLimits::default() });
    let mut caller = Caller::connect(&server);
    let mut metadata = Metadata::new();
    metadata.set("k", vec![b'v'; 65_000]);
    let (mul, pairs) = (("Arith", "Mul"), metadata.pairs());
    let told = caller.send(with(1, mul, 0, pairs, Flags::END, b"{}")).next();
    assert_eq!((told.head.kind, told.code()), (Kind::RESET, Code::RESOURCE_EXHAUSTED));
    assert_eq!(caller.send(call(2, mul, 0, "{}")).next().reply().1, br#"{"C":0}"#);
}

#[test]
fn who_waits_for_an_answer_gives_signs_of_life() {
    let ping_interval = Duration::from_secs(4);
    let (server, slow) = server(RpcxLimits { ping_interval, ..RpcxLimits::default() });
    let mut good = Caller::connect(&server);
    let mut gone = Caller::connect(&server);
    for caller in [&mut good, &mut gone] {
        caller.send(call(1, ("Slow", "Wait"), 0, "null"));
    }
    for _ in 0..2 {
        let asked = good.next();
        assert_eq!((asked.head.kind, asked.head.flags), (Kind::PING, Flags::NONE));
        let mut pong = BytesMut::new();
        hrpc::frame(&mut pong, &Head { flags: Flags::ACK, ..asked.head }, &asked.body);
        good.send(&pong);
    }
    assert_eq!(gone.next().head.kind, Kind::PING);
    gone.expect_close();
    server.await_counter("rpc_cuts", 1);
    assert!(eventually(LONG, || slow.0.load(Ordering::Relaxed) == 1));
}

#[test]
fn calls_that_wait_for_room_get_no_credit_for_more() {
    let (server, _) = server(RpcxLimits::default());
    let mut caller = Caller::connect(&server);
    // So many bytes of answers wait that no more calls are begun.
    const LARGE: u32 = 10;
    for stream in 1..=LARGE {
        caller.send(call(stream, ("Slow", "Large"), 0, "400000"));
    }
    let more = |caller: &mut Caller, streams: std::ops::Range<u32>| {
        for stream in streams {
            let json = [b"{\"A\":1,\"B\":1", &[b' '; 49_152 - 13][..]].concat();
            let (first, rest) = json.split_at(16 << 10);
            caller.send(with(stream, ("Arith", "Mul"), 0, Pairs::NONE, Flags::MORE, first));
            for piece in rest.chunks(16 << 10) {
                caller.send(data(stream, 6, piece));
            }
            caller.send(data(stream, 3, b"}"));
        }
    };
    // Some less than a connection has at first.
    const CALLS: u32 = 31;
    more(&mut caller, LARGE + 1..LARGE + 1 + CALLS);
    caller.send(control(Kind::PING, 0, b"12345678"));
    let mut came = [0_usize; LARGE as usize + 1];
    let mut credit = 0;
    loop {
        let got = caller.next();
        match (got.head.kind, got.head.stream) {
            (Kind::PING, _) => break,
            (Kind::CREDIT, 0) => credit += u32::from_be_bytes(got.body[..].try_into().unwrap()),
            (Kind::REPLY | Kind::DATA, stream) => came[stream as usize] += got.body.len(),
            (Kind::CREDIT, _) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(credit, 0);
    // When the answers are taken the calls are begun.
    for stream in 0..=LARGE {
        caller.send(control(Kind::CREDIT, stream, &(8_u32 << 20).to_be_bytes()));
    }
    let mut answered = 0;
    while answered < CALLS || credit == 0 {
        let got = caller.next();
        match (got.head.kind, got.head.stream) {
            (Kind::CREDIT, 0) => credit += u32::from_be_bytes(got.body[..].try_into().unwrap()),
            (Kind::REPLY, LARGE..) if got.head.stream > LARGE => {
                assert_eq!(got.reply().1, br#"{"C":1}"#);
                answered += 1;
            }
            _ => {}
        }
    }
}

#[test]
fn calls_that_are_given_up_are_bounded_too() {
    let (server, slow) = server(RpcxLimits { max_calls_per_conn: 2, ..RpcxLimits::default() });
    let mut caller = Caller::connect(&server);
    let calls = (1..=100).flat_map(|stream| {
        [call(stream, ("Slow", "Wait"), 0, "null"), control(Kind::RESET, stream, b"")].concat()
    });
    caller.send(calls.collect::<Vec<_>>());
    caller.send(control(Kind::PING, 0, b"12345678"));
    while caller.next().head.kind != Kind::PING {}
    assert!(eventually(LONG, || slow.0.load(Ordering::Relaxed) == 0));
    let most = slow.1.load(Ordering::Relaxed);
    assert!((1..=4).contains(&most), "{most}");
    let reply = caller.send(call(101, ("Arith", "Mul"), 0, "{}")).next();
    assert_eq!(reply.reply().1, br#"{"C":0}"#);
}
