//! The same services by gRPC-Web and by Connect, byte by byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hemi_proto::grpc::frame_head;
use hemi_rpc::GrpcLimits;
use hemi_test::Reply;
use hemi_test::raw::Client;

use super::{serve_by_config, serve_grpc};
use crate::server::Running;

const UNARY: &str = "/grpc.testing.TestService/UnaryCall";
const OUTPUTS: &str = "/grpc.testing.TestService/StreamingOutputCall";

/// What is answered to a POST.
fn post(server: &Running, path: &str, fields: &str, content: &[u8]) -> Reply {
    let mut client = Client::connect(server.addr()).unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n", content.len());
    let head = format!("{head}{fields}\r\nConnection: close\r\n\r\n");
    client.send([head.as_bytes(), content].concat()).unwrap();
    client.read_response().unwrap()
}

fn framed(flags: u8, message: &[u8]) -> Vec<u8> {
    [&frame_head(flags, message.len())[..], message].concat()
}

/// A `SimpleRequest` that asks for three bytes, and what it is answered with.
const ASKS: &[u8] = b"\x10\x03";
const THREE: &[u8] = b"\x0a\x05\x12\x03\0\0\0";

#[test]
fn browsers_get_trailers_as_content() {
    let server = serve_grpc(GrpcLimits::default());
    let web = "Content-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1";
    let answer = post(&server, UNARY, web, &framed(0, ASKS));
    let end = framed(0x80, b"grpc-status: 0\r\n");
    assert_eq!(answer.body, [framed(0, THREE), end.clone()].concat(), "{answer:?}");
    // In base64, of which each side may send several pieces.
    let asked = framed(0, ASKS);
    let (first, rest) = asked.split_at(4);
    let asked = STANDARD.encode(first) + &STANDARD.encode(rest);
    let text = "Content-Type: application/grpc-web-text";
    let answer = post(&server, UNARY, text, asked.as_bytes());
    let content = answer.text();
    let pieces = content.split_inclusive("==").flat_map(|piece| STANDARD.decode(piece));
    assert_eq!(
        pieces.flatten().collect::<Vec<u8>>(),
        [framed(0, THREE), end].concat(),
        "{content}"
    );
    // An answer without messages has it in its head.
    let failing = b"\x3a\x06\x08\x05\x12\x02no";
    let answer = post(&server, UNARY, web, &framed(0, failing));
    assert!(answer.status == 200 && answer.body.is_empty(), "{answer:?}");
    assert_eq!(
        (answer.header("grpc-status"), answer.header("grpc-message")),
        (Some("5"), Some("no"))
    );
}

