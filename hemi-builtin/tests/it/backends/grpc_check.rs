//! Nodes that say by gRPC whether they are well.

use std::time::Duration;

use hemi_test::peer::modules;
use hemi_test::{Program, eventually};

use super::state;
use crate::server::{Running, mistake, site_on};
use crate::upstream::{Upstream, answer};

const PATIENCE: Duration = Duration::from_secs(60);

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/http2_proxy/grpc_peer.py");

fn checked(node: &str, check: &str) -> Running {
    let check =
        format!("grpcCheck {{ .interval = 1ms  .timeout = 20s  .rise = 2  .fall = 2  {check} }}");
    site_on(
        1,
        &format!("http2Backend \"b\" {{ node {{ .address = \"{node}\" }} {check} }}"),
        "rule $path == \"/metrics\" { metrics {} } rule { httpProxy { .toBackend = \"b\" } }",
    )
}

fn becomes(server: &Running, expected: &str) {
    let is_so = eventually(PATIENCE, || state(server) == expected);
    assert!(is_so, "{} instead of {expected}", state(server));
}

#[test]
fn a_node_is_up_while_it_serves() {
    let Some(mut python) = modules::python("grpc") else { return };
    python.args([SCRIPT, "serve"]);
    let node = Program::told(python).unwrap();
    let address = node.addr().to_string();
    let of_service = checked(&address, ".service = \"t.T\"");
    let of_server = checked(&address, "");
    let tell = |status: &str| {
        let mut python = modules::python("grpc").unwrap();
        python.args([SCRIPT, "tell", &node.addr().port().to_string(), status]);
        assert!(python.status().unwrap().success());
    };
    for (status, expected) in [("1", "up"), ("2", "down"), ("1", "up"), ("0", "down")] {
        tell(status);
        becomes(&of_service, expected);
        becomes(&of_server, expected);
    }
    assert_eq!(of_service.get("/").status, 503);
    // Of other services it knows nothing.
    tell("1");
    becomes(&checked(&address, ".service = \"t.Other\""), "down");
}

#[test]
fn what_does_not_speak_grpc_is_down() {
    let plain = Upstream::start(|_| answer("200 OK", &[], "ok"));
    becomes(&checked(&plain.addr().to_string(), ""), "down");
    let config = r#"stage {
        webapp "site" { .hostnames = ("*")  rule { .returnCode = 200 } }
        httpxServer "main" {
            .address = "127.0.0.1:0"  .webapps = ("site")  .h2cPriorKnowledge = true
        }
    }"#;
    let no_grpc = crate::server::load(1, config).unwrap_or_else(|e| panic!("{e}"));
    becomes(&checked(&no_grpc.addr().to_string(), ""), "down");
}

#[test]
fn properties_of_other_checks_are_mistakes() {
    let backend =
        "http2Backend \"b\" { node { .address = \"127.0.0.1:1\" } grpcCheck { .path = \"/\" } }";
    let told = mistake(backend, "rule { httpProxy { .toBackend = \"b\" } }");
    assert!(told.contains("path"), "{told}");
}
