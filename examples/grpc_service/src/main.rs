//! A service of a `.proto` file, and a client of it: any that speaks gRPC may be either.
//! Usage: `grpc_service server|client [ADDRESS]`.

#![expect(clippy::print_stdout, reason = "the client says what it was told")]

use std::pin::Pin;

use futures_util::stream::{self, Stream, StreamExt};
use hemi_core::{Error, Parts, serve_parts};
use hemi_rpc::{GrpcChannel, GrpcServer, GrpcService};
use tonic::{Request, Response, Status, Streaming};

use self::proto::greeter_client::GreeterClient;
use self::proto::greeter_server::{Greeter, GreeterServer};
use self::proto::{HelloReply, HelloRequest};

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "it is generated")]
mod proto {
    tonic::include_proto!("greeter");

    pub(crate) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/greeter.bin"));
}

struct Polite;

fn greet(request: &HelloRequest) -> Result<HelloReply, Status> {
    match &*request.name {
        "" => Err(Status::invalid_argument("who are you?")),
        name => Ok(HelloReply { text: format!("Hello, {name}") }),
    }
}

#[tonic::async_trait]
impl Greeter for Polite {
    type HelloAllStream = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        greet(request.get_ref()).map(Response::new)
    }

    async fn hello_all(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<Self::HelloAllStream>, Status> {
        let greetings = request.into_inner().map(|request| greet(&request?));
        Ok(Response::new(greetings.boxed()))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next();
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:50051".to_owned());
    match role.as_deref() {
        Some("server") => {
            let greeter = GrpcService::new(GreeterServer::new(Polite));
            let greeter = greeter.described_by(proto::DESCRIPTORS);
            let mut parts = Parts::new();
            GrpcServer::of(address.parse()?, greeter).install("main", &mut parts)?;
            serve_parts(parts).await?;
        }
        Some("client") => {
            let mut client = GreeterClient::new(GrpcChannel::to(&address)?);
            let request = |name: &str| HelloRequest { name: name.to_owned() };
            println!("{}", client.hello(request("world")).await?.into_inner().text);
            let names = stream::iter(["Ada", "Grace"]).map(request);
            let mut greetings = client.hello_all(names).await?.into_inner();
            while let Some(greeting) = greetings.message().await? {
                println!("{}", greeting.text);
            }
        }
        _ => return Err(Error::other("usage: grpc_service server|client [ADDRESS]").into()),
    }
    Ok(())
}
