//! What the clients of others find.

use std::path::{Path, PathBuf};
use std::process::Command;

use hemi_rpc::GrpcLimits;
use hemi_test::eventually;
use hemi_test::peer::{self, modules, peer};

use super::{serve_by_config, serve_grpc};
use crate::go::run;
use crate::server::LONG;

pub(super) fn go_peer() -> Option<PathBuf> {
    peer::go(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/grpc"))
}

#[test]
fn a_client_in_go_finds_every_case() {
    let Some(peer) = go_peer() else { return };
    for limits in
        [GrpcLimits::default(), GrpcLimits { compress_replies: true, ..GrpcLimits::default() }]
    {
        let server = serve_grpc(limits);
        let done = run(&peer, &["call", &server.addr().to_string()]);
        assert_eq!(done.lines().count(), 22, "{done}");
        // Those that were cancelled are over, too.
        let over = || server.counter("ended") == server.counter("calls");
        assert!(
            eventually(LONG, over),
            "{} of {}",
            server.counter("ended"),
            server.counter("calls")
        );
    }
}

#[test]
fn a_client_of_grpc_in_go_loses_no_answer() {
    let Some(peer) = go_peer() else { return };
    let server = serve_grpc(GrpcLimits::default());
    let done = run(&peer, &["load", &server.addr().to_string(), "10000", "500"]);
    assert_eq!(done, "10000 calls, 0 wrong\n");
    assert_eq!(server.counter("failed"), 0);
}

#[test]
fn a_client_in_python_finds_everything() {
    let Some(mut python) = modules::python("grpc") else { return };
    let server = serve_by_config("");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/grpc/calls.py");
    let output = python.args([script, &server.addr().port().to_string()]).output().unwrap();
    assert_eq!(output.stdout, b"all is well\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn grpcurl_needs_no_proto_file() {
    let Some(grpcurl) = peer("grpcurl") else { return };
    let server = serve_by_config("");
    let address = server.addr().to_string();
    let ask = |arguments: &[&str]| {
        let mut grpcurl = Command::new(&grpcurl);
        grpcurl.args(["-plaintext", "-max-time", "60"]).args(arguments);
        let output = grpcurl.output().unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        format!("{stdout}{stderr}")
    };
    let services = ask(&[&address, "list"]);
    for service in ["grpc.testing.TestService", "grpc.health.v1.Health", "Echoes"] {
        assert!(services.lines().any(|line| line == service), "{services}");
    }
    let described = ask(&[&address, "describe", "grpc.testing.TestService.StreamingInputCall"]);
    assert!(described.contains("stream .grpc.testing.StreamingInputCallRequest"), "{described}");
    let method = "grpc.testing.TestService/UnaryCall";
    let answer = ask(&["-d", r#"{"response_size": 3}"#, &address, method]);
    assert!(answer.contains(r#""body": "AAAA""#), "{answer}");
    let failed =
        ask(&["-d", r#"{"response_status": {"code": 9, "message": "no"}}"#, &address, method]);
    assert!(failed.contains("Code: FailedPrecondition\n  Message: no"), "{failed}");
}
