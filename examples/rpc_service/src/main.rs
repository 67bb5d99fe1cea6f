//! An RPC service, and a client of it: the wire is that of rpcx, so that programs in Go may be either.
//! Usage: `rpc_service server|client [ADDRESS]`; to the client `hrpc@127.0.0.1:8972` is the same server by HRPC.

#![expect(clippy::print_stdout, reason = "the client says what it was told")]

use hemi_core::{Error, Parts, serve_parts};
use hemi_rpc::{Client, Fault, RpcxServer, message, service};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[message]
struct Args {
    a: i64,
    b: i64,
}

#[message]
struct Reply {
    c: i64,
}

/// What can be asked for; `ArithClient` asks.
#[service]
trait Arith {
    async fn mul(&self, args: Args) -> Result<Reply, Fault>;
}

struct Calculator;

#[service]
impl Arith for Calculator {
    async fn mul(&self, args: Args) -> Result<Reply, Fault> {
        let product = args.a.checked_mul(args.b);
        Ok(Reply { c: product.ok_or_else(|| Fault::new("the product is too large"))? })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next();
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8972".to_owned());
    match role.as_deref() {
        Some("server") => {
            let mut parts = Parts::new();
            RpcxServer::new(address.parse()?).service(Calculator).install("main", &mut parts)?;
            serve_parts(parts).await?;
        }
        Some("client") => {
            let arith = ArithClient::new(Client::to(&address)?);
            let reply = arith.mul(&Args { a: 10, b: 20 }).await?;
            println!("10 * 20 = {}", reply.c);
        }
        _ => return Err(Error::other("usage: rpc_service server|client [ADDRESS]").into()),
    }
    Ok(())
}
