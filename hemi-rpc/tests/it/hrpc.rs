//! HRPC: byte by byte, and by the client.

mod bounds;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::config::Size;
use hemi_core::gate::GateConfig;
use hemi_proto::hrpc::{
    self, Asked, Code, Decoded, Flags, Head, Hello, Kind, Limits, Open, PREFACE,
};
use hemi_proto::rpcx::{Compression, ERROR_KEY, Metadata, Pairs};
use hemi_rpc::{
    Call, Client, ClientConfig, Cluster, ClusterConfig, CodecId, Fault, RpcError, RpcxLimits,
    RpcxServer, Several, service,
};
use hemi_test::{eventually, raw};

use crate::client::{args, everything, load, runtime};
use crate::server::{LONG, Running, bytes, serve, serve_this, serve_with};
use crate::services::{Arith, Raw, Reply};

const LIMITS: Limits = Limits { message: 1 << 30, metadata: 1 << 16 };

/// `Arith.Mul` as the specification has it.
const MUL: &str =
    "0000001b 02 03 0003 00000001 000005dc 0005 4172697468 0003 4d756c 00000000 82a1410aa14214";
const MUL_REPLY: &str = "00000009 03 03 0000 00000001 00000000 81a143ccc8";

/// A client that sees every frame.
struct Caller {
    client: raw::Client,
    received: Vec<u8>,
}

/// A frame of its own.
#[derive(Debug)]
struct Got {
    head: Head,
    body: Vec<u8>,
}

impl Got {
    fn code(&self) -> Code {
        Code(self.head.value)
    }

    /// The metadata and the message of a REPLY.
    fn reply(&self) -> (Metadata, &[u8]) {
        assert_eq!(self.head.kind, Kind::REPLY, "{self:?}");
        let len = u32::from_be_bytes(*self.body.first_chunk().unwrap()) as usize;
        let (block, message) = self.body[4..].split_at(len);
        (Pairs::new(block).unwrap().into(), message)
    }

    fn error(&self) -> (Code, String) {
        (self.code(), self.reply().0.text(ERROR_KEY).unwrap_or_default().to_owned())
    }
}

impl Caller {
    fn connect(server: &Running) -> Self {
        let mut caller = Self::silent(server);
        let mut hello = BytesMut::from(&PREFACE[..]);
        hrpc::hello(&mut hello, &Hello { streams: 0, message: 1 << 30, compressions: 3 });
        caller.send(&hello);
        assert_eq!(caller.read(PREFACE.len()), PREFACE);
        let hello = caller.next();
        assert_eq!((hello.head.kind, hello.body.len()), (Kind::HELLO, 12));
        caller
    }

    fn silent(server: &Running) -> Self {
        Self { client: raw::Client::connect(server.addr()).unwrap(), received: Vec::new() }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.client.send(bytes).unwrap();
        self
    }

    fn read(&mut self, len: usize) -> Vec<u8> {
        while self.received.len() < len {
            let more = self.client.read_some().unwrap();
            assert!(!more.is_empty(), "the connection was closed");
            self.received.extend(more);
        }
        self.received.drain(..len).collect()
    }

    fn next(&mut self) -> Got {
        loop {
            if let Decoded::Frame(frame, length) = hrpc::decode(&self.received, LIMITS).unwrap() {
                let got = Got { head: frame.head, body: frame.body.to_vec() };
                self.received.drain(..length);
                return got;
            }
            let more = self.client.read_some().unwrap();
            assert!(!more.is_empty(), "the connection was closed");
            self.received.extend(more);
        }
    }

    fn expect_close(&mut self) {
        assert!(self.received.is_empty());
        self.client.expect_close().unwrap();
    }
}

/// A call in JSON.
fn call(stream: u32, (service, method): (&str, &str), timeout: u32, json: &str) -> Vec<u8> {
    with(stream, (service, method), timeout, Pairs::NONE, Flags::END, json.as_bytes())
}

fn with(
    stream: u32,
    (service, method): (&str, &str),
    timeout: u32,
    metadata: Pairs<'_>,
    flags: Flags,
    message: &[u8],
) -> Vec<u8> {
    let (service, method) = (service.as_bytes(), method.as_bytes());
    let mut out = BytesMut::new();
    let asked = Asked { codec: CodecId::JSON, timeout, service, method, metadata };
    let open = Open::call(&mut out, stream, &asked);
    out.extend_from_slice(message);
    open.end(&mut out, flags.and(Flags::MESSAGE), Compression::NONE);
    out.to_vec()
}

