//! Answers in the form of CGI, whatever brings them.

use bytes::{Bytes, BytesMut};
use hemi_core::io::Outbox;
use hemi_proto::cgi::{CgiHead, CgiHeadReader, CgiLimits};
use hemi_web::{BoxError, Interim};
use http::{HeaderMap, Method, StatusCode};

use super::exchange::{Codec, Decoded, Head};

/// What a head may be: 128 KiB and 1,024 fields.
pub(crate) const CGI_HEADS: CgiLimits = CgiLimits { size: 128 << 10, fields: 1024 };

pub(super) fn head(cgi: CgiHead) -> Head {
    Head { status: cgi.status, headers: cgi.headers.into(), upgrades: None }
}

/// The content of an answer, kept to what its head says: there may be none, or so many bytes.
#[derive(Debug)]
pub(crate) struct Content {
    is_head: bool,
    /// Bytes that are still to come, if that was said.
    left: Option<u64>,
}

impl Content {
    /// Of the answer to a request with this method.
    pub(crate) fn of(method: &Method) -> Self {
        Self { is_head: *method == Method::HEAD, left: None }
    }

    /// The head of the answer has come.
    pub(crate) fn announced(&mut self, head: &CgiHead) {
        let none = self.is_head
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.left = if none { Some(0) } else { head.length };
    }

    /// Whether all of it has come, as far as that can be told.
    pub(crate) fn is_whole(&self) -> bool {
        self.left == Some(0)
    }

    /// What of a piece belongs to the content: programs write some where there can be none, and more
    /// than they said.
    pub(crate) fn take(&mut self, mut piece: Bytes) -> Bytes {
        if let Some(left) = &mut self.left {
            piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= piece.len() as u64;
        }
        piece
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) -> Result<(), BoxError> {
        match self.left {
            Some(1..) => Err("the content is shorter than was said".into()),
            _ => Ok(()),
        }
    }
}

/// An answer as it is, without frames: over when the connection is closed.
#[derive(Debug)]
pub(super) struct Unframed {
    heads: CgiHeadReader,
    content: Content,
    ended: bool,
}

impl Unframed {
    /// The answer to a request with this method.
    pub(super) fn of(method: &Method) -> Self {
        let heads = CgiHeadReader::default();
        Self { heads, content: Content::of(method), ended: false }
    }
}

impl Codec for Unframed {
    fn put_data(&mut self, out: &mut Outbox, data: Bytes) {
        out.push(data);
    }

    fn put_end(&mut self, _: &mut Outbox, _: &HeaderMap) {}

    fn read_head(
        &mut self,
        buf: &mut BytesMut,
        _: Option<&Interim>,
    ) -> Result<Option<Head>, BoxError> {
        let Some(cgi) = self.heads.read(buf, &CGI_HEADS)? else { return Ok(None) };
        self.content.announced(&cgi);
        Ok(Some(head(cgi)))
    }

    fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, BoxError> {
        if self.ended || self.content.is_whole() {
            self.ended = true;
            return Ok(Decoded::End(None));
        }
        let data = self.content.take(buf.split().freeze());
        Ok(if data.is_empty() { Decoded::NeedMore } else { Decoded::Data(data) })
    }

    fn remaining(&self) -> Option<u64> {
        self.content.left
    }

    fn close(&mut self) -> Result<(), BoxError> {
        self.content.end()?;
        self.ended = true;
        Ok(())
    }

    fn is_ended(&self) -> bool {
        self.ended || self.content.is_whole()
    }

    fn may_keep(&self) -> bool {
        false
    }
}
