use super::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame, masked as the role that receives it expects.
fn frame(to: Role, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    build(to, true, opcode, payload)
}

fn build(to: Role, fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mask = (to == Role::Server).then_some(MASK);
    let mut out = BytesMut::new();
    Header { fin, compressed: false, opcode, mask }.put_frame(payload, &mut out);
    out.to_vec()
}

/// All that is read of bytes that come in pieces of this size.
fn read_in(
    decoder: &mut Decoder,
    bytes: &[u8],
    size: usize,
) -> (Vec<Incoming>, Result<(), WebSocketError>) {
    let (mut all, mut buf) = (Vec::new(), BytesMut::new());
    for piece in bytes.chunks(size) {
        buf.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buf) {
                Ok(Some(incoming)) => all.push(incoming),
                Ok(None) => break,
                Err(e) => return (all, Err(e)),
            }
        }
    }
    (all, Ok(()))
}

fn read(role: Role, limits: Limits, bytes: &[u8]) -> (Vec<Incoming>, Result<(), WebSocketError>) {
    let whole = read_in(&mut Decoder::new(role, limits), bytes, usize::MAX);
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(read_in(&mut Decoder::new(role, limits), bytes, size), whole, "by {size}");
    }
    whole
}

fn text(text: &str) -> Incoming {
    Incoming::Message(Message::Text(text.into()))
}

#[test]
fn the_examples_of_the_rfc() {
    let hello = (vec![text("Hello")], Ok(()));
    let limits = Limits::default();
    #[rustfmt::skip]
    let rows: &[(Role, &[u8])] = &[
        (Role::Client, &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]),
        (Role::Server, &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]),
        (Role::Client, &[0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f]),
    ];
    for (role, bytes) in rows {
        assert_eq!(read(*role, limits, bytes), hello);
    }
    let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(read(Role::Client, limits, &ping).0, [Incoming::Ping("Hello".into())]);
}

#[test]
fn messages_of_all_lengths() {
    for role in [Role::Server, Role::Client] {
        for len in [0, 1, 125, 126, 127, 128, 4096, 65535, 65536, 70_000] {
            let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let (all, result) = read(role, Limits::default(), &frame(role, Opcode::Binary, &data));
            assert_eq!((all, result), (vec![Incoming::Message(data.into())], Ok(())));
        }
    }
}

#[test]
fn control_frames_stand_between_fragments() {
    let role = Role::Server;
    let bytes = [
        build(role, false, Opcode::Text, b"Hel"),
        frame(role, Opcode::Ping, b"1"),
        build(role, false, Opcode::Continuation, b""),
        frame(role, Opcode::Pong, b""),
        build(role, true, Opcode::Continuation, b"lo"),
        frame(role, Opcode::Close, b"\x03\xe8"),
        frame(role, Opcode::Text, b"too late"),
    ];
    let (all, result) = read(role, Limits::default(), &bytes.concat());
    let expected = [
        Incoming::Ping("1".into()),
        Incoming::Pong(Bytes::new()),
        text("Hello"),
        Incoming::Close(Some(crate::websocket::CloseCode::NORMAL.into())),
    ];
    assert_eq!((&all[..], result), (&expected[..], Ok(())));
}

#[test]
fn what_can_not_be_is_refused() {
    let (s, c) = (Role::Server, Role::Client);
    let small = Limits { frame: 10, message: 15, fragments: 3 };
    let fragments = |count: usize, each: &[u8]| {
        let mut all = build(s, false, Opcode::Binary, each);
        all.extend((1..count).flat_map(|_| build(s, false, Opcode::Continuation, each)));
        all
    };
    #[rustfmt::skip]
    let rows: Vec<(Role, Vec<u8>, WebSocketError)> = vec![
        (s, frame(c, Opcode::Text, b"a"), WebSocketError::NotMasked),
        (c, frame(s, Opcode::Text, b"a"), WebSocketError::Masked),
        (s, vec![0xc1, 0x80, 0, 0, 0, 0], WebSocketError::ReservedBit),
        (s, frame(s, Opcode::Continuation, b"a"), WebSocketError::NoMessage),
        (s, [fragments(1, b"a"), frame(s, Opcode::Text, b"a")].concat(), WebSocketError::WithinMessage),
        (s, frame(s, Opcode::Binary, &[0; 11]), WebSocketError::FrameTooBig),
        (s, fragments(2, &[0; 8]), WebSocketError::MessageTooBig),
        (s, fragments(4, b""), WebSocketError::TooManyFragments),
        (s, frame(s, Opcode::Close, b"a"), WebSocketError::CloseLength),
        (s, frame(s, Opcode::Close, b"\x03\xed"), WebSocketError::CloseCode(1005)),
        (s, frame(s, Opcode::Text, b"\xff"), WebSocketError::NotUtf8),
        (s, frame(s, Opcode::Text, b"\xed\xa0\x80"), WebSocketError::NotUtf8),
        (s, frame(s, Opcode::Text, b"a\xce"), WebSocketError::NotUtf8),
    ];
    for (role, bytes, error) in rows {
        assert_eq!(read(role, small, &bytes).1, Err(error));
    }
    // Of a frame that is too long not a byte is waited for.
    let mut head = BytesMut::from(&[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4][..]);
    let mut decoder = Decoder::new(s, Limits::default());
    assert_eq!(decoder.decode(&mut head), Err(WebSocketError::FrameTooBig));
    // After an error there is nothing more.
    assert_eq!(decoder.decode(&mut head), Ok(None));
}

#[test]
fn text_is_checked_as_it_comes() {
    let role = Role::Server;
    // A character in three fragments is well.
    let euro = [
        build(role, false, Opcode::Text, b"\xe2"),
        build(role, false, Opcode::Continuation, b"\x82"),
        build(role, true, Opcode::Continuation, b"\xac"),
    ];
    assert_eq!(read(role, Limits::default(), &euro.concat()), (vec![text("\u{20ac}")], Ok(())));
    // What can't become one is refused before the rest has come: between fragments, and within a frame.
    let bad = [
        build(role, false, Opcode::Text, b"\xce\xba\xf4"),
        build(role, false, Opcode::Continuation, b"\x90"),
    ];
    assert_eq!(read(role, Limits::default(), &bad.concat()).1, Err(WebSocketError::NotUtf8));
    let long = frame(role, Opcode::Text, &[b"ok \xf4\x90", &[b'x'; 100][..]].concat());
    let mut decoder = Decoder::new(role, Limits::default());
    assert_eq!(read_in(&mut decoder, &long[..10], 1).1, Ok(()));
    assert_eq!(read_in(&mut decoder, &long[10..11], 1).1, Err(WebSocketError::NotUtf8));
}
