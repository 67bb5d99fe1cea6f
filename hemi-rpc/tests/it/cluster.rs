//! Clusters of servers, of ours and in Go.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hemi_core::gate::GateConfig;
use hemi_rpc::{
    BreakerConfig, ClientConfig, Cluster, ClusterConfig, FailMode, Fault, NodeInfo, NodesFile,
    RpcError, RpcxLimits, RpcxServer, Selector, Several, service,
};
use hemi_test::{Program, Signal, TempDir, eventually, free_port};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::go::go_peer;
use crate::server::{LONG, Running, serve, serve_this};
use crate::services::{Args, Reply};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn config(fail_mode: FailMode) -> ClusterConfig {
    let client = ClientConfig { connect_timeout: LONG, ..ClientConfig::default() };
    ClusterConfig { client, fail_mode, ..ClusterConfig::default() }
}

/// Where nobody listens.
fn nobody() -> String {
    format!("127.0.0.1:{}", free_port().unwrap())
}

fn at(server: &Running) -> String {
    server.addr().to_string()
}

async fn mul(cluster: &Cluster, a: i64) -> Result<i64, RpcError> {
    let reply = cluster.ask("Arith", "Mul").call(&Args { a, b: 3 }).await;
    reply.map(|reply: Reply| reply.c)
}

/// Does not come back.
struct Sloth;

#[service(name = "Arith")]
impl Sloth {
    pub(crate) async fn mul(&self, _: Args) -> Result<Reply, Fault> {
        tokio::time::sleep(Duration::from_secs(600)).await;
        Err(Fault::new("at last"))
    }
}

fn serve_sloth() -> Running {
    let address = "127.0.0.1:0".parse().unwrap();
    let server = RpcxServer::with_config(address, RpcxLimits::default(), GateConfig::default());
    serve_this(server.service(Sloth))
}

#[test]
fn each_mode_does_what_it_says() {
    let server = serve();
    runtime().block_on(async {
        let both = [nobody(), at(&server)];
        for mode in [FailMode::Failfast, FailMode::Failtry] {
            let cluster = Cluster::new(&Several::at(both.clone()), config(mode));
            let (mut good, mut bad) = (0, 0);
            for number in 0..6 {
                match mul(&cluster, number).await {
                    Ok(reply) => good += i32::from(reply == 3 * number),
                    Err(e) => bad += i32::from(matches!(e, RpcError::Unreachable(_))),
                }
            }
            // Failures in a row open the breaker of the one that is not there.
            assert!(good >= 3 && bad >= 1 && good + bad == 6, "{mode:?}: {good} {bad}");
        }
        for mode in [FailMode::Failover, FailMode::Failbackup] {
            let cluster = Cluster::new(&Several::at(both.clone()), config(mode));
            for number in 0..20 {
                assert_eq!(mul(&cluster, number).await.unwrap(), 3 * number, "{mode:?}");
            }
        }
        // What a service answers is final.
        let before = server.counter("rpc_calls");
        let cluster = Cluster::new(&Several::at([at(&server)]), config(FailMode::Failover));
        let failed = cluster.ask("Arith", "Fail").call::<_, Reply>(&Args::default()).await;
        assert!(matches!(failed, Err(RpcError::Failed(_))));
        assert_eq!(server.counter("rpc_calls"), before + 1);
        let none = Cluster::new(&Several::at([] as [&str; 0]), ClusterConfig::default());
        assert!(matches!(mul(&none, 1).await, Err(RpcError::NoNode)));
    });
}

#[test]
fn a_slow_node_is_backed_up() {
    let (sloth, server) = (serve_sloth(), serve());
    runtime().block_on(async {
        let nodes = Several::at([at(&sloth), at(&server)]);
        let cluster = Cluster::new(&nodes, config(FailMode::Failbackup));
        for number in 0..10 {
            assert_eq!(mul(&cluster, number).await.unwrap(), 3 * number);
        }
        let any = cluster.ask("Arith", "Mul").fork(&Args { a: 2, b: 3 }).await;
        assert_eq!(any.map(|reply: Reply| reply.c).unwrap(), 6);
    });
}

#[test]
fn all_are_told() {
    let (one, other) = (serve(), serve());
    runtime().block_on(async {
        let both = [at(&one), at(&other)];
        let cluster = Cluster::new(&Several::at(both.clone()), ClusterConfig::default());
        let args = Args { a: 5, b: 5 };
        let reply: Reply = cluster.ask("Arith", "Mul").broadcast(&args).await.unwrap();
        assert_eq!(reply.c, 25);
        assert_eq!((one.counter("rpc_calls"), other.counter("rpc_calls")), (1, 1));
        let nodes = Several::at([both[0].clone(), both[1].clone(), nobody()]);
        let cluster = Cluster::new(&nodes, ClusterConfig::default());
        let receipts = cluster.ask("Arith", "Mul").inform::<_, Reply>(&args).await;
        let good = receipts.iter().filter(|receipt| receipt.result.is_ok());
        assert_eq!((good.count(), receipts.len()), (2, 3));
        for receipt in &receipts {
            assert_eq!(receipt.result.is_ok(), both.contains(&receipt.address), "{receipt:?}");
        }
        let failed = cluster.ask("Arith", "Mul").broadcast::<_, Reply>(&args).await;
        assert!(matches!(failed, Err(RpcError::Unreachable(_))));
    });
}

