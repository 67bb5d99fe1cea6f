//! Frames read the same however they arrive, within bounds, and messages again after they were written:
//! by both sides, with compression and without.
#![no_main]

use bytes::BytesMut;
use hemi_fuzz::split_piece_size;
use hemi_proto::websocket::deflate::{self, Agreed, Context, Policy, WindowBits};
use hemi_proto::websocket::{
    Decoder, Deflater, Header, Incoming, Inflater, Limits, Message, Opcode, Role, WebSocketError,
};
use http::HeaderMap;
use http::header::{HeaderValue, SEC_WEBSOCKET_EXTENSIONS};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { frame: 3000, message: 4000, fragments: 20 };

fuzz_target!(|input: &[u8]| {
    // The size of pieces, and in the other bits of that byte the side and whether it compresses; then a line
    // with a client's offer, then what was received.
    let Some((size, rest)) = split_piece_size(input) else { return };
    let role = if input[0] & 0x20 == 0 { Role::Server } else { Role::Client };
    let context = if input[0] & 0x40 == 0 { Context::None } else { Context::Kept };
    let Some(end) = rest.iter().position(|&b| b == b'\n') else { return };
    let (offer, bytes) = (&rest[..end], &rest[end + 1..]);
    let agreed = agree(offer, context);
    let whole = read(role, agreed.as_ref(), bytes, bytes.len().max(1));
    let pieces = read(role, agreed.as_ref(), bytes, size);
    assert_eq!(pieces.0, whole.0);
    match agreed {
        None => assert_eq!(pieces.1, whole.1),
        // Of several things that are wrong the first is seen, which may be another where more is
        // decompressed at once.
        Some(_) => assert_eq!(pieces.1.is_err(), whole.1.is_err()),
    }
    let mut deflater = agreed.as_ref().map(|agreed| Deflater::new(other(role), agreed, 6));
    let mut again = decoder(role, agreed.as_ref());
    for incoming in whole.0 {
        let mut wire = write(role, &incoming, deflater.as_mut());
        assert_eq!(again.decode(&mut wire), Ok(Some(incoming)));
        assert!(wire.is_empty());
    }
});

fn agree(offer: &[u8], context: Context) -> Option<Agreed> {
    let value = HeaderValue::from_bytes(offer).ok()?;
    let offer = HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, value)]);
    let agreed = deflate::accept(&offer, Policy { context, window: WindowBits::MAX })?;
    let answer = HeaderValue::try_from(agreed.to_string()).expect("a value");
    let answer = HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, answer)]);
    assert_eq!(deflate::agreed(&answer), Ok(Some(agreed)));
    Some(agreed)
}

fn decoder(role: Role, agreed: Option<&Agreed>) -> Decoder {
    Decoder::new(role, LIMITS).with_inflater(agreed.map(|agreed| Inflater::new(role, agreed)))
}

type Read = (Vec<Incoming>, Result<(), WebSocketError>);

fn read(role: Role, agreed: Option<&Agreed>, bytes: &[u8], size: usize) -> Read {
    let (mut decoder, mut buf, mut all) = (decoder(role, agreed), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(size) {
        buf.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buf) {
                Ok(Some(incoming)) => {
                    if let Incoming::Message(message) = &incoming {
                        assert!(message.as_bytes().len() <= LIMITS.message);
                    }
                    all.push(incoming);
                }
                Ok(None) => break,
                Err(e) => return (all, Err(e)),
            }
        }
        // What waits for more is a head, or a control frame.
        assert!(buf.len() < 14 + 125);
    }
    (all, Ok(()))
}

fn write(role: Role, incoming: &Incoming, deflater: Option<&mut Deflater>) -> BytesMut {
    let mask = (role == Role::Server).then_some([0x37, 0xfa, 0x21, 0x3d]);
    let header = |opcode| Header { mask, ..Header::whole(opcode) };
    let mut wire = BytesMut::new();
    match incoming {
        Incoming::Message(message) => {
            write_message(message, header(message.opcode()), deflater, &mut wire)
        }
        Incoming::Ping(payload) => header(Opcode::Ping).put_frame(payload, &mut wire),
        Incoming::Pong(payload) => header(Opcode::Pong).put_frame(payload, &mut wire),
        Incoming::Close(None) => header(Opcode::Close).put_frame(b"", &mut wire),
        Incoming::Close(Some(close)) => {
            header(Opcode::Close).put_frame(&close.payload(), &mut wire)
        }
    }
    wire
}

/// In fragments, for longer ones than a frame may be.
fn write_message(
    message: &Message,
    header: Header,
    deflater: Option<&mut Deflater>,
    wire: &mut BytesMut,
) {
    let compressed = deflater.and_then(|deflater| deflater.deflate(message.as_bytes()));
    let payload = compressed.as_deref().unwrap_or(message.as_bytes());
    let header = Header { compressed: compressed.is_some(), ..header };
    match payload.split_at_checked(2500) {
        None => header.put_frame(payload, wire),
        Some((first, second)) => {
            Header { fin: false, ..header }.put_frame(first, wire);
            let (opcode, compressed) = (Opcode::Continuation, false);
            Header { opcode, compressed, ..header }.put_frame(second, wire);
        }
    }
}

fn other(role: Role) -> Role {
    match role {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    }
}
