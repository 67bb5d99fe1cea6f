//! Messages, fragments and text.

use bytes::{Bytes, BytesMut};
use hemi_proto::websocket::{Header, Incoming, Opcode};
use hemi_web::Message;
use hemi_web::testing::TestSocket;

use super::{connect, server};

fn fragment(fin: bool, opcode: Opcode) -> Header {
    Header { fin, ..Header::whole(opcode) }
}

#[tokio::test]
async fn messages_of_all_lengths_come_back() {
    let (_server, mut client) = connect().await;
    for len in [0, 1, 16, 125, 126, 127, 128, 4095, 4096, 4097, 65535, 65536] {
        let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
        client.send(data.clone()).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some(data.into()), "{len}");
        let text = "*".repeat(len);
        client.send(text.clone()).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some(text.into()), "{len}");
    }
    // In pieces, as slow networks have them.
    let mut frame = BytesMut::new();
    let header = Header { mask: Some([1, 2, 3, 4]), ..Header::whole(Opcode::Text) };
    header.put_frame(&[b'x'; 300], &mut frame);
    for byte in frame {
        client.bytes(&[byte]).await.unwrap();
    }
    assert_eq!(client.recv().await.unwrap(), Some("x".repeat(300).into()));
}

#[tokio::test]
async fn many_messages_at_once_come_back_in_order() {
    let (_server, mut client) = connect().await;
    let mut frames = BytesMut::new();
    for n in 0..5000 {
        let header = Header { mask: Some([n as u8; 4]), ..Header::whole(Opcode::Text) };
        header.put_frame(n.to_string().as_bytes(), &mut frames);
    }
    client.bytes(&frames).await.unwrap();
    for n in 0..5000 {
        assert_eq!(client.recv().await.unwrap().unwrap().as_text(), Some(&*n.to_string()));
    }
}

#[tokio::test]
async fn large_messages_come_back() {
    let (_server, mut client) = connect().await;
    let data: Bytes = (0..16u32 << 20).map(|n| (n >> 7) as u8).collect();
    client.send(data.clone()).await.unwrap();
    assert!(client.recv().await.unwrap() == Some(data.clone().into()));
    for size in [64, 1 << 20] {
        let part = data.slice(..4 << 20);
        let mut frames = BytesMut::new();
        let pieces = part.len() / size;
        for (n, piece) in part.chunks(size).enumerate() {
            let opcode = if n == 0 { Opcode::Binary } else { Opcode::Continuation };
            let fin = n + 1 == pieces;
            Header { mask: Some([n as u8; 4]), ..fragment(fin, opcode) }
                .put_frame(piece, &mut frames);
        }
        client.bytes(&frames).await.unwrap();
        assert!(client.recv().await.unwrap() == Some(part.into()), "{size}");
    }
}

#[tokio::test]
async fn pings_are_answered() {
    let (_server, mut client) = connect().await;
    for payload in [&b""[..], b"Hello", &[0xff; 125]] {
        client.frame(Header::whole(Opcode::Ping), payload).await.unwrap();
        let pong = Incoming::Pong(Bytes::copy_from_slice(payload));
        assert_eq!(client.incoming().await.unwrap(), pong);
    }
    // Nobody asked for this, and nobody minds.
    client.frame(Header::whole(Opcode::Pong), b"unasked").await.unwrap();
    for n in 0..10u8 {
        client.frame(Header::whole(Opcode::Ping), &[n]).await.unwrap();
    }
    for n in 0..10u8 {
        assert_eq!(client.incoming().await.unwrap(), Incoming::Pong(Bytes::from(vec![n])));
    }
}

#[tokio::test]
async fn fragments_become_a_message() {
    let (_server, mut client) = connect().await;
    for pieces in
        [&["fragment1", "fragment2"][..], &["", "", ""], &["", "b", ""], &["a", "", "c", "d"]]
    {
        for ping in [false, true] {
            for (n, piece) in pieces.iter().enumerate() {
                let opcode = if n == 0 { Opcode::Text } else { Opcode::Continuation };
                let header = fragment(n + 1 == pieces.len(), opcode);
                client.frame(header, piece.as_bytes()).await.unwrap();
                if ping && n + 1 < pieces.len() {
                    client.frame(Header::whole(Opcode::Ping), b"between").await.unwrap();
                    let pong = Incoming::Pong("between".into());
                    assert_eq!(client.incoming().await.unwrap(), pong);
                }
            }
            assert_eq!(client.recv().await.unwrap(), Some(pieces.concat().into()));
        }
    }
}

