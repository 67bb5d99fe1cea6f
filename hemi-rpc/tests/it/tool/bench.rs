//! `rpc bench`.

use hemi_rpc::{GrpcLimits, RpcxLimits};
use hemi_test::TempDir;
use serde_json::{Value, json};

use super::rpc;
use crate::grpc::serve_grpc;
use crate::server::{serve, serve_with};

/// What it says of a method, for programs.
fn measure(arguments: &[&str]) -> Value {
    let all = [&["bench"], arguments, &["--json"]].concat();
    serde_json::from_str(&rpc(&all).unwrap()).unwrap()
}

#[test]
fn calls_are_counted_and_measured_by_all_protocols() {
    let (server, grpc) = (serve(), serve_grpc(GrpcLimits::default()));
    let [rpcx, hrpc] = ["rpcx", "hrpc"].map(|by| format!("{by}@{}", server.addr()));
    let grpc = grpc.addr().to_string();
    let (mul, unary) = (r#"{"A": 6, "B": 7}"#, r#"{"responseSize": 300}"#);
    for (address, method, message, codec) in [
        (&rpcx, "Arith/Mul", mul, "json"),
        (&rpcx, "Arith/Mul", mul, "msgpack"),
        (&hrpc, "Arith/Mul", mul, "msgpack"),
        (&grpc, "grpc.testing.TestService/UnaryCall", unary, "json"),
    ] {
        let told = measure(&[
            address,
            method,
            message,
            "x-id=1",
            "--connections=3",
            "--callers=7",
            "--count=500",
            &format!("--codec={codec}"),
        ]);
        assert_eq!((&told["calls"], &told["failed"]), (&json!(500), &json!(0)), "{told}");
        let of = |name: &str| told["latencyMicros"][name].as_f64().unwrap();
        assert!(0.0 < of("p50") && of("p50") <= of("p99") && of("p99") <= of("max"), "{told}");
        assert!(told["callsPerSecond"].as_f64().unwrap() > 0.0);
    }
    // Those by which connections were made are not counted.
    assert_eq!(server.counter("rpc_calls"), 3 * (500 + 3));
}

#[test]
fn errors_are_told_by_kind() {
    let server = serve();
    let (rpcx, hrpc) = (format!("rpcx@{}", server.addr()), format!("hrpc@{}", server.addr()));
    let told = measure(&[&rpcx, "Arith/Fail", "--count=20"]);
    assert_eq!(told["errors"], json!({"boom": 20}));
    let told = measure(&[&hrpc, "Arith/Nope", "--count=20"]);
    assert_eq!((&told["failed"], &told["errors"]), (&json!(20), &json!({"unimplemented": 20})));
    let late = ["Arith/Sleep", r#"{"A": 600000}"#, "--count=3", "--timeout=50ms"];
    let told = measure(&[&[&*hrpc][..], &late].concat());
    assert_eq!(told["failed"], json!(3), "{told}");
    let grpc = serve_grpc(GrpcLimits::default());
    let failing = r#"{"responseStatus": {"code": 9, "message": "no"}}"#;
    let unary = "grpc.testing.TestService/UnaryCall";
    let told = measure(&[&grpc.addr().to_string(), unary, failing, "--count=20"]);
    assert_eq!(told["errors"], json!({"FailedPrecondition": 20}));
    let text = rpc(&["bench", &rpcx, "Arith/Fail", "--count=5"]).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("calls    5 in ") && lines[1].starts_with("latency  mean "));
    assert_eq!(lines[2..], ["errors   5 boom"]);
    // Nobody is there, or nothing is said that could be done.
    assert!(rpc(&["bench", "rpcx@127.0.0.1:1", "Arith/Mul"]).is_err());
    for wrong in ["--count=0", "--for=x", "--codec=xml", "--nope=1"] {
        assert!(rpc(&["bench", &rpcx, "Arith/Mul", wrong]).is_err(), "{wrong}");
    }
}

#[test]
fn calls_begin_at_a_rate_whether_those_before_are_answered_or_not() {
    let server = serve_with(RpcxLimits { max_calls_per_conn: 1, ..RpcxLimits::default() });
    let rpcx = format!("rpcx@{}", server.addr());
    // One after the other they take a second; they are all wanted in the first tenth of one.
    let sleep = ["Arith/Sleep", r#"{"A": 50}"#, "--rate=200", "--count=20", "--callers=20"];
    let told = measure(&[&[&*rpcx][..], &sleep].concat());
    assert_eq!((&told["calls"], &told["failed"]), (&json!(20), &json!(0)), "{told}");
    let of = |name: &str| told["latencyMicros"][name].as_f64().unwrap();
    assert!(of("max") > 800_000.0 && of("p50") > 300_000.0, "{told}");
    let told = measure(&[&rpcx, "Arith/Mul", "--for=300ms", "--rate=100"]);
    assert_eq!(told["calls"], json!(30));
}

#[test]
fn a_message_may_stand_in_a_file() {
    let (server, dir) = (serve(), TempDir::new().unwrap());
    let rpcx = format!("rpcx@{}", server.addr());
    let file = dir.write("message", b"\x0a\x02ab").unwrap();
    let file = format!("@{}", file.display());
    let told = measure(&[&rpcx, "Proto/Double", &file, "--codec=protobuf", "--count=10"]);
    assert_eq!((&told["calls"], &told["failed"]), (&json!(10), &json!(0)), "{told}");
    assert!(rpc(&["bench", &rpcx, "Proto/Double", "@/none"]).unwrap_err().starts_with("/none: "));
}