#[test]
fn connect_is_a_plain_request() {
    let server = serve_grpc(GrpcLimits::default());
    let json = "Content-Type: application/json\r\nConnect-Protocol-Version: 1";
    let answer = post(&server, UNARY, json, br#"{"responseSize": 3, "unknown": 1}"#);
    assert_eq!((answer.status, &*answer.text()), (200, r#"{"payload":{"body":"AAAA"}}"#));
    let answer = post(&server, UNARY, "Content-Type: application/proto", ASKS);
    assert_eq!((answer.status, &*answer.body), (200, THREE));
    let trailing = format!("{json}\r\nX-Grpc-Test-Echo-Trailing-Bin: q6ur");
    let answer = post(&server, UNARY, &trailing, b"{}");
    assert_eq!(answer.header("trailer-x-grpc-test-echo-trailing-bin"), Some("q6ur"));
    for (content, status, told) in [
        (
            r#"{"responseStatus": {"code": 5, "message": "none ☺"}}"#,
            404,
            r#"{"code":"not_found","message":"none ☺"}"#,
        ),
        (r#"{"responseStatus": {"code": 16}}"#, 401, r#"{"code":"unauthenticated"}"#),
        ("[]", 400, r#"{"code":"invalid_argument","#),
        ("{} {}", 400, r#"{"code":"invalid_argument","#),
    ] {
        let answer = post(&server, UNARY, json, content.as_bytes());
        assert!(answer.status == status && answer.text().starts_with(told), "{}", answer.text());
    }
    let unknown = "/grpc.testing.TestService/None";
    assert_eq!(post(&server, unknown, json, b"{}").status, 501);
    assert_eq!(post(&server, "/grpc.testing.None/None", json, b"{}").status, 404);
    assert_eq!(post(&server, UNARY, "Content-Type: text/plain", b"{}").status, 415);
    let late = format!("{json}\r\nConnect-Timeout-Ms: soon");
    assert_eq!(post(&server, UNARY, &late, b"{}").status, 400);
    let long = serve_grpc(GrpcLimits {
        max_message_size: hemi_core::config::Size(10),
        ..GrpcLimits::default()
    });
    assert_eq!(post(&long, UNARY, json, br#"{"responseSize": 3}"#).status, 429);
}

#[test]
fn messages_may_come_in_zstd() {
    let server = serve_grpc(GrpcLimits::default());
    let pack = |bytes: &[u8]| {
        let mut packed = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
        zstd_safe::compress(&mut packed, bytes, 3).unwrap();
        packed
    };
    let unpack = |bytes: &[u8]| {
        let mut plain = Vec::with_capacity(100_000);
        zstd_safe::decompress(&mut plain, bytes).unwrap();
        plain
    };
    let asked = pack(br#"{"responseSize": 60000}"#);
    let json =
        "Content-Type: application/json\r\nContent-Encoding: zstd\r\nAccept-Encoding: gzip, zstd";
    let answer = post(&server, UNARY, json, &asked);
    assert_eq!((answer.status, answer.header("content-encoding")), (200, Some("zstd")));
    let told = unpack(&answer.body);
    assert!(answer.body.len() < 1000 && told.len() > 80_000, "{}", told.len());
    assert!(told.starts_with(br#"{"payload":{"body":"AAAA"#));
    // As streams have it: flags and lengths of what is compressed.
    let stream = "Content-Type: application/connect+proto\r\nConnect-Content-Encoding: zstd";
    let answer = post(&server, OUTPUTS, stream, &framed(1, &pack(b"\x12\x02\x08\x03")));
    assert_eq!(answer.body, [framed(0, THREE), framed(2, b"{}")].concat());
    let answer = post(&server, UNARY, json, b"no zstd");
    assert_eq!(answer.status, 500);
    let bomb = pack(&vec![b' '; 5 << 20]);
    assert_eq!(post(&server, UNARY, json, &bomb).status, 429);
}

#[test]
fn streams_of_connect_end_with_a_frame() {
    let server = serve_grpc(GrpcLimits::default());
    let json = "Content-Type: application/connect+json";
    let asked = framed(0, br#"{"responseParameters": [{"size": 3}, {"size": 0}]}"#);
    let answer = post(&server, OUTPUTS, json, &asked);
    let replies =
        [r#"{"payload":{"body":"AAAA"}}"#, r#"{"payload":{}}"#].map(|r| framed(0, r.as_bytes()));
    assert_eq!(answer.body, [replies.concat(), framed(2, b"{}")].concat(), "{}", answer.text());
    let answer = post(&server, "/grpc.testing.None/None", json, &framed(0, b"{}"));
    let told =
        r#"{"error":{"code":"unimplemented","message":"there is no service grpc.testing.None"}}"#;
    assert_eq!((answer.status, answer.body), (200, framed(2, told.as_bytes())));
}

#[test]
fn services_of_rpcx_are_called_in_json() {
    let server = serve_by_config("");
    let answer = post(&server, "/Echoes/Echo", "Content-Type: application/json", b"[1, 2]");
    assert_eq!((answer.status, &*answer.text()), (200, "[1, 2]"));
}

#[test]
fn who_shows_no_token_is_refused() {
    let server = serve_by_config(".authTokens = \"tok\"");
    let json = "Content-Type: application/json";
    assert_eq!(post(&server, UNARY, json, b"{}").status, 401);
    let shown = format!("{json}\r\nAuthorization: Bearer tok");
    assert_eq!(post(&server, UNARY, &shown, b"{}").status, 200);
}
