//! Messages that are compressed.

use bytes::BytesMut;
use hemi_core::config::Size;
use hemi_proto::websocket::deflate::{Deflater, agreed};
use hemi_proto::websocket::{Header, Opcode, Role};
use hemi_web::testing::TestSocket;
use hemi_web::{Compression, CompressionWindow, WebSocketConfig};
use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_EXTENSIONS};

use super::{server, server_with};

fn compressing(compression: Compression, window: u8) -> WebSocketConfig {
    WebSocketConfig {
        compression,
        compression_window: CompressionWindow::try_from(window).unwrap(),
        ..WebSocketConfig::default()
    }
}

#[tokio::test]
async fn messages_come_back_whatever_is_agreed_on() {
    #[rustfmt::skip]
    let offers = [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=12",
        "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10",
        "x-unknown, permessage-deflate; client_no_context_takeover; client_max_window_bits",
    ];
    for config in [
        compressing(Compression::Stateless, 15),
        compressing(Compression::Stateful, 15),
        compressing(Compression::Stateful, 9),
    ] {
        let server = server_with(config);
        for offer in offers {
            let fields = [("sec-websocket-extensions", offer)];
            let mut client =
                TestSocket::connect_with(server.address(), "/", &fields).await.unwrap();
            let answer = client.header("sec-websocket-extensions").unwrap();
            assert!(answer.starts_with("permessage-deflate"), "{answer}");
            for len in [0, 1, 16, 64, 256, 1024, 4096, 8192, 16384, 65536, 131_072] {
                let text: String = ('a'..='z').cycle().take(len).collect();
                let noise: Vec<u8> =
                    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
                for _ in 0..2 {
                    client.send(text.clone()).await.unwrap();
                    client.send(noise.clone()).await.unwrap();
                    assert!(
                        client.recv().await.unwrap() == Some(text.clone().into()),
                        "{offer} {len}"
                    );
                    assert!(
                        client.recv().await.unwrap() == Some(noise.clone().into()),
                        "{offer} {len}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn fragments_are_compressed_as_one_message() {
    let server = server_with(compressing(Compression::Stateful, 15));
    let fields = [("sec-websocket-extensions", "permessage-deflate")];
    let mut client = TestSocket::connect_with(server.address(), "/", &fields).await.unwrap();
    let answer = HeaderValue::from_str(client.header("sec-websocket-extensions").unwrap()).unwrap();
    let answer = agreed(&HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, answer)])).unwrap();
    let mut deflater = Deflater::new(Role::Client, &answer.unwrap(), 6);
    let text = "one two three ".repeat(1000);
    for size in [1, 7, 30] {
        let compressed = deflater.deflate(text.as_bytes()).unwrap();
        let mut frames = BytesMut::new();
        let count = compressed.len().div_ceil(size);
        for (n, piece) in compressed.chunks(size).enumerate() {
            let opcode = if n == 0 { Opcode::Text } else { Opcode::Continuation };
            let (fin, compressed, mask) = (n + 1 == count, n == 0, Some([n as u8; 4]));
            Header { fin, compressed, opcode, mask }.put_frame(piece, &mut frames);
        }
        client.bytes(&frames).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some(text.clone().into()), "{size}");
    }
}

#[tokio::test]
async fn nothing_is_compressed_unless_both_like_it() {
    let fields = [("sec-websocket-extensions", "permessage-deflate")];
    let server = server();
    let mut client = TestSocket::connect_with(server.address(), "/", &fields).await.unwrap();
    assert_eq!(client.header("sec-websocket-extensions"), None);
    client.frame(Header { compressed: true, ..Header::whole(Opcode::Text) }, b"\0").await.unwrap();
    assert_eq!(client.closed().await.unwrap().unwrap().code.number(), 1002);
    let server = server_with(compressing(Compression::Stateless, 15));
    let client = TestSocket::connect(server.address(), "/").await.unwrap();
    assert_eq!(client.header("sec-websocket-extensions"), None);
}

#[tokio::test]
async fn bombs_and_rubbish_are_refused() {
    let mut config = compressing(Compression::Stateless, 15);
    config.max_message_size = Size(1 << 20);
    let server = server_with(config);
    let fields = [("sec-websocket-extensions", "permessage-deflate")];
    let header = Header { compressed: true, ..Header::whole(Opcode::Binary) };
    for (len, code) in [(1 << 20, None), ((1 << 20) + 1, Some(1009)), (100 << 20, Some(1009))] {
        let mut client = TestSocket::connect_with(server.address(), "/", &fields).await.unwrap();
        // It is sent compressed.
        client.send(vec![0; len]).await.unwrap();
        match code {
            None => assert_eq!(client.recv().await.unwrap().unwrap().as_bytes().len(), len),
            Some(code) => {
                assert_eq!(client.closed().await.unwrap().unwrap().code.number(), code);
            }
        }
    }
    let mut client = TestSocket::connect_with(server.address(), "/", &fields).await.unwrap();
    client.frame(header, &[0xff; 30]).await.unwrap();
    assert_eq!(client.closed().await.unwrap().unwrap().code.number(), 1007);
}
