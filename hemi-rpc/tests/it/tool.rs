//! What `rpc` does on the command line.

mod bench;
mod dump;

use std::io::Write;

use hemi_core::Registry;
use hemi_rpc::GrpcLimits;

use crate::grpc::serve_grpc;
use crate::server::serve;

/// What it says; or why it says nothing.
fn rpc(arguments: &[&str]) -> Result<String, String> {
    let mut out = Vec::new();
    rpc_to(arguments, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn rpc_to(arguments: &[&str], out: &mut dyn Write) -> Result<(), String> {
    let mut registry = Registry::new();
    hemi_rpc::register(&mut registry);
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    registry.tool_of("rpc").unwrap()(&arguments, out)
}

#[test]
fn services_are_listed_described_and_called() {
    let server = serve_grpc(GrpcLimits::default());
    let address = server.addr().to_string();
    let listed = rpc(&["list", &address]).unwrap();
    assert!(listed.lines().any(|line| line == "grpc.testing.TestService"), "{listed}");
    let service = rpc(&["describe", &address, "grpc.testing.TestService"]).unwrap();
    let method = "  rpc FullDuplexCall(stream grpc.testing.StreamingOutputCallRequest) returns \
                  (stream grpc.testing.StreamingOutputCallResponse);";
    assert!(service.lines().any(|line| line == method), "{service}");
    let message = rpc(&["describe", &address, "grpc.testing.StreamingOutputCallRequest"]).unwrap();
    let field = "  repeated grpc.testing.ResponseParameters response_parameters = 2;";
    assert!(message.lines().any(|line| line == field), "{message}");
    let unary = "grpc.testing.TestService/UnaryCall";
    let answer = rpc(&["call", &address, unary, r#"{"responseSize": 3}"#, "x-id=1"]).unwrap();
    assert_eq!(answer, "{\"payload\":{\"body\":\"AAAA\"}}\n");
    let duplex = "grpc.testing.TestService/FullDuplexCall";
    let two = r#"{"responseParameters": [{"size": 1}, {"size": 2}]}"#;
    let answers = rpc(&["call", &address, duplex, two, two]).unwrap();
    assert_eq!(answers.lines().count(), 4, "{answers}");
    let failing = r#"{"responseStatus": {"code": 9, "message": "no"}}"#;
    assert_eq!(rpc(&["call", &address, unary, failing]).unwrap_err(), "FailedPrecondition: no");
    assert!(rpc(&["call", &address, unary, "{\"none\": }"]).is_err());
    let none = rpc(&["call", &address, "grpc.testing.TestService/None"]).unwrap_err();
    assert_eq!(none, "grpc.testing.TestService has no such method there");
    assert!(rpc(&["call"]).unwrap_err().starts_with("say what: "));
}

#[test]
fn services_of_rpcx_are_called() {
    let server = serve();
    let address = format!("rpcx@{}", server.addr());
    let answer = rpc(&["call", &address, "Arith/Mul", r#"{"A": 6, "B": 7}"#]).unwrap();
    assert_eq!(answer, "{\"C\":42}\n");
    assert!(rpc(&["call", &address, "Arith/Fail", "{}"]).unwrap_err().contains("boom"));
}
