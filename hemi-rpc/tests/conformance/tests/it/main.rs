//! Connect, gRPC and gRPC-Web as `connectconformance` has them: its own client against our server.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::process::Command;

use hemi_test::peer::peer;

#[test]
fn the_server_conforms() {
    let Some(suite) = peer("connectconformance") else { return };
    let here = env!("CARGO_MANIFEST_DIR");
    let mut suite = Command::new(suite);
    suite.args(["--mode", "server", "--conf"]).arg(format!("{here}/config.yaml"));
    suite.args(["--parallel", "4", "--", env!("CARGO_BIN_EXE_rpc-conformance")]);
    let output = suite.output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
}
