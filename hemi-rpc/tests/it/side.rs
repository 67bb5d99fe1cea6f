//! Streams and files beside calls: ours, and those of Go.

use std::sync::{Arc, Mutex};

use hemi_rpc::{Client, ClientConfig, Endpoint, RpcxServer, SideFile, SideMeta, SideStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{go_server, runtime};
use crate::go::{go_peer, run};
use crate::server::{LONG, Running, serve_this};
use crate::services::Arith;

/// Sends back what comes, behind what was said of it: as the peer in Go does.
async fn capitals(mut stream: SideStream, meta: SideMeta) {
    let greeting = meta.get("greeting").cloned().unwrap_or_default();
    let mut buf = vec![0; 4096];
    let mut bytes = greeting.into_bytes();
    loop {
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
        match stream.read(&mut buf).await {
            Ok(read @ 1..) => bytes = buf[..read].to_ascii_uppercase(),
            _ => break,
        }
    }
    let _ = stream.shutdown().await;
}

/// As the peer in Go has it; what was uploaded, or has broken off, is kept.
fn serve_beside() -> (Running, Arc<Mutex<Vec<String>>>) {
    let files = Arc::new(Mutex::new(Vec::new()));
    let (kept, given) = (files.clone(), files.clone());
    let server = RpcxServer::new("127.0.0.1:0".parse().unwrap()).service(Arith);
    let server = server
        .streams(capitals)
        .uploads(move |mut stream, file| {
            let kept = kept.clone();
            async move {
                let mut content = String::new();
                let read = stream.read_to_string(&mut content).await;
                let more = file.meta.get("more").cloned().unwrap_or_default();
                let all = match read {
                    Ok(_) => file.name + &more + &content,
                    Err(e) => format!("{}: {:?}", file.name, e.kind()),
                };
                kept.lock().unwrap().push(all);
            }
        })
        .downloads(move |mut stream, file| {
            let given = given.clone();
            async move {
                let content = loop {
                    if file.name != "uploaded" {
                        break file.name.repeat(10_000);
                    }
                    if let Some(last) = given.lock().unwrap().pop() {
                        break last;
                    }
                    // It is still on its way.
                    tokio::task::yield_now().await;
                };
                stream.write_all(content.as_bytes()).await.unwrap();
                let _ = stream.shutdown().await;
            }
        });
    (serve_this(server), files)
}

async fn everything(client: &Client) {
    let meta = SideMeta::from([("greeting".to_owned(), "hi ".to_owned())]);
    let (mut reader, mut writer) = tokio::io::split(client.stream(meta).await.unwrap());
    let text = "ab".repeat(50_000);
    let sent = async {
        writer.write_all(text.as_bytes()).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut back = String::new();
    let (_, read) = tokio::join!(sent, reader.read_to_string(&mut back));
    read.unwrap();
    assert!(back == format!("hi {}", text.to_uppercase()), "{}", back.len());
    let content = "content".repeat(777);
    let meta = SideMeta::from([("more".to_owned(), "+".to_owned())]);
    let file = SideFile { name: "name".to_owned(), size: content.len() as u64, meta };
    client.send_file(file, content.as_bytes()).await.unwrap();
    for (name, expected) in [("uploaded", format!("name+{content}")), ("abc", "abc".repeat(10_000))]
    {
        let mut file = client.download(name, SideMeta::new()).await.unwrap();
        let mut back = String::new();
        file.read_to_string(&mut back).await.unwrap();
        assert!(back == expected, "{name}: {}", back.len());
    }
}

fn client(address: &str) -> Client {
    let config = ClientConfig { connect_timeout: LONG, ..ClientConfig::default() };
    Client::new(address.parse::<Endpoint>().unwrap(), config)
}

#[test]
fn streams_and_files_go_both_ways() {
    let (server, _) = serve_beside();
    for by in ["tcp", "hrpc", "http"] {
        runtime().block_on(everything(&client(&format!("{by}@{}", server.addr()))));
    }
}

#[test]
fn a_client_in_go_has_streams_and_files() {
    let Some(peer) = go_peer() else { return };
    let (server, _) = serve_beside();
    run(&peer, &["beside", &server.addr().to_string()]);
}

#[test]
fn a_server_in_go_has_streams_and_files() {
    let Some(server) = go_server() else { return };
    runtime().block_on(everything(&client(&server.addr().to_string())));
}

#[test]
fn a_token_is_good_once_and_whole() {
    let (server, files) = serve_beside();
    // What is no token, and what was none.
    for bytes in [&[0xa9; 32][..], &[0xa9; 100]] {
        let mut stranger = server.connect();
        stranger.send(bytes).expect_close();
    }
    server.await_counter("rpc_refused", 2);
    // A file that breaks off.
    runtime().block_on(async {
        let client = client(&server.addr().to_string());
        let file = SideFile { name: "cut".to_owned(), size: 100, meta: SideMeta::new() };
        assert!(client.send_file(file, &b"some"[..]).await.is_err());
        let nothing = SideFile { name: "none".to_owned(), size: 0, meta: SideMeta::new() };
        client.send_file(nothing, &b""[..]).await.unwrap();
    });
    let kept = || {
        let mut kept = files.lock().unwrap().clone();
        kept.sort_unstable();
        kept == ["cut: UnexpectedEof", "none"]
    };
    assert!(hemi_test::eventually(LONG, kept), "{files:?}");
    // What is said besides has to wait with the token.
    runtime().block_on(async {
        let client = client(&server.addr().to_string());
        for (bytes, is_taken) in [(8000, true), (8200, false)] {
            let meta = SideMeta::from([("k".to_owned(), "v".repeat(bytes))]);
            let told = client.stream(meta).await;
            assert_eq!(told.is_ok(), is_taken, "{bytes}: {:?}", told.err());
        }
    });
    // A server without streams closes the connection, as it does for all that is no rpcx.
    let plain = crate::server::serve();
    plain.connect().send([0xa9; 32]).expect_close();
    plain.await_counter("rpc_malformed", 1);
}
