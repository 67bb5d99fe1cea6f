//! Parts of a file: one as it is, several as `multipart/byteranges` (RFC 9110, 14.6).

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use hemi_core::fcache::{Content, Entry};
use hemi_proto::range::{ByteRange, Ranges};
use hemi_web::{Body, Piece, Response};
use http::StatusCode;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue};

/// The answer with these parts. `whole` is the one with all of the file, which is sent where the parts
/// with their heads would be longer.
pub(super) fn partial(ranges: &Ranges, entry: &Entry, whole: Response) -> Response {
    if let Some(range) = ranges.single() {
        return whole
            .with_status(StatusCode::PARTIAL_CONTENT)
            .with_body(piece(entry, range))
            .field(CONTENT_RANGE, range.content_range(entry.len));
    }
    let media_type = whole.headers().get(CONTENT_TYPE);
    let (content_type, pieces) = multipart(ranges, entry, media_type);
    let body = Body::pieces(pieces);
    if body.len().is_none_or(|len| len > entry.len) {
        return whole;
    }
    let mut response = whole.with_status(StatusCode::PARTIAL_CONTENT).with_body(body);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// A media type with a boundary, and the content that it separates.
fn multipart(
    ranges: &Ranges,
    entry: &Entry,
    media_type: Option<&HeaderValue>,
) -> (HeaderValue, Vec<Piece>) {
    // Nobody can have put it into the file beforehand.
    let boundary = format!("{:032x}", random());
    let mut pieces = Vec::with_capacity(ranges.as_slice().len() * 2 + 1);
    let mut start = "";
    for range in ranges.as_slice() {
        let mut head = format!("{start}--{boundary}\r\n").into_bytes();
        if let Some(media_type) = media_type {
            head.extend_from_slice(b"content-type: ");
            head.extend_from_slice(media_type.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"content-range: ");
        head.extend_from_slice(range.content_range(entry.len).as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
        pieces.push(Piece::Bytes(head.into()));
        pieces.push(piece(entry, *range));
        start = "\r\n";
    }
    pieces.push(Piece::Bytes(format!("\r\n--{boundary}--\r\n").into()));
    let content_type = HeaderValue::try_from(format!("multipart/byteranges; boundary={boundary}"));
    (content_type.unwrap_or_else(|_| HeaderValue::from_static("multipart/byteranges")), pieces)
}

/// The hash of nothing, with keys that the system has chosen.
fn random() -> u128 {
    let half = || u128::from(RandomState::new().hash_one(()));
    half() << 64 | half()
}

fn piece(entry: &Entry, range: ByteRange) -> Piece {
    let (start, end) = (range.first(), range.last() + 1);
    match &entry.content {
        Content::Small(bytes) => Piece::Bytes(bytes.slice(start as usize..end as usize)),
        Content::Large(file) => Piece::File(file.clone(), start..end),
        Content::Directory | Content::Special => Piece::Bytes(Bytes::new()),
    }
}
