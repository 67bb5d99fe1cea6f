//! Field sections are read or refused, whatever the table was built of; what was read is read again after it
//! was written.
#![no_main]

use bytes::{Bytes, BytesMut};
use hemi_proto::http3::qpack::{Decoded, Decoder, Encoder};
use hemi_proto::message::FieldName;
use libfuzzer_sys::fuzz_target;

/// Lines as they may be written: names without a meaning are not.
type Lines = Vec<(String, Bytes)>;

// An input is a list of pieces, each with its kind and its length in front.
fuzz_target!(|input: &[u8]| {
    let mut decoder = Decoder::new(220, 2);
    let (mut encoder, mut peer) = (Encoder::default(), Decoder::new(220, 0));
    encoder.allow(220);
    let mut instructions = BytesMut::new();
    let mut rest = input;
    let mut written = 0;
    while let [kind, len, bytes @ ..] = rest {
        let (piece, after) = bytes.split_at(bytes.len().min(usize::from(*len)));
        rest = after;
        let stream = u64::from(kind >> 2) * 4;
        match kind & 3 {
            0 => {
                instructions.extend_from_slice(piece);
                if decoder.read_instructions(&mut instructions).is_err() {
                    return;
                }
            }
            1 => decoder.cancel(stream),
            2 => {
                let _ = Encoder::default().read_instructions(&mut piece.into());
            }
            _ => {
                let Ok(Some(lines)) = decode(&mut decoder, stream, piece) else { continue };
                written += 4;
                check(&mut encoder, &mut peer, written, lines);
            }
        }
        let _ = decoder.take_instructions();
    }
});

fn decode(decoder: &mut Decoder, stream: u64, section: &[u8]) -> Result<Option<Lines>, ()> {
    let mut lines = Vec::new();
    let line = |name: &FieldName, value: Bytes| match name {
        FieldName::Field(name) => lines.push((name.as_str().to_owned(), value)),
        FieldName::Pseudo(pseudo) => lines.push((pseudo.as_str().to_owned(), value)),
        FieldName::Invalid { .. } => {}
    };
    let decoded = decoder.decode(stream, &Bytes::copy_from_slice(section), line).map_err(drop)?;
    Ok((decoded == Decoded::Whole).then_some(lines))
}

/// Writes the lines and reads them again, with tables that both sides build.
fn check(encoder: &mut Encoder, peer: &mut Decoder, stream: u64, lines: Lines) {
    let mut section = BytesMut::new();
    let fields = lines.iter().map(|(name, value)| (&**name, &**value));
    encoder.encode(stream, None, fields, &mut section);
    assert_eq!(decode(peer, stream, &section), Ok(Some(lines)));
    let mut instructions = BytesMut::from(&encoder.take_instructions()[..]);
    peer.read_instructions(&mut instructions).expect("what our encoder says");
    let mut answers = BytesMut::from(&peer.take_instructions()[..]);
    encoder.read_instructions(&mut answers).expect("what our decoder says");
    assert!(instructions.is_empty() && answers.is_empty());
}