#[tokio::test]
async fn text_is_utf_8_however_it_is_cut() {
    let (_server, mut client) = connect().await;
    let text = "Hello-\u{b5}@\u{df}\u{f6}\u{e4}\u{fc}\u{e0}\u{e1}-UTF-8!! \u{3ba}\u{1f79} \u{10ffff}\u{0}\u{7f}";
    for size in [1, 2, 3, 5, 100] {
        let pieces: Vec<_> = text.as_bytes().chunks(size).collect();
        for (n, piece) in pieces.iter().enumerate() {
            let opcode = if n == 0 { Opcode::Text } else { Opcode::Continuation };
            client.frame(fragment(n + 1 == pieces.len(), opcode), piece).await.unwrap();
        }
        assert_eq!(client.recv().await.unwrap(), Some(Message::from(text)));
    }
}

#[tokio::test]
async fn what_is_no_utf_8_is_refused_at_once() {
    let server = server();
    #[rustfmt::skip]
    let bad: &[&[u8]] = &[
        // 6.3, 6.4: in the middle; 6.6 to 6.23: what is too long, surrogates, beyond U+10FFFF, alone
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80",
        b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf",
        b"\xed\xa0\x80", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbf\xbf", b"\x80", b"\xbf", b"\xfe", b"\xff",
    ];
    for bytes in bad {
        let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
        // More is to come, but need not.
        client.frame(fragment(false, Opcode::Text), bytes).await.unwrap();
        assert_eq!(client.closed().await.unwrap().unwrap().code.number(), 1007, "{bytes:x?}");
        client.ended().await.unwrap();
    }
    // Within a frame too: of this one the end never comes.
    let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
    let head = [0x81, 0xfe, 0x10, 0x00, 0, 0, 0, 0];
    client.bytes(&[&head[..], b"\xce\xba\xf4"].concat()).await.unwrap();
    client.bytes(b"\x90").await.unwrap();
    assert_eq!(client.closed().await.unwrap().unwrap().code.number(), 1007);
    // Characters that are not finished are, at the end.
    for bytes in [&b"\xce"[..], b"\xe1\xbd", b"\xf4\x8f\xbf"] {
        let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
        client.frame(Header::whole(Opcode::Text), bytes).await.unwrap();
        assert_eq!(client.closed().await.unwrap().unwrap().code.number(), 1007);
    }
}

#[tokio::test]
async fn frames_that_can_not_be_are_refused() {
    let server = server();
    #[rustfmt::skip]
    let bad: &[&[u8]] = &[
        // reserved bits
        b"\xc1\x80\0\0\0\0", b"\xa1\x80\0\0\0\0", b"\x91\x80\0\0\0\0", b"\xf1\x80\0\0\0\0", b"\xc9\x80\0\0\0\0", b"\xc8\x80\0\0\0\0",
        // opcodes
        b"\x83\x80\0\0\0\0", b"\x84\x80\0\0\0\0", b"\x85\x80\0\0\0\0", b"\x86\x80\0\0\0\0", b"\x87\x80\0\0\0\0",
        b"\x8b\x80\0\0\0\0", b"\x8c\x80\0\0\0\0", b"\x8d\x80\0\0\0\0", b"\x8e\x80\0\0\0\0", b"\x8f\x80\0\0\0\0",
        // control frames that are long, or in fragments
        b"\x89\xfe\0\x7e\0\0\0\0", b"\x09\x80\0\0\0\0", b"\x0a\x80\0\0\0\0", b"\x08\x80\0\0\0\0",
        // what continues nothing, and a message within another
        b"\x80\x80\0\0\0\0", b"\x00\x80\0\0\0\0", b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", b"\x01\x80\0\0\0\0\x02\x80\0\0\0\0",
        // without a mask; lengths that are longer than need be
        b"\x81\x01a", b"\x89\x00", b"\x82\xfe\0\x7d\0\0\0\0", b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0", b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0",
    ];
    for bytes in bad {
        let mut client = TestSocket::connect(server.address(), "/").await.unwrap();
        // What was right before is answered.
        client.send("before").await.unwrap();
        client.bytes(bytes).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some("before".into()), "{bytes:x?}");
        let close = client.closed().await.unwrap().unwrap();
        assert_eq!(close.code.number(), 1002, "{bytes:x?}");
        client.ended().await.unwrap();
    }
}
