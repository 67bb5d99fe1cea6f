//! Registries, with nodes and clients of ours and in Go.

mod away;
mod kinds;
mod login;
mod peer;

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use hemi_core::config::{Constants, Source};
use hemi_core::listen::Address;
use hemi_core::server::ServerKind;
use hemi_core::{Component, Engine, Registry};
use hemi_rpc::{
    Announced, ClientConfig, Cluster, ClusterConfig, Discovery, Fault, Registered, ServiceNode,
    ServiceRegistry, message, service,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use self::kinds::{Kind, Server};
use self::peer::Peer;

/// Longer than anything that is waited for should take.
const LONG: Duration = Duration::from_secs(60);

/// What keys begin with.
const BASE: &str = "/rpcx_test";

#[message]
struct Args {
    a: i64,
    b: i64,
}

#[message]
struct Reply {
    c: i64,
}

/// Computes.
#[derive(serde::Deserialize, hemi_core::Explain, Component)]
struct Arith {}

#[service]
impl Arith {
    pub(crate) fn mul(&self, args: Args) -> Result<Reply, Fault> {
        Ok(Reply { c: args.a * args.b })
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A server of ours with a config, that says in a registry where it is.
struct Node {
    engine: Engine,
    sign: &'static str,
    key: String,
}

impl Node {
    fn start(server: &Server, metadata: &str) -> Self {
        Self::of("rpcxServer", server, metadata)
    }

    fn of(sign: &'static str, server: &Server, metadata: &str) -> Self {
        let mut registry = Registry::new();
        hemi_rpc::register(&mut registry);
        hemi_contrib::register(&mut registry);
        registry.service::<Arith>();
        let engine = Engine::on(registry, NonZeroUsize::new(2).unwrap()).unwrap();
        let mut node = Self { engine, sign, key: String::new() };
        node.load(server, metadata);
        node
    }

    /// Has another stage take the place of the one that serves, if there is one.
    fn load(&mut self, server: &Server, metadata: &str) {
        let config = format!(
            r#"stage {{
                arith "Arith" {{}}
                {}
                {} "main" {{
                    .address = "127.0.0.1:0"
                    .services = ("Arith")
                    .registries = ("nodes")
                    .nodeMetadata = "{metadata}"
                }}
            }}"#,
            server.component(),
            self.sign,
        );
        let loaded = self.engine.load(&Source::text("test.conf", &config));
        let stage = loaded.unwrap_or_else(|e| panic!("{e}"));
        let main = stage.find::<ServerKind>("main").unwrap();
        match main.addresses().first() {
            Some(Address::Tcp(addr)) => self.key = format!("tcp@{addr}"),
            other => panic!("not on TCP: {other:?}"),
        }
    }

    /// Waits until no stage drains.
    async fn settled(&self) {
        let settled = async {
            while self.engine.status().stages.len() > 1 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, settled).await.unwrap();
    }
}

/// Waits until just these nodes are found.
async fn found(registered: &Registered, expected: &[&str]) {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    let mut nodes = registered.nodes();
    let is = |nodes: &Vec<hemi_rpc::NodeInfo>| {
        nodes.iter().map(|node| node.address.as_str()).eq(expected.iter().copied())
    };
    let waited = timeout(LONG, nodes.wait_for(is)).await.map(drop);
    assert!(waited.is_ok(), "{expected:?} are to be found, not {:?}", registered.nodes().borrow());
}

fn cluster(registered: &Registered) -> Cluster {
    let client = ClientConfig { connect_timeout: LONG, ..ClientConfig::default() };
    Cluster::new(registered, ClusterConfig { client, ..ClusterConfig::default() })
}

async fn mul(cluster: &Cluster) -> i64 {
    let args = Args { a: 6, b: 7 };
    let reply: Reply = cluster.ask("Arith", "Mul").call(&args).await.unwrap();
    reply.c
}

fn told(address: &str) -> Vec<ServiceNode> {
    let (service, metadata) = ("Arith".to_owned(), "weight=2".to_owned());
    vec![ServiceNode { service, address: address.to_owned(), metadata }]
}

/// Nodes of ours and in Go join and leave, and both kinds of clients see it, and call them.
fn find_each_other(kind: Kind) {
    let Some(server) = Server::start(kind) else { return };
    let Some(mut there) = Peer::serve(&server, "weight=3") else { return };
    runtime().block_on(async {
        let registered = Registered::new(server.registry(Duration::from_secs(30)), "Arith");
        let cluster = cluster(&registered);
        let theirs = there.key.clone();
        there.ready().await;
        // A client of ours finds the node in Go, and calls it.
        found(&registered, &[&theirs]).await;
        // Consul's plugin writes what it says of itself a moment after the key.
        let mut nodes = registered.nodes();
        let weighs = nodes.wait_for(|nodes| nodes.first().is_some_and(|node| node.weight == 3));
        assert!(timeout(LONG, weighs).await.is_ok());
        assert_eq!(mul(&cluster).await, 42);
        // A client in Go finds a node of ours, too.
        let mut client = Peer::watch(&server);
        client.sees(&server, &[(&theirs, "weight=3")]).await;
        let mut node = Node::start(&server, "weight=7");
        let ours = node.key.clone();
        found(&registered, &[&theirs, &ours]).await;
        client.sees(&server, &[(&theirs, "weight=3"), (&ours, "weight=7")]).await;
        assert_eq!(mul(&cluster).await, 42);
        // The node in Go leaves, so that it is that of ours which is called.
        there.end_input();
        found(&registered, &[&ours]).await;
        client.sees(&server, &[(&ours, "weight=7")]).await;
        assert_eq!(mul(&cluster).await, 42);
        client.call().await;
        // Another one comes and goes, and is not waited for.
        let other =
            Announced::new(server.registry(Duration::from_secs(30)), told("tcp@127.0.0.1:1"));
        timeout(LONG, other.written()).await.unwrap();
        found(&registered, &[&ours, "tcp@127.0.0.1:1"]).await;
        other.leave().await;
        found(&registered, &[&ours]).await;
        client.sees(&server, &[(&ours, "weight=7")]).await;
        // Another stage takes its place, and has the same key.
        node.load(&server, "weight=8");
        assert_eq!(node.key, ours);
        client.sees(&server, &[(&ours, "weight=8")]).await;
        node.settled().await;
        found(&registered, &[&ours]).await;
        client.call().await;
        node.engine.quit().await;
        found(&registered, &[]).await;
    });
}

/// Nodes that crash are gone after a while.
fn crash(kind: Kind) {
    let Some(server) = Server::start(kind) else { return };
    let Some(mut there) = Peer::serve(&server, "") else { return };
    let registry = server.registry(kind.shortest());
    let (crash, crashes) = tokio::sync::oneshot::channel::<()>();
    let crashing = thread::spawn(move || {
        runtime().block_on(async {
            let announced = Announced::new(registry, told("tcp@127.0.0.1:2"));
            let _ = crashes.await;
            // It has no time to take leave.
            std::mem::forget(announced);
        });
    });
    runtime().block_on(async {
        there.ready().await;
        let registered = Registered::new(server.registry(Duration::from_secs(30)), "Arith");
        let theirs = there.key.clone();
        found(&registered, &[&theirs, "tcp@127.0.0.1:2"]).await;
        crash.send(()).unwrap();
        crashing.join().unwrap();
        found(&registered, &[&theirs]).await;
        // What their plugins for etcd and Consul have lasts for long.
        if matches!(kind, Kind::Redis | Kind::Zookeeper) {
            there.kill();
            found(&registered, &[]).await;
        }
    });
}

#[test]
fn servers_of_grpc_are_found_too() {
    let Some(server) = Server::start(Kind::Redis) else { return };
    runtime().block_on(async {
        let registered = Registered::new(server.registry(Duration::from_secs(30)), "Arith");
        let node = Node::of("grpcServer", &server, "group=blue");
        found(&registered, &[&node.key]).await;
        assert_eq!(registered.nodes().borrow()[0].groups, ["blue"]);
        node.engine.quit().await;
        found(&registered, &[]).await;
    });
}

#[test]
fn an_address_that_clients_can_do_nothing_with_is_a_mistake() {
    let mut registry = Registry::new();
    hemi_rpc::register(&mut registry);
    hemi_contrib::register(&mut registry);
    registry.service::<Arith>();
    for (advertise, mistaken) in [("", true), (r#".advertise = "10.0.0.7:8972""#, false)] {
        let config = format!(
            r#"stage {{
                arith "Arith" {{}}
                etcdRegistry "nodes" {{}}
                rpcxServer "main" {{
                    .address = ":8972"  .services = ("Arith")  .registries = ("nodes")  {advertise}
                }}
            }}"#
        );
        let source = Source::text("test.conf", &config);
        let checked = hemi_core::check(&registry, &source, &Constants::default());
        let text = checked.err().map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(text.contains("`.advertise`"), mistaken, "{text}");
        assert_eq!(text.is_empty(), !mistaken, "{text}");
    }
}

macro_rules! kinds {
    ($($name:ident: $kind:ident)*) => { $(
        mod $name {
            use super::*;

            #[test]
            fn nodes_and_clients_in_go_and_rust_find_each_other() {
                find_each_other(Kind::$kind);
            }

            #[test]
            fn nodes_that_crash_are_gone_after_a_while() {
                crash(Kind::$kind);
            }

            #[test]
            fn a_registry_may_be_away() {
                away::may_be_away(Kind::$kind);
            }
        }
    )* };
}

kinds! { consul: Consul  etcd: Etcd  redis: Redis  zookeeper: Zookeeper }
