//! Nodes with a service, and a client that finds them by an etcd: rpcx's plugin for it has the same keys, so that either may be
//! in Go. Usage: `discovery_etcd server [ADDRESS [ETCD]]`, several of them, and `discovery_etcd client [ETCD]`.

#![expect(clippy::print_stdout, reason = "the client says what it was told")]

use std::sync::Arc;

use hemi_contrib::registries::{EtcdRegistry, EtcdRegistryConfig};
use hemi_core::config::Several;
use hemi_core::{Error, Parts, serve_parts};
use hemi_rpc::{Cluster, ClusterConfig, Fault, Registered, RpcxServer, message, service};

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

/// Where nodes say that they are there: below `/rpcx/Arith/`.
fn registry(etcd: Option<String>) -> Result<Arc<EtcdRegistry>> {
    let etcd = etcd.unwrap_or_else(|| "127.0.0.1:2379".to_owned());
    let addresses = Several(vec![etcd.parse()?]);
    let config = EtcdRegistryConfig { addresses, ..EtcdRegistryConfig::default() };
    Ok(Arc::new(EtcdRegistry::new(config)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("server") => {
            let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8972".to_owned());
            let server = RpcxServer::new(address.parse()?).service(Calculator);
            let mut parts = Parts::new();
            server.registry(registry(arguments.next())?).install("main", &mut parts)?;
            serve_parts(parts).await?;
        }
        Some("client") => {
            let nodes = Registered::new(registry(arguments.next())?, "Arith");
            nodes.any().await;
            let cluster = Cluster::new(&nodes, ClusterConfig::default());
            println!("nodes: {}", cluster.addresses().join(", "));
            let reply = ArithClient::new(cluster).mul(&Args { a: 10, b: 20 }).await?;
            println!("10 * 20 = {}", reply.c);
        }
        _ => {
            let usage = "usage: discovery_etcd server [ADDRESS [ETCD]] | client [ETCD]";
            return Err(Error::other(usage).into());
        }
    }
    Ok(())
}
