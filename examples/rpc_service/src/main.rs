//! An RPC service that programs in Go can call by rpcx. Usage: `rpc_service server [ADDRESS]`.

use hemi_core::{Error, Parts, Result, serve_parts};
use hemi_rpc::{Fault, RpcxServer, message, service};

#[message]
struct Args {
    a: i64,
    b: i64,
}

#[message]
struct Reply {
    c: i64,
}

struct Arith;

#[service]
impl Arith {
    pub(crate) async fn mul(&self, args: Args) -> std::result::Result<Reply, Fault> {
        let product = args.a.checked_mul(args.b);
        Ok(Reply { c: product.ok_or_else(|| Fault::new("the product is too large"))? })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address = std::env::args().nth(2).unwrap_or_else(|| "127.0.0.1:8972".to_owned());
    let address = address.parse().map_err(|e| Error::other(format!("{address}: {e}")))?;
    let mut parts = Parts::new();
    RpcxServer::new(address).service(Arith).install("main", &mut parts)?;
    serve_parts(parts).await
}
