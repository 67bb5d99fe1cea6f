//! Chunked content reads the same however it arrives, and again after it was written.
#![no_main]

use bytes::{Bytes, BytesMut};
use hemi_fuzz::{feed, split_piece_size};
use hemi_proto::http1::{
    BodyDecoder, BodyError, BodyLength, Decoded, encode_chunk_head, encode_last_chunk,
};
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = split_piece_size(input) else { return };
    let mut whole = Content::default();
    let (result, rest) = whole.read(bytes, bytes.len().max(1));
    let mut pieces = Content::default();
    let (result_of_pieces, rest_of_pieces) = pieces.read(bytes, size);
    assert_eq!(result, result_of_pieces);
    assert_eq!(whole.data, pieces.data);
    if let Ok(Some(trailers)) = result {
        assert_eq!(rest, rest_of_pieces);
        check_round_trip(&whole, &trailers, size);
    }
});

/// What was decoded, whatever the pieces it came in.
#[derive(Default)]
struct Content {
    data: Vec<u8>,
}

impl Content {
    /// Decodes up to the end and gives the trailers.
    fn read(
        &mut self,
        bytes: &[u8],
        size: usize,
    ) -> (Result<Option<HeaderMap>, BodyError>, BytesMut) {
        let mut body = BodyDecoder::new(BodyLength::Chunked);
        feed(bytes, size, |buf| {
            loop {
                match body.decode(buf)? {
                    Decoded::Data(data) => {
                        assert!(!data.is_empty());
                        self.data.extend_from_slice(&data);
                    }
                    Decoded::NeedMore => {
                        assert_eq!(body.clone().finish(), Err(BodyError::Incomplete));
                        return Ok(None);
                    }
                    Decoded::End(trailers) => {
                        assert!(body.is_ended());
                        return Ok(Some(trailers.unwrap_or_default()));
                    }
                }
            }
        })
    }
}

fn check_round_trip(content: &Content, trailers: &HeaderMap, size: usize) {
    let mut buf = BytesMut::new();
    for piece in content.data.chunks(size) {
        encode_chunk_head(&mut buf, piece.len() as u64);
        buf.extend_from_slice(piece);
        buf.extend_from_slice(b"\r\n");
    }
    encode_last_chunk(&mut buf, trailers);
    let written = Bytes::from(buf);
    let mut again = Content::default();
    let (result, rest) = again.read(&written, size);
    assert_eq!(result.expect("content").as_ref(), Some(trailers));
    assert_eq!(again.data, content.data);
    assert!(rest.is_empty());
}
