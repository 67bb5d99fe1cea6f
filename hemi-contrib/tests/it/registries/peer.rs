//! Nodes and clients of rpcx in Go.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use hemi_rpc::Announced;
use hemi_test::{free_port, peer};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use super::kinds::Server;
use super::{BASE, LONG, told};

/// How long is waited before it is given another reason to look.
const NUDGE: Duration = Duration::from_secs(3);

pub(super) struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// What it has said that was not waited for.
    heard: Vec<String>,
    /// Where it is, if it is a node.
    pub(super) key: String,
}

pub(super) fn program() -> Option<PathBuf> {
    peer::go(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/registry"))
}

impl Peer {
    /// A node; none if it can't be built here.
    pub(super) fn serve(server: &Server, metadata: &str) -> Option<Self> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap())).to_string();
        Self::start(server, "serve", &[&addr, metadata], &format!("tcp@{addr}"))
    }

    /// A client, where there is a node that could be built.
    pub(super) fn watch(server: &Server) -> Self {
        Self::start(server, "watch", &[], "").unwrap()
    }

    fn start(server: &Server, role: &str, more: &[&str], key: &str) -> Option<Self> {
        let mut command = Command::new(program()?);
        command.args([role, server.kind.name(), &server.addr.to_string(), BASE]).args(more);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel(10_000);
        say(child.stdout.take(), &sender);
        say(child.stderr.take(), &sender);
        let input = child.stdin.take();
        Some(Self { child, input, lines, heard: Vec::new(), key: key.to_owned() })
    }

    /// Waits until it has said that it serves.
    pub(super) async fn ready(&mut self) {
        self.line("ready").await;
    }

    /// Waits until it has found just these nodes, with this metadata.
    pub(super) async fn sees(&mut self, server: &Server, nodes: &[(&str, &str)]) {
        let mut nodes: Vec<_> =
            nodes.iter().map(|(key, metadata)| format!("{key}?{metadata}")).collect();
        nodes.sort_unstable();
        let expected = format!("nodes {}", nodes.join(" "));
        let seen = async {
            while timeout(NUDGE, self.said(&expected)).await.is_err() {
                // What happens between its first look and its watching it never hears of.
                let nudge = Announced::new(
                    server.registry(Duration::from_secs(5)),
                    told("tcp@127.0.0.1:9"),
                );
                nudge.written().await;
                nudge.leave().await;
            }
        };
        let seen = timeout(LONG * 2, seen).await;
        assert!(seen.is_ok(), "{expected:?} is to be said, not {:?}", self.heard);
    }

    /// Waits for a line, whatever is said before it.
    pub(super) async fn line(&mut self, expected: &str) {
        let said = timeout(LONG, self.said(expected)).await;
        assert!(said.is_ok(), "{expected:?} is to be said, not {:?}", self.heard);
    }

    async fn said(&mut self, expected: &str) {
        loop {
            match self.lines.recv().await {
                Some(line) if line == expected => return,
                Some(line) => self.heard.push(line),
                None => panic!("{expected:?} is to be said, not {:?}", self.heard),
            }
        }
    }

    /// Has it call a node.
    pub(super) async fn call(&mut self) {
        self.input.as_mut().unwrap().write_all(b"call\n").unwrap();
        self.line("reply 42").await;
    }

    /// Has it take its leave.
    pub(super) fn end_input(&mut self) {
        self.input = None;
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
    }
}

/// Sends on what is written, by lines.
fn say(output: Option<impl Read + Send + 'static>, sender: &Sender<String>) {
    let (Some(output), sender) = (output, sender.clone()) else { return };
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = sender.blocking_send(line);
        }
    });
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}
