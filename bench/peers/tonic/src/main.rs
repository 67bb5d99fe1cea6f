//! Serves the bench's service by tonic: `bench-tonic FILE`, where the file holds the address to listen on.

use bench_rpc::Message;
use bench_rpc::bench_server::{Bench, BenchServer};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Say;

#[tonic::async_trait]
impl Bench for Say {
    async fn say(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        Ok(Response::new(bench_rpc::answer(request.into_inner())))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(config) = std::env::args().nth(1) else {
        return Err("usage: bench-tonic FILE".into());
    };
    let address = std::fs::read_to_string(config)?.trim().parse()?;
    Server::builder().add_service(BenchServer::new(Say)).serve(address).await?;
    Ok(())
}
