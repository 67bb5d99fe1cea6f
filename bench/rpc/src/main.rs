//! The server and the client of the rows about RPC: `bench-rpc serve FILE` runs a config, `bench-rpc load ADDRESS
//! CONNECTIONS CALLERS SECONDS` has so many callers at once send a message of 581 bytes each, and looks at what comes back.
//! `bench-rpc load-hrpc …` does so by HRPC, where the server speaks it, or else by rpcx.
//! `bench-rpc write FILE` writes the message as gRPC sends it, for h2load.
//!
//! Ends with a line like that of `wrk.lua`, where requests are calls.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bench_rpc::Message;
use bench_rpc::bench_server::BenchServer;
use hemi_core::{Component, Explain, Registry};
use hemi_rpc::tonic;
use hemi_rpc::{
    Client, ClientConfig, CodecId, Fault, GrpcComponent, GrpcRegistry, GrpcService, RpcError,
    ServiceRegistry, service,
};
use prost::Message as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Answers with what it gets, changed a little.
#[derive(hemi_rpc::serde::Deserialize, Explain, Component)]
#[serde(crate = "hemi_rpc::serde")]
struct Bench {}

#[service]
impl Bench {
    pub(crate) async fn say(&self, message: Message) -> Result<Message, Fault> {
        Ok(bench_rpc::answer(message))
    }
}

/// The same by gRPC.
#[derive(hemi_rpc::serde::Deserialize, Explain, Component)]
#[serde(crate = "hemi_rpc::serde")]
struct BenchGrpc {}

#[tonic::async_trait]
impl bench_rpc::bench_server::Bench for BenchGrpc {
    async fn say(
        &self,
        request: tonic::Request<Message>,
    ) -> Result<tonic::Response<Message>, tonic::Status> {
        Ok(tonic::Response::new(bench_rpc::answer(request.into_inner())))
    }
}

impl GrpcComponent for BenchGrpc {
    fn service(self: Arc<Self>) -> GrpcService {
        GrpcService::new(BenchServer::from_arc(self))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", file] => {
            let mut registry = Registry::new();
            hemi_rpc::register(&mut registry);
            registry.service::<Bench>().grpc_service::<BenchGrpc>();
            hemi_core::serve(registry, &std::fs::read_to_string(file)?).await?;
        }
        ["load", address, conns, callers, seconds] => {
            let client = client(address, conns.parse()?)?;
            load(client, conns.parse()?, callers.parse()?, seconds.parse()?).await?;
        }
        ["load-hrpc", address, conns, callers, seconds] => {
            let mut client = self::client(&format!("hrpc@{address}"), conns.parse()?)?;
            if let Err(RpcError::Lost(_)) = call(&client, &message()).await {
                client = self::client(address, conns.parse()?)?;
            }
            load(client, conns.parse()?, callers.parse()?, seconds.parse()?).await?;
        }
        ["write", file] => std::fs::write(file, framed())?,
        _ => {
            return Err(
                "usage: bench-rpc serve FILE | load[-hrpc] ADDRESS CONNECTIONS CALLERS SECONDS | write FILE"
                    .into(),
            );
        }
    }
    Ok(())
}

fn client(address: &str, conns: usize) -> Result<Client> {
    let config = ClientConfig { codec: CodecId::PROTOBUF, conns, ..ClientConfig::default() };
    Ok(Client::new(address.parse()?, config))
}

async fn load(client: Client, conns: usize, callers: usize, seconds: u64) -> Result<()> {
    for _ in 0..5 * conns {
        call(&client, &message()).await?;
    }
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let (message, mut took, mut errors) = (message(), Vec::new(), 0);
                loop {
                    let began = Instant::now();
                    if began >= until {
                        return (took, errors);
                    }
                    match call(&client, &message).await {
                        Ok(()) => took.push(began.elapsed().as_micros() as u32),
                        Err(_) => errors += 1,
                    }
                }
            })
        })
        .collect();
    let (mut took, mut errors) = (Vec::new(), 0);
    for task in tasks {
        let (more, failed) = task.await?;
        took.extend(more);
        errors += failed;
    }
    let microseconds = began.elapsed().as_micros();
    took.sort_unstable();
    let percentile = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or(0);
    let (requests, p50, p99) = (took.len(), percentile(50), percentile(99));
    println!("requests={requests} errors={errors} microseconds={microseconds} p50={p50} p99={p99}");
    Ok(())
}

async fn call(client: &Client, message: &Message) -> Result<(), RpcError> {
    let reply: Message = client.ask("Bench", "Say").call(message).await?;
    assert!(reply.field1 == "OK" && reply.field2 == 100 && reply.field27 == message.field27);
    Ok(())
}

/// The message in a frame of gRPC.
fn framed() -> Vec<u8> {
    let message = message().encode_to_vec();
    let mut framed = vec![0];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    framed
}

/// Every field set, as text of 44 bytes and the like.
fn message() -> Message {
    let text = || "x".repeat(44);
    Message {
        field1: text(),
        field2: 100_000,
        field3: 100_000,
        field4: text(),
        field5: Vec::new(),
        field6: true,
        field7: text(),
        field8: text(),
        field9: text(),
        field10: true,
        field11: true,
        field12: 100_000,
        field13: 100_000,
        field14: text(),
        field15: text(),
        field16: 100_000,
        field17: text(),
        field18: text(),
        field19: 100_000,
        field20: 100_000,
        field21: 100_000,
        field22: 0.5,
        field23: true,
        field24: true,
        field25: 100_000,
        field26: 100_000,
        field27: text(),
        field28: vec![b'y'; 46],
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_message_has_the_size_of_other_benches() {
        assert_eq!(super::framed().len(), 5 + 581);
    }
}