fn data(stream: u32, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let (kind, flags) = (Kind::DATA, Flags(flags));
    hrpc::frame(&mut out, &Head { kind, flags, value: 0, stream }, body);
    out.to_vec()
}

fn control(kind: Kind, stream: u32, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    hrpc::frame(&mut out, &Head { kind, flags: Flags::NONE, value: 0, stream }, body);
    out.to_vec()
}

fn client(addr: SocketAddr, config: ClientConfig) -> Client {
    let config = ClientConfig { connect_timeout: LONG, ..config };
    Client::new(format!("hrpc@{addr}").parse().unwrap(), config)
}

/// Counts what is under way, and how much that was at most.
#[derive(Clone, Default)]
struct Slow(Arc<AtomicUsize>, Arc<AtomicUsize>);

struct UnderWay(Slow);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[service]
impl Slow {
    pub(crate) async fn wait(&self) -> Result<(), Fault> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        self.1.fetch_max(before + 1, Ordering::Relaxed);
        let _under_way = UnderWay(self.clone());
        std::future::pending().await
    }

    /// The same for a while.
    pub(crate) async fn pause(&self) -> Result<(), Fault> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        self.1.fetch_max(before + 1, Ordering::Relaxed);
        let _under_way = UnderWay(self.clone());
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(())
    }

    pub(crate) fn says(&self, call: &mut Call, bytes: u32) -> Result<(), Fault> {
        call.reply_metadata().set("k", vec![b'v'; bytes as usize]);
        Ok(())
    }

    pub(crate) fn complains(&self, bytes: u32) -> Result<(), Fault> {
        Err(Fault::new("é".repeat(bytes as usize / 2)))
    }

    pub(crate) fn large(&self, bytes: u32) -> Result<Vec<u8>, Fault> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(vec![b'x'; bytes as usize])
    }
}

fn server(limits: RpcxLimits) -> (Running, Slow) {
    let slow = Slow::default();
    let server =
        RpcxServer::with_config("127.0.0.1:0".parse().unwrap(), limits, GateConfig::default());
    let server = server.service(Arith).service(Raw).service_as("Slow", Arc::new(slow.clone()));
    (serve_this(server), slow)
}

#[test]
fn the_port_of_rpcx_speaks_it() {
    let server = serve();
    let mut caller = Caller::connect(&server);
    caller.send(bytes(MUL));
    assert_eq!(caller.read(bytes(MUL_REPLY).len()), bytes(MUL_REPLY));
    // Byte by byte, by who waits for nothing and speaks a later version.
    let mut caller = Caller::silent(&server);
    let later =
        [b"\xa8HRPC\x07\xff\xff", &bytes("0000000e 01 00 0000 00000000")[..], &[0; 14]].concat();
    for byte in [later, bytes(MUL)].concat() {
        caller.send([byte]);
    }
    assert_eq!(caller.read(PREFACE.len()), PREFACE);
    assert_eq!(caller.next().head.kind, Kind::HELLO);
    assert_eq!(caller.read(bytes(MUL_REPLY).len()), bytes(MUL_REPLY));
    // Others are where they were.
    let mut other = server.connect();
    assert_eq!(other.send(crate::server::call(1, "Mul", "{}")).answer().reply::<Reply>().c, 0);
    let mut caller = Caller::connect(&server);
    caller.send(control(Kind::PING, 0, b"12345678"));
    let pong = caller.next();
    assert_eq!((pong.head.flags, &pong.body[..]), (Flags::ACK, &b"12345678"[..]));
}

#[test]
fn a_server_is_asked_for_everything_by_hrpc() {
    let server = serve();
    runtime().block_on(everything(format!("hrpc@{}", server.addr()).parse().unwrap()));
}

#[test]
fn no_reply_is_lost_or_crossed_by_hrpc() {
    let server = serve();
    let one = client(server.addr(), ClientConfig::default());
    runtime().block_on(load(one, 10_000, 500));
    let several = client(server.addr(), ClientConfig { conns: 4, ..ClientConfig::default() });
    runtime().block_on(load(several, 10_000, 500));
    assert_eq!(server.counter("rpc_calls"), 20_000);
}

