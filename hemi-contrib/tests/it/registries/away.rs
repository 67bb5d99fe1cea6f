//! Registries that crash and come back.

use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use hemi_contrib::registries::{ConsulRegistry, ConsulRegistryConfig};
use hemi_rpc::{Announced, Discovery, Registered};
use hemi_test::TempDir;
use tokio::time::timeout;

use super::kinds::{Kind, Server};
use super::peer::Peer;
use super::{LONG, Node, cluster, found, mul, runtime, told};

/// One that takes questions and never answers: it is asked again long before a wait for a change would be over.
#[test]
fn a_consul_that_hangs_is_given_up_soon() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (asked, questions) = mpsc::channel();
    thread::spawn(move || {
        let mut open = Vec::new();
        for connection in listener.incoming() {
            open.push(connection);
            if asked.send(()).is_err() {
                return;
            }
        }
    });
    let registry = ConsulRegistry::new(ConsulRegistryConfig { url, ..Default::default() });
    runtime().block_on(async {
        let _announced = Announced::new(Arc::new(registry), told("tcp@127.0.0.1:1"));
        let again = tokio::task::spawn_blocking(move || {
            (0..3).try_for_each(|_| questions.recv_timeout(LONG))
        });
        again.await.unwrap().unwrap();
    });
}

/// Clients call nodes that they have known, and hear of new ones when the registry is back; so do clients in Go of nodes of ours.
pub(super) fn may_be_away(kind: Kind) {
    let Some(mut server) = Server::start(kind) else { return };
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("nodes");
    runtime().block_on(async {
        let registry = server.registry(Duration::from_secs(30));
        let registered = Registered::with_file(registry.clone(), "Arith", &file);
        let calls = cluster(&registered);
        let node = Node::start(&server, "weight=7");
        let ours = node.key.clone();
        found(&registered, &[&ours]).await;
        assert_eq!(mul(&calls).await, 42);
        // They are written down a moment after they are known.
        let is_written = || std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&ours));
        let written = async {
            while !is_written() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, written).await.unwrap();
        server.kill();
        for _ in 0..10 {
            assert_eq!(mul(&calls).await, 42);
        }
        // One that begins now knows them by the file.
        let late = Registered::with_file(registry, "Arith", &file);
        found(&late, &[&ours]).await;
        assert_eq!(mul(&cluster(&late)).await, 42);
        server.start_again();
        let Some(mut there) = Peer::serve(&server, "") else { return };
        there.ready().await;
        let theirs = there.key.clone();
        found(&registered, &[&theirs, &ours]).await;
        found(&late, &[&theirs, &ours]).await;
        assert_eq!(registered.nodes().borrow().len(), 2);
        let mut client = Peer::watch(&server);
        client.sees(&server, &[(&theirs, ""), (&ours, "weight=7")]).await;
        node.engine.quit().await;
        client.sees(&server, &[(&theirs, "")]).await;
        client.call().await;
    });
}
