//! HTTP/1.1 messages (RFC 9112), strict: one reading of a message or none.
//!
//! Bytes that two recipients could read in two ways are refused, however common the lenience is
//! elsewhere, since that difference is what request smuggling lives on. Everything here works on
//! the caller's buffers:
//!
//! - [`HeadReader`] takes a [`RequestHead`] or [`ResponseHead`] off a read buffer,
//! - [`BodyDecoder`] takes the content that the head announced,
//! - [`encode_response`], [`encode_request`] and [`encode_chunk_head`] append to a write buffer.
//!
//! An error of any of them means: answer with [`HeadError::status`] if nothing was answered yet,
//! then close the connection, since the place of the next message is unknown.

pub use self::body::{BodyDecoder, Decoded};
pub use self::chunked::ChunkDecoder;
pub use self::encode::{
    CONTINUE, InvalidTarget, encode_chunk_head, encode_content_length, encode_fields,
    encode_last_chunk, encode_request, encode_response, encode_status_line, reason_phrase,
};
pub use self::error::{BodyError, HeadError};
pub use self::framing::BodyLength;
pub use self::head::{HeadLimits, HeadReader};
pub use self::request::RequestHead;
pub use self::response::ResponseHead;
pub use self::target::{Scheme, Target, TargetForm};

pub(crate) use self::fields::append;
pub(crate) use self::lines::LineScan;
pub(crate) use self::trailers::{
    MAX_FIELDS as MAX_TRAILERS, is_dropped as is_dropped_trailer, is_refused as is_refused_trailer,
};

mod body;
mod chunked;
mod encode;
mod error;
mod fields;
mod framing;
mod head;
mod lines;
mod request;
mod response;
mod scan;
mod target;
mod trailers;
