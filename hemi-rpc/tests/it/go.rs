//! Against rpcx in Go.

use std::path::{Path, PathBuf};
use std::process::Command;

use hemi_test::peer;

use crate::server::serve;

pub(crate) fn go_peer() -> Option<PathBuf> {
    peer::go(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/rpcx"))
}

/// Runs it to its end, and gives what it says.
pub(crate) fn run(peer: &Path, arguments: &[&str]) -> String {
    let output = Command::new(peer).args(arguments).output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {stdout}{stderr}");
    stdout.into_owned()
}

#[test]
fn a_client_in_go_finds_everything() {
    let Some(peer) = go_peer() else { return };
    let server = serve();
    let done = run(&peer, &["call", &server.addr().to_string()]);
    // It also logs that the server has closed a connection, with a date in front.
    let named = done.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    assert_eq!(named.count(), 19, "{done}");
    assert!(server.counter("rpc_heartbeats") > 0);
}

#[test]
fn a_client_in_go_loses_no_answer() {
    let Some(peer) = go_peer() else { return };
    let server = serve();
    let done = run(&peer, &["load", &server.addr().to_string(), "10000", "500"]);
    assert_eq!(done, "10000 calls, 0 wrong\n");
    assert_eq!(server.counter("rpc_calls"), 10_000);
}