#[test]
fn a_node_that_fails_is_left_alone() {
    let server = serve();
    runtime().block_on(async {
        let breaker = BreakerConfig { rest: Duration::from_secs(600), ..BreakerConfig::default() };
        let config = ClusterConfig { breaker, ..config(FailMode::Failfast) };
        let cluster = Cluster::new(&Several::at([nobody(), at(&server)]), config);
        let mut failures = 0;
        for number in 0..50 {
            failures += i32::from(mul(&cluster, number).await.is_err());
        }
        assert_eq!(failures, 5);
    });
}

#[test]
fn calls_stick_and_groups_are_kept_apart() {
    let (one, other) = (serve(), serve());
    runtime().block_on(async {
        let nodes = Several::at([at(&one), at(&other)]);
        let config = ClusterConfig { sticky: true, ..ClusterConfig::default() };
        let cluster = Cluster::new(&nodes, config);
        for number in 0..10 {
            mul(&cluster, number).await.unwrap();
        }
        let counts = [one.counter("rpc_calls"), other.counter("rpc_calls")];
        assert_eq!(counts.iter().max(), Some(&10));
        let blue =
            |server: &Running, metadata: &str| NodeInfo::new(at(server)).with_metadata(metadata);
        nodes.update([blue(&one, "group=blue"), blue(&other, "group=blue&state=inactive")]);
        assert_eq!(cluster.addresses(), [at(&one)]);
        let config = ClusterConfig { group: Some("red".to_owned()), ..ClusterConfig::default() };
        assert!(Cluster::new(&nodes, config).addresses().is_empty());
    });
}

#[test]
fn a_file_says_who_there_is() {
    let server = serve();
    let dir = TempDir::new().unwrap();
    let file = dir.write("nodes", format!("# nodes\n{} weight=3\n", nobody())).unwrap();
    let runtime = runtime();
    runtime.block_on(async {
        let nodes = NodesFile::new(&file, Duration::from_millis(20)).unwrap();
        let config = ClusterConfig { selector: Selector::Weighted, ..ClusterConfig::default() };
        let cluster = Cluster::new(&nodes, config);
        assert!(mul(&cluster, 1).await.is_err());
        dir.write("nodes", format!("tcp@{} weight=3\n", server.addr())).unwrap();
        let expected = [format!("tcp@{}", server.addr())];
        while cluster.addresses() != expected {
            tokio::task::yield_now().await;
        }
        assert_eq!(mul(&cluster, 2).await.unwrap(), 6);
        assert!(NodesFile::new(dir.path().join("none"), LONG).is_err());
    });
}

fn go_server(addr: SocketAddr) -> Option<Program> {
    let mut command = Command::new(go_peer()?);
    command.args(["serve", &addr.to_string()]);
    Some(Program::start(command, addr).unwrap())
}

#[test]
fn nodes_in_go_may_be_killed_under_load() {
    let ours = serve();
    let addrs: Vec<SocketAddr> =
        (0..2).map(|_| ([127, 0, 0, 1], free_port().unwrap()).into()).collect();
    let Some(mut first) = go_server(addrs[0]) else { return };
    let Some(_second) = go_server(addrs[1]) else { return };
    let nodes = Several::at([at(&ours), addrs[0].to_string(), addrs[1].to_string()]);
    let cluster = Cluster::new(&nodes, config(FailMode::Failover));
    runtime().block_on(async {
        let done = Arc::new(std::sync::atomic::AtomicI64::new(0));
        let mut workers = JoinSet::new();
        for worker in 0..50 {
            let (cluster, done) = (cluster.clone(), done.clone());
            workers.spawn(async move {
                for number in 0..200 {
                    let number = worker * 1000 + number;
                    assert_eq!(mul(&cluster, number).await.unwrap(), 3 * number);
                    done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
        while done.load(std::sync::atomic::Ordering::Relaxed) < 2000 {
            tokio::task::yield_now().await;
        }
        first.signal(Signal::KILL).unwrap();
        while let Some(done) = workers.join_next().await {
            done.unwrap();
        }
    });
    assert!(eventually(LONG, || ours.counter("rpc_calls") > 3000));
}
