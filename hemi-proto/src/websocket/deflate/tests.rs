use bytes::BytesMut;
use http::HeaderValue;

use super::*;
use crate::websocket::{Decoder, Header, Incoming, Limits, Message, Opcode, Role, WebSocketError};

fn headers(lines: &[&str]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines {
        map.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_str(line).unwrap());
    }
    map
}

const fn policy(context: Context, bits: u8) -> Policy {
    Policy { context, window: WindowBits(bits) }
}

#[test]
fn offers_are_taken_or_declined() {
    const NONE: Policy = policy(Context::None, 15);
    const KEPT: Policy = policy(Context::Kept, 15);
    const SMALL: Policy = policy(Context::Kept, 11);
    let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    #[rustfmt::skip]
    let rows: &[(&[&str], Policy, Option<&str>)] = &[
        (&[], KEPT, None),
        (&["x-webkit-deflate-frame"], KEPT, None),
        (&["permessage-deflate"], KEPT, Some("permessage-deflate")),
        (&["permessage-deflate"], NONE, Some(both)),
        // As browsers offer it.
        (&["permessage-deflate; client_max_window_bits"], NONE, Some(both)),
        (&["permessage-deflate; client_max_window_bits"], KEPT, Some("permessage-deflate")),
        (&["permessage-deflate; client_max_window_bits"], SMALL, Some(
            "permessage-deflate; server_max_window_bits=11; client_max_window_bits=11")),
        // Who does not know the parameter is not asked for a smaller window.
        (&["permessage-deflate"], SMALL, Some("permessage-deflate; server_max_window_bits=11")),
        (&["permessage-deflate; server_max_window_bits=10; client_max_window_bits=9"], KEPT, Some(
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9")),
        (&["permessage-deflate; server_max_window_bits=10"], NONE, Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10")),
        (&["permessage-deflate;server_no_context_takeover"], KEPT, Some(
            "permessage-deflate; server_no_context_takeover")),
        (&["permessage-deflate ; client_no_context_takeover"], KEPT, Some(
            "permessage-deflate; client_no_context_takeover")),
        (&["permessage-deflate; server_max_window_bits=\"12\""], KEPT, Some(
            "permessage-deflate; server_max_window_bits=12")),
        // What zlib can't do, and what can't be, goes to the next offer.
        (&["permessage-deflate; server_max_window_bits=8"], KEPT, None),
        (&["permessage-deflate; server_max_window_bits=8, permessage-deflate"], KEPT, Some("permessage-deflate")),
        (&["permessage-deflate; server_max_window_bits=8", "permessage-deflate"], KEPT, Some("permessage-deflate")),
        (&["permessage-deflate; server_max_window_bits"], KEPT, None),
        (&["permessage-deflate; server_max_window_bits=16"], KEPT, None),
        (&["permessage-deflate; server_max_window_bits=09"], KEPT, None),
        (&["permessage-deflate; server_max_window_bits=7"], KEPT, None),
        (&["permessage-deflate; client_max_window_bits=\"\""], KEPT, None),
        (&["permessage-deflate; server_no_context_takeover=1"], KEPT, None),
        (&["permessage-deflate; client_no_context_takeover; client_no_context_takeover"], KEPT, None),
        (&["permessage-deflate; unknown"], KEPT, None),
        (&["permessage-deflate;"], KEPT, None),
        (&["foo, bar; baz=2, permessage-deflate"], KEPT, Some("permessage-deflate")),
    ];
    for (lines, policy, answer) in rows {
        let agreed = accept(&headers(lines), *policy);
        assert_eq!(agreed.map(|agreed| agreed.to_string()).as_deref(), *answer, "{lines:?}");
    }
}

#[test]
fn answers_are_what_was_asked_for_or_nothing() {
    assert_eq!(agreed(&headers(&[])), Ok(None));
    for policy in [policy(Context::None, 15), policy(Context::Kept, 10)] {
        let accepted = accept(&headers(&["permessage-deflate; client_max_window_bits"]), policy);
        let answer = accepted.unwrap().to_string();
        assert_eq!(agreed(&headers(&[&answer])), Ok(accepted));
    }
    for bad in [
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate, permessage-deflate",
        "permessage-bzip2",
        "permessage-deflate; mux",
    ] {
        assert_eq!(agreed(&headers(&[bad])), Err(BadExtension), "{bad}");
    }
}

fn all_agreements() -> impl Iterator<Item = Agreed> {
    let contexts = [Context::None, Context::Kept];
    let contexts = contexts.into_iter().flat_map(move |a| contexts.map(|b| (a, b)));
    contexts.flat_map(|(server_context, client_context)| {
        [9, 11, 15].map(|bits| Agreed {
            server_context,
            client_context,
            server_window: WindowBits(bits),
            client_window: WindowBits(bits),
        })
    })
}

/// A frame of a compressed message.
fn frame(payload: &[u8], mask: Option<[u8; 4]>) -> BytesMut {
    let mut out = BytesMut::new();
    let header = Header { compressed: true, mask, ..Header::whole(Opcode::Binary) };
    header.put_frame(payload, &mut out);
    out
}

#[test]
fn messages_come_back_whatever_was_agreed_on() {
    let text = "The quick brown fox. ".repeat(500).into_bytes();
    let noise: Vec<u8> =
        (0..60_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for agreed in all_agreements() {
        for (from, to) in [(Role::Server, Role::Client), (Role::Client, Role::Server)] {
            let mask = (from == Role::Client).then_some([9, 8, 7, 6]);
            let mut deflater = Deflater::new(from, &agreed, 2);
            let inflater = Inflater::new(to, &agreed);
            let mut decoder = Decoder::new(to, Limits::default()).with_inflater(Some(inflater));
            let mut shorter = Vec::new();
            for message in [&text, &noise, &text, &text[..10].to_vec(), &text] {
                let Some(compressed) = deflater.deflate(message) else { continue };
                shorter.push(compressed.len());
                let mut wire = frame(&compressed, mask);
                let expected = Incoming::Message(Message::Binary(message.clone().into()));
                assert_eq!(decoder.decode(&mut wire), Ok(Some(expected)), "{agreed}");
            }
            assert!(shorter.len() > 2 && shorter[0] < 1000, "{agreed}: {shorter:?}");
        }
    }
}

#[test]
fn the_examples_of_the_rfc() {
    let mut decoder = Decoder::new(Role::Client, Limits::default())
        .with_inflater(Some(Inflater::new(Role::Client, &Agreed::DEFAULT)));
    let hello = Ok(Some(Incoming::Message(Message::Text("Hello".into()))));
    #[rustfmt::skip]
    let rows: &[&[u8]] = &[
        // 7.2.3.1, in one frame and in two
        &[0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        &[0x41, 0x03, 0xf2, 0x48, 0xcd, 0x80, 0x04, 0xc9, 0xc9, 0x07, 0x00],
        // 7.2.3.2, that refers to what was before
        &[0xc1, 0x05, 0xf2, 0x00, 0x11, 0x00, 0x00],
        // 7.2.3.3, not compressed
        &[0xc1, 0x0b, 0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
        // 7.2.3.4, a stream that ends
        &[0xc1, 0x08, 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        // 7.2.3.5, two blocks
        &[0xc1, 0x0d, 0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
    ];
    for row in rows {
        assert_eq!(decoder.decode(&mut BytesMut::from(*row)), hello, "{row:x?}");
    }
}

#[test]
fn a_bomb_is_not_unpacked() {
    let agreed = Agreed::DEFAULT;
    let bomb = Deflater::new(Role::Server, &agreed, 9).deflate(&vec![0; 64 << 20]).unwrap();
    assert!(bomb.len() < 80_000);
    let limits = Limits { message: 100_000, ..Limits::default() };
    let mut decoder = Decoder::new(Role::Client, limits)
        .with_inflater(Some(Inflater::new(Role::Client, &agreed)));
    assert_eq!(decoder.decode(&mut frame(&bomb, None)), Err(WebSocketError::MessageTooBig));
}

#[test]
fn what_is_not_compressed_is_refused() {
    let mut decoder = Decoder::new(Role::Client, Limits::default())
        .with_inflater(Some(Inflater::new(Role::Client, &Agreed::DEFAULT)));
    let mut bad = frame(&[0xff; 20], None);
    assert_eq!(decoder.decode(&mut bad.clone()), Err(WebSocketError::Deflate));
    // Nor is compression without agreement.
    let mut decoder = Decoder::new(Role::Client, Limits::default());
    assert_eq!(decoder.decode(&mut bad), Err(WebSocketError::ReservedBit));
}
