//! The streams of HTTP/3 read the same however they arrive.
#![no_main]

use bytes::BytesMut;
use hemi_fuzz::{feed, split_piece_size};
use hemi_proto::http1::HeadLimits;
use hemi_proto::http3::qpack::{Decoded, Decoder};
use hemi_proto::http3::{Code, ControlStream, Fault, Incoming, Part, RequestStream, datagram};
use hemi_proto::message::{ResponseFields, ResponseReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = split_piece_size(input) else { return };
    let whole = bytes.len().max(1);
    assert_eq!(request(bytes, whole), request(bytes, size));
    assert_eq!(control(bytes, whole), control(bytes, size));
    assert_eq!(answers(bytes, whole), answers(bytes, size));
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

/// The heads of answers until the one that counts, as a client without a table reads them.
fn answers(bytes: &[u8], size: usize) -> Vec<ResponseFields> {
    let limits = HeadLimits { head_size: 300, fields: 8, ..HeadLimits::default() };
    let (mut stream, mut heads) = (RequestStream::default(), Vec::new());
    let _ = feed(bytes, size, |buf| {
        while let Some(Part::Head(section)) = stream.read(buf, 300)? {
            let mut reader = ResponseReader::default();
            let decoded = Decoder::new(0, 0)
                .decode(0, &section, |name, value| reader.line(name, value, &limits));
            let (Ok(Decoded::Whole), Ok(head)) = (decoded, reader.finish()) else { break };
            assert!(head.fields.len() <= 8 && !head.fields.contains_key("connection"));
            let goes_on = head.status.is_informational();
            heads.push(head);
            if !goes_on {
                break;
            }
            stream.await_head();
        }
        Ok::<_, Fault>(None::<()>)
    });
    heads
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