#[test]
fn a_failure_has_a_code() {
    let server = serve();
    let mut caller = Caller::connect(&server);
    let table = [
        (("Arith", "Fail"), "{}", Code::UNKNOWN, "boom"),
        (("Nope", "Mul"), "{}", Code::UNIMPLEMENTED, "rpcx: can't find service Nope"),
        (("Arith", "Nope"), "{}", Code::UNIMPLEMENTED, "rpcx: can't find method Nope"),
        (("Arith", "Panic"), "{}", Code::INTERNAL, "at the disco"),
        (("Arith", "PanicLater"), "{}", Code::INTERNAL, "in the end"),
    ];
    for (stream, (name, json, code, text)) in (1..).zip(table) {
        let reply = caller.send(call(stream, name, 0, json)).next();
        assert_eq!((reply.head.stream, reply.error()), (stream, (code, text.to_owned())));
    }
    // The time that the caller gives, and what it shows.
    let reply = caller.send(call(6, ("Arith", "Mul"), 0, "{]")).next();
    assert_eq!(reply.error().0, Code::INVALID_ARGUMENT);
    let reply = caller.send(call(7, ("Arith", "Sleep"), 50, r#"{"A":600000}"#)).next();
    assert_eq!(reply.error(), (Code::DEADLINE_EXCEEDED, "deadline exceeded".to_owned()));
    let mut unknown = call(8, ("Arith", "Mul"), 0, "{}");
    unknown[5] = Flags(unknown[5]).compressed(7).0;
    let reply = caller.send(unknown).next();
    let text = "the message is compressed by 7".to_owned();
    assert_eq!(reply.error(), (Code::UNIMPLEMENTED, text));
    let reply = caller.send(call(9, ("Secret", "Mul"), 0, "{}")).next();
    assert_eq!(reply.error(), (Code::UNAUTHENTICATED, "who are you?".to_owned()));
    assert_eq!(caller.next().head.kind, Kind::GOAWAY);
    drop(caller);
    runtime().block_on(async {
        let client = client(server.addr(), ClientConfig::default());
        let failed = client.ask("Nope", "Mul").call::<_, Reply>(&args(1, 2)).await;
        let Err(RpcError::Failed(failure)) = failed else { panic!("{failed:?}") };
        assert_eq!(failure.code(), Code::UNIMPLEMENTED);
    });
}

#[test]
fn a_call_that_comes_in_pieces_is_put_together() {
    let server = serve();
    let mut caller = Caller::connect(&server);
    let mul = ("Arith", "Mul");
    let more = Flags::MORE;
    caller.send(with(1, mul, 0, Pairs::NONE, more, br#"{"A":"#));
    // The end may come by itself; others are not held up.
    caller.send(with(2, mul, 0, Pairs::NONE, Flags::NONE, br#"{"A":2,"B":4}"#));
    caller.send(call(3, mul, 0, r#"{"A":3,"B":3}"#));
    assert_eq!(caller.next().reply().1, br#"{"C":9}"#);
    caller.send(data(2, 1, b""));
    assert_eq!(caller.next().reply().1, br#"{"C":8}"#);
    caller.send(data(1, 6, br#"5,"B""#)).send(data(1, 3, br#":2}"#));
    assert_eq!(caller.next().reply().1, br#"{"C":10}"#);
    // There is one message.
    caller.send(with(4, mul, 0, Pairs::NONE, Flags::NONE, b"{}")).send(data(4, 3, b"{}"));
    let text = "the method takes one message".to_owned();
    assert_eq!(caller.next().error(), (Code::INVALID_ARGUMENT, text));
    // It has to become whole in time.
    caller.send(with(5, mul, 50, Pairs::NONE, more, b"{"));
    assert_eq!(caller.next().error().0, Code::DEADLINE_EXCEEDED);
    // What comes late is nobody's.
    caller.send(data(5, 3, b"}")).send(call(6, mul, 0, "{}"));
    assert_eq!(caller.next().head.stream, 6);
}

#[test]
fn small_calls_are_not_held_up_by_64_mib() {
    let limits = RpcxLimits {
        max_message_size: Size(65 << 20),
        call_timeout: LONG * 3,
        ..RpcxLimits::default()
    };
    let (server, _) = server(limits);
    let config = ClientConfig {
        max_message_size: 65 << 20,
        call_timeout: LONG * 3,
        ..ClientConfig::default()
    };
    runtime().block_on(async {
        let client = client(server.addr(), config);
        let bytes: Vec<u8> = (0..64 << 20).map(|at: u32| b'a' + (at % 23) as u8).collect();
        let expected = bytes.to_ascii_uppercase();
        let large = {
            let client = client.clone();
            tokio::spawn(async move {
                let ask = client.ask("Raw", "Upper").codec(CodecId::RAW);
                ask.call::<_, Vec<u8>>(&bytes).await
            })
        };
        tokio::task::yield_now().await;
        for number in 0..5 {
            let reply: Reply = client.ask("Arith", "Mul").call(&args(number, 3)).await.unwrap();
            assert_eq!(reply.c, number * 3);
        }
        assert!(!large.is_finished());
        assert!(large.await.unwrap().unwrap() == expected);
    });
}

#[test]
fn a_call_that_is_given_up_is_dropped_by_the_server() {
    let (server, slow) = server(RpcxLimits::default());
    let under_way = |count: usize| {
        assert!(eventually(LONG, || slow.0.load(Ordering::Relaxed) == count), "{count}");
    };
    runtime().block_on(async {
        let client = client(server.addr(), ClientConfig::default());
        let calls: Vec<_> = (0..10)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.ask("Slow", "Wait").call::<_, ()>(&()).await })
            })
            .collect();
        let task = tokio::task::spawn_blocking({
            let slow = slow.clone();
            move || eventually(LONG, || slow.0.load(Ordering::Relaxed) == 10)
        });
        assert!(task.await.unwrap());
        calls[0].abort();
        let reply: Reply = client.ask("Arith", "Mul").call(&args(2, 3)).await.unwrap();
        assert_eq!(reply.c, 6);
        let late = client.ask("Slow", "Wait").timeout(Duration::from_millis(50));
        let late = late.call::<_, ()>(&()).await.unwrap_err();
        let told = matches!(&late, RpcError::Failed(f) if f.code() == Code::DEADLINE_EXCEEDED);
        assert!(told || matches!(late, RpcError::TimedOut), "{late:?}");
        let task = tokio::task::spawn_blocking({
            let slow = slow.clone();
            move || eventually(LONG, || slow.0.load(Ordering::Relaxed) == 9)
        });
        assert!(task.await.unwrap());
    });
    // The client is gone, and its calls with it.
    under_way(0);
    let mut caller = Caller::connect(&server);
    caller.send(call(1, ("Slow", "Wait"), 0, "null"));
    under_way(1);
    caller.send(control(Kind::RESET, 1, b""));
    under_way(0);
}

#[test]
fn who_gives_no_credit_is_not_worked_for() {
    let limits = RpcxLimits { send_timeout: Duration::from_secs(3), ..RpcxLimits::default() };
    let (server, slow) = server(limits);
    let mut greedy = Caller::connect(&server);
    // 100 answers of a MiB: some are made, and none is taken.
    let calls = (1..=100).map(|stream| call(stream, ("Slow", "Large"), 0, "1048576"));
    greedy.send(calls.collect::<Vec<_>>().concat());
    let mut other = Caller::connect(&server);
    assert_eq!(other.send(call(1, ("Arith", "Mul"), 0, "{}")).next().reply().1, br#"{"C":0}"#);
    server.await_counter("rpc_cuts", 1);
    let made = slow.0.load(Ordering::Relaxed);
    assert!(made < 20, "{made}");
}

#[test]
fn calls_that_are_too_many_are_refused() {
    let (server, slow) = server(RpcxLimits { max_calls_per_conn: 2, ..RpcxLimits::default() });
    let mut caller = Caller::connect(&server);
    for stream in 1..=3 {
        caller.send(call(stream, ("Slow", "Wait"), 0, "null"));
    }
    let refused = caller.next();
    assert_eq!(
        (refused.head.kind, refused.code(), refused.head.stream),
        (Kind::RESET, Code::REFUSED, 3)
    );
    drop(caller);
    assert!(eventually(LONG, || slow.0.load(Ordering::Relaxed) == 0));
    // The client keeps to what it is told.
    let client = client(server.addr(), ClientConfig::default());
    runtime().block_on(async {
        let reply: Reply = client.ask("Arith", "Mul").call(&args(1, 1)).await.unwrap();
        assert_eq!(reply.c, 1);
        load(client, 500, 50).await;
    });
}

#[test]
fn what_is_no_hrpc_ends_its_connection_alone() {
    let server = serve();
    let mut good = Caller::connect(&server);
    let changed = |at: usize, byte: u8| {
        let mut wire = bytes(MUL);
        wire[at] = byte;
        wire
    };
    let bad = [
        changed(0, 1),
        changed(7, 99),
        changed(11, 5),
        changed(17, 200),
        changed(29, 200),
        changed(5, 7),
        control(Kind::HELLO, 0, &[0; 12]),
        control(Kind::REPLY, 1, &[0; 4]),
        control(Kind::DATA, 1, b""),
        control(Kind::PING, 0, b"1"),
        control(Kind::CREDIT, 0, b"1"),
    ];
    let count = bad.len() as u64;
    for (stream, wire) in (1..).zip(bad) {
        let mut caller = Caller::connect(&server);
        let told = caller.send(&wire).next();
        assert_eq!((told.head.kind, told.code()), (Kind::GOAWAY, Code::PROTOCOL), "{wire:?}");
        caller.client.finish().unwrap();
        caller.expect_close();
        good.send(call(stream, ("Arith", "Mul"), 0, r#"{"A":1,"B":1}"#));
        assert_eq!(good.next().reply().1, br#"{"C":1}"#);
    }
    // What is almost a preface, and what is no frame after one.
    let mut caller = Caller::silent(&server);
    caller.send(b"\xa8HRPX\x01\0\0").expect_close();
    server.await_counter("rpc_malformed", count + 1);
}

#[test]
fn the_slow_are_cut() {
    const SHORT: Duration = Duration::from_millis(200);
    let server = serve_with(RpcxLimits { message_timeout: SHORT, ..RpcxLimits::default() });
    Caller::silent(&server).send(b"\xa8HRPC").expect_close();
    let mut caller = Caller::connect(&server);
    caller.send(&bytes(MUL)[..20]).expect_close();
    server.await_counter("rpc_cuts", 2);
    let idle_timeout = Duration::from_secs(4);
    let server = serve_with(RpcxLimits { idle_timeout, ..RpcxLimits::default() });
    let mut caller = Caller::connect(&server);
    // Who waits for an answer is not idle.
    let reply = caller.send(call(1, ("Arith", "Sleep"), 0, r#"{"A":5000}"#)).next();
    assert_eq!(reply.reply().1, br#"{"C":5000}"#);
    caller.expect_close();
}

#[test]
fn a_drain_is_told_and_lets_calls_end() {
    let server = serve();
    let mut idle = Caller::connect(&server);
    let mut busy = Caller::connect(&server);
    busy.send(call(1, ("Arith", "Sleep"), 0, r#"{"A":8000}"#));
    server.await_counter("rpc_calls", 1);
    let quit = std::thread::spawn(move || server.quit());
    let told = idle.next();
    assert_eq!((told.head.kind, told.code()), (Kind::GOAWAY, Code::OK));
    assert_eq!(told.body[..4], [0; 4]);
    idle.expect_close();
    let told = busy.next();
    assert_eq!((told.head.kind, &told.body[..4]), (Kind::GOAWAY, &[0, 0, 0, 1][..]));
    busy.send(call(2, ("Arith", "Mul"), 0, "{}"));
    let refused = busy.next();
    assert_eq!((refused.head.kind, refused.code()), (Kind::RESET, Code::REFUSED));
    assert_eq!(busy.next().reply().1, br#"{"C":8000}"#);
    busy.expect_close();
    drop((idle, busy));
    quit.join().unwrap();
}

#[test]
fn nodes_of_a_cluster_may_speak_it() {
    let (one, two) = (serve(), serve());
    let nodes = Several::at([format!("hrpc@{}", one.addr()), two.addr().to_string()]);
    runtime().block_on(async {
        let cluster = Cluster::new(&nodes, ClusterConfig::default());
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..5 {
            let cluster = cluster.clone();
            callers.spawn(async move {
                for number in 0..100 {
                    let ask = cluster.ask("Arith", "Mul");
                    let reply: Reply = ask.call(&args(number, caller)).await.unwrap();
                    assert_eq!(reply.c, number * caller);
                }
            });
        }
        // One of them drains under way.
        cluster.ask("Arith", "Mul").call::<_, Reply>(&args(1, 1)).await.unwrap();
        let quit = tokio::task::spawn_blocking(move || one.quit());
        while let Some(done) = callers.join_next().await {
            done.unwrap();
        }
        drop(cluster);
        quit.await.unwrap();
    });
    assert!(two.counter("rpc_calls") > 0);
}
