//! Callers that speak HTTP at the port of an rpcx server.

use hemi_rpc::{Asking, Fault, GrpcChannel, Refusal, RpcxServer};
use hemi_test::Reply;
use hemi_test::raw::Client;

use crate::server::{Running, serve_this};
use crate::services::{Arith, Proto, Raw};

fn serve_http() -> Running {
    let server = RpcxServer::new("127.0.0.1:0".parse().unwrap());
    let server = server.service(Arith).service(Raw).service(Proto);
    let secret = server.service_as("Secret", std::sync::Arc::new(Arith));
    serve_this(secret.http().guard(|asking: &Asking<'_>| {
        let good = asking.service != b"Secret" || asking.token() == Some(b"Bearer tok");
        if good { Ok(()) } else { Err(Refusal::Connection(Fault::new("who are you?"))) }
    }))
}

fn post(server: &Running, path: &str, fields: &str, content: &str) -> Reply {
    let mut client = Client::connect(server.addr()).unwrap();
    let length = content.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n");
    client.send(format!("{head}{fields}Connection: close\r\n\r\n{content}")).unwrap();
    client.read_response().unwrap()
}

#[test]
fn the_fields_of_rpcx_say_what_is_called() {
    let server = serve_http();
    let call = |service: &str, method: &str, more: &str, content: &str| {
        let fields = format!(
            "X-RPCX-MessageID: 7\r\nX-RPCX-ServicePath: {service}\r\n\
             X-RPCX-ServiceMethod: {method}\r\nX-RPCX-SerializeType: 1\r\n{more}"
        );
        post(&server, "/", &fields, content)
    };
    let reply = call("Arith", "Mul", "", r#"{"A":6,"B":7}"#);
    assert_eq!((reply.status, &*reply.text()), (200, r#"{"C":42}"#));
    assert_eq!(reply.header("x-rpcx-messageid"), Some("7"));
    let reply = call("Arith", "Meta", "X-RPCX-Meta: k=a%20b\r\n", r#"{"A":1}"#);
    assert_eq!(reply.header("x-rpcx-meta"), Some("back=a%20b"));
    let reply = call("Arith", "Fail", "", "{}");
    assert_eq!((reply.status, reply.header("x-rpcx-errormessage")), (500, Some("boom")));
    assert_eq!(reply.header("x-rpcx-messagestatustype"), Some("Error"));
    let reply = call("None", "Mul", "", "{}");
    assert_eq!(reply.header("x-rpcx-errormessage"), Some("rpcx: can't find service None"));
    let reply = call("Arith", "None", "", "{}");
    assert_eq!(reply.header("x-rpcx-errormessage"), Some("rpcx: can't find method None"));
    let reply = call("Secret", "Mul", "", "{}");
    assert_eq!((reply.status, reply.header("x-rpcx-errormessage")), (401, Some("who are you?")));
    let reply = call("Secret", "Mul", "Authorization: Bearer tok\r\n", r#"{"A":2,"B":2}"#);
    assert_eq!((reply.status, &*reply.text()), (200, r#"{"C":4}"#));
    let reply = call("Arith", "Mul", "X-RPCX-Oneway: true\r\n", r#"{"A":2,"B":2}"#);
    assert_eq!((reply.status, &*reply.text()), (200, ""));
    // The path may name the service.
    let fields = "X-RPCX-ServiceMethod: Mul\r\nX-RPCX-SerializeType: 1\r\n";
    assert_eq!(post(&server, "/Arith", fields, r#"{"A":3,"B":3}"#).text(), r#"{"C":9}"#);
    let reply = post(&server, "/", "X-RPCX-ServicePath: Arith\r\n", "{}");
    assert_eq!(
        (reply.status, reply.header("x-rpcx-errormessage")),
        (200, Some("empty servicemethod"))
    );
}

#[test]
fn json_rpc_is_spoken() {
    let server = serve_http();
    let ask = |content: &str| post(&server, "/", "X-JSONRPC-2.0: true\r\n", content).text();
    for (content, answer) in [
        (
            r#"{"jsonrpc":"2.0","method":"Arith.Mul","params":{"A":6,"B":7},"id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"C":42}}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","method":"Arith.Mul","id":"a"}"#,
            r#"{"jsonrpc":"2.0","id":"a","result":{"C":0}}"#,
        ),
        (r#"{"jsonrpc":"2.0","method":"Arith.Mul","params":{"A":6,"B":7}}"#, ""),
    ] {
        assert_eq!(ask(content), answer);
    }
    for (content, code) in [
        ("{", -32700),
        ("[]", -32700),
        (r#"{"jsonrpc":"1.0","method":"Arith.Mul","id":1}"#, -32700),
        (r#"{"jsonrpc":"2.0","method":"Mul","id":1}"#, -32601),
        (r#"{"jsonrpc":"2.0","method":"None.Mul","id":1}"#, -32603),
        (r#"{"jsonrpc":"2.0","method":"Arith.Fail","id":1}"#, -32603),
        (r#"{"jsonrpc":"2.0","method":"Secret.Mul","id":1}"#, -32603),
    ] {
        assert!(ask(content).contains(&format!("\"code\":{code}")), "{content}: {}", ask(content));
    }
}

#[tokio::test]
async fn one_port_speaks_all_protocols() {
    let server = serve_http();
    // rpcx, and its way in by HTTP.
    for at in ["", "http@"] {
        let client = hemi_rpc::Client::to(&format!("{at}{}", server.addr())).unwrap();
        let reply: crate::services::Reply =
            client.ask("Arith", "Mul").call(&crate::services::Args { a: 6, b: 7 }).await.unwrap();
        assert_eq!(reply.c, 42);
    }
    // Connect, by a plain request; the guard is asked too.
    let json = "Content-Type: application/json\r\n";
    assert_eq!(post(&server, "/Arith/Mul", json, r#"{"A":6,"B":7}"#).text(), r#"{"C":42}"#);
    assert_eq!(post(&server, "/Secret/Mul", json, "{}").status, 401);
    // gRPC, by HTTP/2.
    let mut grpc = tonic::client::Grpc::new(GrpcChannel::to(&server.addr().to_string()).unwrap());
    let twice = crate::services::StringValue { value: "ab".to_owned() };
    let codec = tonic_prost::ProstCodec::<_, crate::services::StringValue>::default();
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/Proto/Double");
    let reply = grpc.unary(tonic::Request::new(twice), path, codec).await.unwrap();
    assert_eq!(reply.into_inner().value, "abab");
    // What is none of them.
    assert_eq!(post(&server, "/", "", "").status, 404);
}
