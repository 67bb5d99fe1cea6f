//! The client finds the server by a real etcd, and the server takes itself back.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use hemi_test::{Program, Signal, TempDir, free_port, peer};

fn addr() -> SocketAddr {
    ([127, 0, 0, 1], free_port().unwrap()).into()
}

#[test]
fn a_client_finds_the_server() {
    let Some(program) = peer("etcd") else { return };
    let dir = TempDir::new().unwrap();
    let etcd = addr();
    let (own, others) = (format!("http://{etcd}"), format!("http://{}", addr()));
    let mut command = Command::new(program);
    command.arg("--data-dir").arg(dir.path().join("etcd"));
    command.args(["--listen-client-urls", &own, "--advertise-client-urls", &own]);
    command.args(["--listen-peer-urls", &others]);
    let _etcd = Program::start(command, etcd).unwrap();
    let addr = addr();
    let mut command = Command::new(env!("CARGO_BIN_EXE_discovery_etcd"));
    command.args(["server", &addr.to_string(), &etcd.to_string()]);
    let mut server = Program::start(command, addr).unwrap();
    let mut client = Command::new(env!("CARGO_BIN_EXE_discovery_etcd"));
    let output = client.args(["client", &etcd.to_string()]).output().unwrap();
    let expected = format!("nodes: tcp@{addr}\n10 * 20 = 200\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    server.signal(Signal::INT).unwrap();
    assert_eq!(server.wait(Duration::from_secs(60)).unwrap().code(), Some(0));
}
