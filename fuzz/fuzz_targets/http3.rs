//! The streams of HTTP/3 read the same however they arrive.
#![no_main]

use bytes::BytesMut;
use hemi_fuzz::{feed, split_piece_size};
use hemi_proto::http3::{Code, ControlStream, Fault, Incoming, Part, RequestStream, datagram};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = split_piece_size(input) else { return };
    let whole = bytes.len().max(1);
    assert_eq!(request(bytes, whole), request(bytes, size));
    assert_eq!(control(bytes, whole), control(bytes, size));
    let _ = Incoming::default().kind(&mut bytes.into());
    if let Ok((stream, payload)) = datagram::decode(bytes.to_vec().into()) {
        let mut again = Vec::new();
        datagram::put_head(stream, &mut again);
        again.extend_from_slice(&payload);
        assert_eq!(datagram::decode(again.into()), Ok((stream, payload)));
    }
});

/// The sections, the content in one piece, and how it ends.
fn request(bytes: &[u8], size: usize) -> (Vec<Part>, Vec<u8>, Result<(), Fault>) {
    let mut stream = RequestStream::default();
    stream.promise(4);
    let (mut sections, mut content) = (Vec::new(), Vec::new());
    let (result, rest) = feed(bytes, size, |buf| {
        while let Some(part) = stream.read(buf, 64)? {
            match part {
                Part::Data(piece) => {
                    assert!(!piece.is_empty());
                    content.extend_from_slice(&piece);
                }
                section => sections.push(section),
            }
        }
        Ok(None::<()>)
    });
    let ended = result.map(drop).and_then(|()| stream.end(&rest));
    if ended.is_ok() {
        assert_eq!(content.len(), 4);
    }
    (sections, content, ended)
}

/// What is told, and how it ends.
fn control(bytes: &[u8], size: usize) -> (String, Result<(), Code>) {
    let mut stream = ControlStream::default();
    let mut told = String::new();
    let (result, _): (_, BytesMut) = feed(bytes, size, |buf| {
        while let Some(event) = stream.read(buf)? {
            told += &format!("{event:?}");
        }
        Ok(None::<()>)
    });
    (told, result.map(drop))
}
