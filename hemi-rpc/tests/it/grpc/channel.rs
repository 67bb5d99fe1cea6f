//! Our channel, under clients that tonic-build has made, against servers of others and our own.

use std::future::pending;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use hemi_rpc::{
    Asking, Fault, GrpcChannel, GrpcChannelConfig, GrpcLimits, NodeInfo, Refusal, Retry,
    RpcxServer, ServiceConfig, Several,
};
use rpc_interop::proto::test_service_client::TestServiceClient;
use rpc_interop::proto::unimplemented_service_client::UnimplementedServiceClient;
use rpc_interop::proto::{
    EchoStatus, Empty, Payload, ResponseParameters, SimpleRequest, StreamingInputCallRequest,
    StreamingOutputCallRequest,
};
use tokio::net::TcpListener;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

use super::peers::go_peer;
use super::{interop, serve_grpc};
use crate::client::runtime;
use crate::server::serve_this;

type Client = TestServiceClient<GrpcChannel>;

fn payload(size: usize) -> Option<Payload> {
    Some(Payload { r#type: 0, body: vec![0; size] })
}

fn outputs(sizes: &[i32], interval_us: i32) -> StreamingOutputCallRequest {
    let parameter = |&size| ResponseParameters { size, interval_us, compressed: None };
    StreamingOutputCallRequest {
        response_parameters: sizes.iter().map(parameter).collect(),
        ..StreamingOutputCallRequest::default()
    }
}

fn failing(code: i32, message: &str) -> Option<EchoStatus> {
    Some(EchoStatus { code, message: message.to_owned() })
}

const SIZES: [i32; 4] = [31415, 9, 2653, 58979];

/// Each of the cases that clients of gRPC are tried with.
async fn every_case(channel: GrpcChannel) {
    let mut client = Client::new(channel.clone()).max_decoding_message_size(16 << 20);
    // empty_unary, large_unary
    client.empty_call(Empty {}).await.unwrap();
    let large = || SimpleRequest {
        response_size: 314_159,
        payload: payload(271_828),
        ..SimpleRequest::default()
    };
    let reply = client.unary_call(large()).await.unwrap().into_inner();
    assert_eq!(reply.payload.unwrap().body.len(), 314_159);
    // client_streaming
    let input =
        |size| StreamingInputCallRequest { payload: payload(size), expect_compressed: None };
    let inputs = stream::iter([27182, 8, 1828, 45904]).map(input);
    let reply = client.streaming_input_call(inputs).await.unwrap().into_inner();
    assert_eq!(reply.aggregated_payload_size, 74922);
    // server_streaming
    let mut replies = client.streaming_output_call(outputs(&SIZES, 0)).await.unwrap().into_inner();
    for size in SIZES {
        let reply = replies.message().await.unwrap().unwrap();
        assert_eq!(reply.payload.unwrap().body.len(), size as usize);
    }
    assert!(replies.message().await.unwrap().is_none());
    // ping_pong
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = stream::unfold(requests, async |mut requests| {
        let next: Option<StreamingOutputCallRequest> = requests.recv().await;
        next.map(|next| (next, requests))
    });
    sender.send(outputs(&SIZES[..1], 0)).await.unwrap();
    let mut replies = client.full_duplex_call(requests).await.unwrap().into_inner();
    for (at, size) in SIZES.iter().enumerate() {
        let reply = replies.message().await.unwrap().unwrap();
        assert_eq!(reply.payload.unwrap().body.len(), *size as usize);
        if let Some(next) = SIZES.get(at + 1) {
            sender.send(outputs(&[*next], 0)).await.unwrap();
        }
    }
    drop(sender);
    assert!(replies.message().await.unwrap().is_none());
    // empty_stream
    let none = stream::iter(Vec::<StreamingOutputCallRequest>::new());
    let mut replies = client.full_duplex_call(none).await.unwrap().into_inner();
    assert!(replies.message().await.unwrap().is_none());
    metadata_and_errors(&mut client, channel).await;
    // timeout_on_sleeping_server, cancel_after_begin, cancel_after_first_response
    let mut request = Request::new(outputs(&[1], 60_000_000));
    request.set_timeout(Duration::from_millis(200));
    let late = async { client.streaming_output_call(request).await?.into_inner().message().await };
    assert_eq!(late.await.unwrap_err().code(), Code::DeadlineExceeded);
    let waiting = tokio::spawn({
        let mut client = client.clone();
        async move { client.streaming_input_call(stream::once(pending())).await }
    });
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    let forever = stream::iter([outputs(&[1], 0)]).chain(stream::once(pending()));
    let mut replies = client.full_duplex_call(forever).await.unwrap().into_inner();
    replies.message().await.unwrap().unwrap();
    drop(replies);
    // Many at once.
    let calls = (0..500).map(|size| {
        let mut client = client.clone();
        async move {
            let request = SimpleRequest { response_size: size * 10, ..SimpleRequest::default() };
            let reply = client.unary_call(request).await.unwrap().into_inner();
            assert_eq!(reply.payload.unwrap().body.len(), size as usize * 10);
        }
    });
    futures_util::future::join_all(calls).await;
}

async fn metadata_and_errors(client: &mut Client, channel: GrpcChannel) {
    // custom_metadata
    let mut request = Request::new(SimpleRequest::default());
    request.metadata_mut().insert("x-grpc-test-echo-initial", "hi".parse().unwrap());
    let bytes = MetadataValue::from_bytes(b"\xab\xab\xab");
    request.metadata_mut().insert_bin("x-grpc-test-echo-trailing-bin", bytes.clone());
    let reply = client.unary_call(request).await.unwrap();
    assert_eq!(reply.metadata().get("x-grpc-test-echo-initial").unwrap(), "hi");
    let back = reply.metadata().get_bin("x-grpc-test-echo-trailing-bin").unwrap();
    assert_eq!(
        back.to_bytes().unwrap(),
        "\u{ab}".chars().map(|c| c as u8).collect::<Vec<_>>().repeat(3)
    );
    // status_code_and_message, special_status_message
    for text in
        ["test status message", "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"]
    {
        let status = failing(2, text);
        let request = SimpleRequest { response_status: status.clone(), ..SimpleRequest::default() };
        let failed = client.unary_call(request).await.unwrap_err();
        assert_eq!((failed.code(), failed.message()), (Code::Unknown, text));
        let request = StreamingOutputCallRequest { response_status: status, ..outputs(&[], 0) };
        let replies = client.full_duplex_call(stream::iter([request])).await;
        let failed = match replies {
            Ok(replies) => replies.into_inner().message().await.unwrap_err(),
            Err(failed) => failed,
        };
        assert_eq!((failed.code(), failed.message()), (Code::Unknown, text));
    }
    // unimplemented_method, unimplemented_service
    let failed = client.unimplemented_call(Empty {}).await.unwrap_err();
    assert_eq!(failed.code(), Code::Unimplemented);
    let failed = UnimplementedServiceClient::new(channel).unimplemented_call(Empty {}).await;
    assert_eq!(failed.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn every_case_of_our_server_is_good() {
    let server = serve_grpc(GrpcLimits::default());
    every_case(GrpcChannel::to(&server.addr().to_string()).unwrap()).await;
}

#[tokio::test]
async fn every_case_is_good_at_the_port_of_rpcx() {
    let server = RpcxServer::new("127.0.0.1:0".parse().unwrap()).grpc_service(interop()).http();
    let server = serve_this(server);
    every_case(GrpcChannel::to(&format!("hrpc@{}", server.addr())).unwrap()).await;
    every_case(GrpcChannel::to(&server.addr().to_string()).unwrap()).await;
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_up_no_other() {
    let server = RpcxServer::new("127.0.0.1:0".parse().unwrap()).grpc_service(interop());
    let server = serve_this(server);
    let channel = GrpcChannel::to(&format!("hrpc@{}", server.addr())).unwrap();
    let mut client = Client::new(channel);
    let sizes = [50_000; 100];
    let replies = client.streaming_output_call(outputs(&sizes, 0)).await;
    let mut replies = replies.unwrap().into_inner();
    for _ in 0..20 {
        client.empty_call(Empty {}).await.unwrap();
    }
    for size in sizes {
        let reply = replies.message().await.unwrap().unwrap();
        assert_eq!(reply.payload.unwrap().body.len(), size as usize);
    }
    assert!(replies.message().await.unwrap().is_none());
}

/// More than a server takes on one connection, and what all have sent is more than most windows are.
#[tokio::test]
async fn answers_that_nobody_takes_hold_up_no_other() {
    let server = serve_grpc(GrpcLimits::default());
    let channel = GrpcChannel::to(&server.addr().to_string()).unwrap();
    let mut client = Client::new(channel);
    let sizes = [50_000; 3];
    let mut untaken = Vec::new();
    for _ in 0..150 {
        let forever = stream::iter([outputs(&sizes, 0)]).chain(stream::once(pending()));
        untaken.push(client.full_duplex_call(forever).await.unwrap().into_inner());
    }
    for _ in 0..20 {
        client.empty_call(Empty {}).await.unwrap();
    }
    for mut replies in untaken {
        for size in sizes {
            let reply = replies.message().await.unwrap().unwrap();
            assert_eq!(reply.payload.unwrap().body.len(), size as usize);
        }
    }
}

#[tokio::test]
async fn guards_are_asked_at_the_port_of_rpcx() {
    let guard = |asking: &Asking<'_>| match asking.token() {
        Some(b"Bearer tok") => Ok(()),
        _ => Err(Refusal::Call(Fault::new("who are you?"))),
    };
    let server = RpcxServer::new("127.0.0.1:0".parse().unwrap()).grpc_service(interop());
    let server = serve_this(server.http().guard(guard));
    for address in [format!("hrpc@{}", server.addr()), server.addr().to_string()] {
        let mut client = Client::new(GrpcChannel::to(&address).unwrap());
        let refused = client.empty_call(Empty {}).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, "who are you?"));
        let mut request = Request::new(Empty {});
        request.metadata_mut().insert("authorization", "Bearer tok".parse().unwrap());
        client.empty_call(request).await.unwrap();
    }
}

/// The server in Go.
struct Peer(Child, SocketAddr);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve_in_go(address: &str) -> Option<Peer> {
    let mut peer = Command::new(go_peer()?);
    let mut peer = peer.args(["serve", address]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(peer.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Some(Peer(peer, line.trim().parse().unwrap()))
}

#[tokio::test]
async fn every_case_of_a_server_in_go_is_good() {
    let Some(peer) = serve_in_go("127.0.0.1:0") else { return };
    every_case(GrpcChannel::to(&peer.1.to_string()).unwrap()).await;
}

#[tokio::test]
async fn calls_go_around_nodes_that_are_not_there() {
    let (one, other) = (serve_grpc(GrpcLimits::default()), serve_grpc(GrpcLimits::default()));
    // Nobody listens, but the port is nobody else's.
    let held = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("127.0.0.2:{}", held.local_addr().unwrap().port());
    let nodes = Several::at([dead, one.addr().to_string(), other.addr().to_string()]);
    let mut client = Client::new(GrpcChannel::over(&nodes, GrpcChannelConfig::default()));
    for _ in 0..20 {
        client.empty_call(Empty {}).await.unwrap();
    }
    for server in [&one, &other] {
        assert!(server.counter("calls") >= 5, "{}", server.counter("calls"));
    }
    nodes.update([]);
    assert_eq!(client.empty_call(Empty {}).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn calls_are_made_again_if_that_is_wanted() {
    let server = serve_grpc(GrpcLimits::default());
    let calls = |retry: Retry| {
        let config = GrpcChannelConfig { retry, ..GrpcChannelConfig::default() };
        let nodes = Several::at([server.addr().to_string()]);
        let mut client = Client::new(GrpcChannel::over(&nodes, config));
        let before = server.counter("calls");
        let server = &server;
        async move {
            let response_status = failing(Code::Unavailable as i32, "not now");
            let request = SimpleRequest { response_status, ..SimpleRequest::default() };
            let failed: Status = client.unary_call(request).await.unwrap_err();
            assert_eq!((failed.code(), failed.message()), (Code::Unavailable, "not now"));
            server.counter("calls") - before
        }
    };
    assert_eq!(calls(Retry::default()).await, 1);
    let quick = Duration::from_millis(1);
    let retry = Retry { attempts: 3, first_pause: quick, ..Retry::default() };
    assert_eq!(calls(retry.clone()).await, 3);
    assert_eq!(calls(Retry { codes: vec![Code::Aborted], ..retry }).await, 1);
}

/// A client of these nodes whose methods are called as this service config says.
fn configured(nodes: &Several, method_config: &str) -> Client {
    let json = format!(r#"{{"methodConfig": [{method_config}]}}"#);
    let service_config = Some(ServiceConfig::parse(&json).unwrap());
    let config = GrpcChannelConfig { service_config, ..GrpcChannelConfig::default() };
    Client::new(GrpcChannel::over(nodes, config))
}

const NAMED: &str = r#""name": [{"service": "grpc.testing.TestService", "method": "UnaryCall"}]"#;

#[tokio::test]
async fn a_service_config_says_what_is_called_again() {
    let server = serve_grpc(GrpcLimits::default());
    let nodes = Several::at([server.addr().to_string()]);
    let calls = |method_config: String, code: Code| {
        let mut client = configured(&nodes, &method_config);
        let before = server.counter("calls");
        let server = &server;
        async move {
            let response_status = failing(code as i32, "not now");
            let request = SimpleRequest { response_status, ..SimpleRequest::default() };
            let failed: Status = client.unary_call(request).await.unwrap_err();
            assert_eq!((failed.code(), failed.message()), (code, "not now"));
            server.counter("calls") - before
        }
    };
    let retry = r#""retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.001s", "maxBackoff": "0.01s",
        "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}"#;
    let hedging = r#""hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "3600s",
        "nonFatalStatusCodes": ["UNAVAILABLE"]}"#;
    for (policy, made) in [(retry, 4), (hedging, 3)] {
        assert_eq!(calls(format!("{{{NAMED}, {policy}}}"), Code::Unavailable).await, made);
        assert_eq!(calls(format!("{{{NAMED}, {policy}}}"), Code::Aborted).await, 1);
        let other = NAMED.replace("UnaryCall", "EmptyCall");
        assert_eq!(calls(format!("{{{other}, {policy}}}"), Code::Unavailable).await, 1);
    }
}

#[tokio::test]
async fn a_service_config_says_how_long_a_call_may_take() {
    let server = serve_grpc(GrpcLimits::default());
    let nodes = Several::at([server.addr().to_string()]);
    let mut client = configured(&nodes, r#"{"name": [{}], "timeout": "0.2s"}"#);
    let never = outputs(&[1], 1_000_000_000);
    let late = async { client.streaming_output_call(never).await?.into_inner().message().await };
    assert_eq!(late.await.unwrap_err().code(), Code::DeadlineExceeded);
}

/// One of two nodes takes calls, and never answers.
#[tokio::test]
async fn calls_that_are_hedged_wait_for_no_node() {
    let server = serve_grpc(GrpcLimits::default());
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nodes = [silent.local_addr().unwrap().to_string(), server.addr().to_string()];
    let hedging = r#""hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "0.01s"}"#;
    let mut client = configured(&Several::at(nodes), &format!(r#"{{"name": [{{}}], {hedging}}}"#));
    for _ in 0..10 {
        client.empty_call(Empty {}).await.unwrap();
    }
}

#[tokio::test]
async fn calls_wait_for_a_node_if_a_service_config_says_so() {
    let server = serve_grpc(GrpcLimits::default());
    let nodes = Several::at(Vec::<String>::new());
    let mut hasty = configured(&nodes, "");
    assert_eq!(hasty.empty_call(Empty {}).await.unwrap_err().code(), Code::Unavailable);
    let mut client = configured(&nodes, r#"{"name": [{}], "waitForReady": true}"#);
    let (called, ()) = tokio::join!(client.empty_call(Empty {}), async {
        nodes.update([NodeInfo::new(server.addr().to_string())]);
    });
    called.unwrap();
}

#[test]
fn who_hangs_up_before_there_is_an_answer_has_cancelled_the_call() {
    let server = serve_grpc(GrpcLimits::default());
    let address = server.addr().to_string();
    let (hang_up, told) = tokio::sync::oneshot::channel::<()>();
    let caller = std::thread::spawn(move || {
        runtime().block_on(async {
            let mut client = Client::new(GrpcChannel::to(&address).unwrap());
            tokio::select! {
                answer = client.streaming_input_call(stream::once(pending())) => panic!("{answer:?}"),
                _ = told => {}
            }
        });
    });
    server.await_counter("calls", 1);
    hang_up.send(()).unwrap();
    caller.join().unwrap();
    server.await_counter("ended", 1);
    assert_eq!(server.counter("failed"), 1);
}
