//! The client, against a server of ours and against one in Go.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hemi_rpc::{Client, ClientConfig, CodecId, Compressions, Endpoint, RpcError, Snappy, Zstd};
use hemi_test::{Program, free_port};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::go::go_peer;
use crate::server::{LONG, serve};
use crate::services::{Args, Reply, StringValue, Team};

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A server in Go, if there can be one.
pub(crate) fn go_server() -> Option<Program> {
    go_server_at(([127, 0, 0, 1], free_port().unwrap()).into())
}

fn go_server_at(addr: SocketAddr) -> Option<Program> {
    let peer: PathBuf = go_peer()?;
    let mut command = Command::new(peer);
    command.args(["serve", &addr.to_string()]);
    Some(Program::start(command, addr).unwrap())
}

fn config() -> ClientConfig {
    let compressions = Compressions::default().with(2, Zstd).with(3, Snappy);
    ClientConfig { connect_timeout: LONG, compressions, ..ClientConfig::default() }
}

fn client(addr: SocketAddr) -> Client {
    Client::new(Endpoint::Tcp(addr.to_string()), config())
}

pub(crate) fn args(a: i64, b: i64) -> Args {
    Args { a, b }
}

/// The text of an error that a service answers.
fn text<T: std::fmt::Debug>(result: Result<T, RpcError>) -> String {
    match result.unwrap_err() {
        RpcError::Failed(failure) => failure.text().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// All that a client can do with one server.
pub(crate) async fn everything(endpoint: Endpoint) {
    let client = Client::new(endpoint.clone(), config());
    for codec in [CodecId::JSON, CodecId::MSGPACK] {
        for size in [0, 10, 5000] {
            let team = Team {
                id: -5,
                name: "Reds ".repeat(size),
                colours: if size > 0 { vec!["Crimson".to_owned()] } else { vec![] },
                crest: vec![0xff; size],
                points: [("a".to_owned(), 1), ("b".to_owned(), -200)].into(),
                ratio: 0.5,
            };
            let ask = || client.ask("Arith", "Same").codec(codec);
            assert_eq!(ask().call::<_, Team>(&team).await.unwrap(), team);
            assert_eq!(ask().gzip().call::<_, Team>(&team).await.unwrap(), team);
        }
    }
    for size in [0, 1, 3000] {
        let value = "ab".repeat(size);
        let ask = || client.ask("Proto", "Double").codec(CodecId::PROTOBUF);
        let message = StringValue { value: value.clone() };
        let doubled: StringValue = ask().call(&message).await.unwrap();
        assert_eq!(doubled.value, value.repeat(2));
        let doubled: StringValue = ask().gzip().call(&message).await.unwrap();
        assert_eq!(doubled.value, value.repeat(2));
    }
    for size in [0, 1, 1024, 1025, 100_000] {
        let ask = || client.ask("Raw", "Upper").codec(CodecId::RAW);
        let bytes = vec![b'x'; size];
        assert_eq!(ask().call::<_, Vec<u8>>(&bytes).await.unwrap(), vec![b'X'; size]);
        assert_eq!(ask().gzip().call::<_, Vec<u8>>(&bytes).await.unwrap(), vec![b'X'; size]);
        let snappy: Vec<u8> = ask().compressed(3).call(&bytes).await.unwrap();
        assert_eq!(snappy, vec![b'X'; size]);
    }
    for value in ["", "v", "ä\0\n", &"m".repeat(10_000)] {
        let ask = client.ask("Arith", "Meta").metadata("k", value).metadata("", "e");
        let (reply, metadata) = ask.answer::<_, Reply>(&args(1, 0)).await.unwrap();
        assert_eq!((reply.c, metadata.text("back")), (1, Some(value)));
    }
    for (service, method, expected) in [
        ("Arith", "Fail", "boom"),
        ("Arith", "Panic", "at the disco"),
        ("Nope", "Mul", "rpcx: can't find service Nope"),
        ("Arith", "Nope", "rpcx: can't find method Nope"),
    ] {
        let failed = client.ask(service, method).call::<_, Reply>(&args(1, 2)).await;
        assert!(text(failed).contains(expected), "{service}.{method}");
    }
    let secret = || Client::new(endpoint.clone(), config());
    let asked = secret().ask("Secret", "Mul").token("Bearer tok").call(&args(2, 3)).await;
    assert_eq!(asked.map(|reply: Reply| reply.c).unwrap(), 6);
    let refused =
        secret().ask("Secret", "Mul").token("Bearer no").call::<_, Reply>(&args(2, 3)).await;
    assert_eq!(text(refused), "who are you?");
    for number in 0..10 {
        client.ask("Arith", "Fail").send(&args(number, 0)).await.unwrap();
    }
    let slow = client.ask("Arith", "Sleep").timeout(Duration::from_millis(100));
    let late = slow.call::<_, Reply>(&args(600_000, 0)).await.unwrap_err();
    // The server may be the first to notice.
    let told = matches!(&late, RpcError::Failed(f) if f.text().contains("deadline exceeded"));
    assert!(told || matches!(late, RpcError::TimedOut), "{late:?}");
    let reply: Reply = client.ask("Arith", "Mul").call(&args(4, 5)).await.unwrap();
    assert_eq!(reply.c, 20);

    let endpoint = client.endpoint().clone();
    let (client, mut pushes) = Client::with_pushes(endpoint, config(), 16);
    client.ask("Arith", "Push").call::<_, Reply>(&args(3, 0)).await.unwrap();
    for number in 1..=3 {
        let push = pushes.recv().await.unwrap();
        assert_eq!((push.service.as_str(), push.method.as_str()), ("news", "flash"));
        assert_eq!(push.payload, vec![b'!'; number]);
    }
    // Signs of life keep a connection that is silent.
    let config = ClientConfig { heartbeat: Duration::from_secs(3), ..config() };
    let silent = Client::new(client.endpoint().clone(), config);
    let reply: Reply = silent.ask("Arith", "Sleep").call(&args(4000, 0)).await.unwrap();
    assert_eq!(reply.c, 4000);
}

#[test]
fn a_server_of_ours_is_asked_for_everything() {
    let server = serve();
    runtime().block_on(everything(Endpoint::Tcp(server.addr().to_string())));
    assert!(server.counter("rpc_heartbeats") > 0);
}

#[test]
fn payloads_are_compressed_by_numbers_that_both_know() {
    let server = serve();
    let bytes = vec![b'x'; 1 << 20];
    runtime().block_on(async {
        for by in ["tcp", "hrpc"] {
            let endpoint: Endpoint = format!("{by}@{}", server.addr()).parse().unwrap();
            let client = Client::new(endpoint.clone(), config());
            for number in 0..4 {
                let ask = client.ask("Raw", "Upper").codec(CodecId::RAW).compressed(number);
                let upper: Vec<u8> = ask.call(&bytes).await.unwrap();
                assert!(upper == bytes.to_ascii_uppercase(), "{by} {number}");
            }
            // One that the server does not know ends the connection of rpcx, and the call of HRPC.
            let compressions = Compressions::default().with(5, Zstd);
            let client = Client::new(endpoint, ClientConfig { compressions, ..config() });
            let ask = client.ask("Raw", "Upper").codec(CodecId::RAW).compressed(5);
            let failed = ask.call::<_, Vec<u8>>(&bytes).await.unwrap_err();
            let is_told = failed.to_string() == "the message is compressed by 5";
            assert_eq!(is_told, by == "hrpc", "{failed:?}");
        }
    });
}

#[test]
fn a_server_in_go_is_asked_for_everything() {
    let Some(server) = go_server() else { return };
    runtime().block_on(everything(Endpoint::Tcp(server.addr().to_string())));
}

/// Many calls at once, each with an answer of its own.
pub(crate) async fn load(client: Client, calls: i64, concurrency: usize) {
    let next = Arc::new(AtomicI64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..concurrency {
        let (client, next) = (client.clone(), next.clone());
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= calls {
                    return;
                }
                let reply = client.ask("Arith", "Mul").call(&args(number, 3)).await;
                assert_eq!(reply.map(|reply: Reply| reply.c).unwrap(), number * 3);
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.unwrap();
    }
}

#[test]
fn no_answer_is_lost_or_crossed() {
    let server = serve();
    runtime().block_on(load(client(server.addr()), 10_000, 500));
    assert_eq!(server.counter("rpc_calls"), 10_000);
    let Some(server) = go_server() else { return };
    runtime().block_on(load(client(server.addr()), 10_000, 500));
}

#[test]
fn who_is_gone_is_missed_and_found_again() {
    runtime().block_on(async {
        let port = free_port().unwrap();
        let addr: SocketAddr = ([127, 0, 0, 1], port).into();
        let client = client(addr);
        let nobody = client.ask("Arith", "Mul").call::<_, Reply>(&args(1, 2)).await.unwrap_err();
        assert!(nobody.is_unsent(), "{nobody:?}");
        assert!(nobody.to_string().starts_with(&format!("cannot connect to {addr}: ")));
        let Some(mut server) = go_server_at(addr) else { return };
        let reply: Reply = client.ask("Arith", "Mul").call(&args(1, 2)).await.unwrap();
        assert_eq!(reply.c, 2);
        // One that dies under a call.
        let other = client.clone();
        let call = tokio::spawn(async move {
            other.ask("Arith", "Sleep").call::<_, Reply>(&args(600_000, 0)).await
        });
        client.ask("Arith", "Mul").call::<_, Reply>(&args(1, 2)).await.unwrap();
        server.signal(hemi_test::Signal::KILL).unwrap();
        let lost = call.await.unwrap().unwrap_err();
        assert!(matches!(lost, RpcError::Lost(_)), "{lost:?}");
        drop(server);
        let Some(_server) = go_server_at(addr) else { return };
        let reply: Reply = client.ask("Arith", "Mul").call(&args(2, 2)).await.unwrap();
        assert_eq!(reply.c, 4);
    });
}

#[test]
fn a_call_that_is_given_up_is_forgotten() {
    let server = serve();
    runtime().block_on(async {
        let client = client(server.addr());
        for _ in 0..100 {
            let given = args(20, 0);
            let call = client.ask("Arith", "Sleep").call::<_, Reply>(&given);
            assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err());
        }
        // Answers to calls that are no more meet no others.
        load(client, 2000, 50).await;
    });
}
