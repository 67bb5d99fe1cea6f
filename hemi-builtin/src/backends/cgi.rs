//! Answers in the form of CGI, whatever brings them.

use bytes::Bytes;
use hemi_proto::cgi::{CgiHead, CgiLimits};
use hemi_web::BoxError;
use http::{Method, StatusCode};

use super::exchange::Head;

/// What a head may be: 128 KiB and 1,024 fields.
pub(super) const CGI_HEADS: CgiLimits = CgiLimits { size: 128 << 10, fields: 1024 };

pub(super) fn head(cgi: CgiHead) -> Head {
    Head { status: cgi.status, headers: cgi.headers.into(), upgrades: None }
}

/// The content of an answer, kept to what its head says: there may be none, or so many bytes.
#[derive(Debug)]
pub(super) struct Content {
    is_head: bool,
    /// Bytes that are still to come, if that was said.
    left: Option<u64>,
}

impl Content {
    /// Of the answer to a request with this method.
    pub(super) fn of(method: &Method) -> Self {
        Self { is_head: *method == Method::HEAD, left: None }
    }

    /// The head of the answer has come.
    pub(super) fn announced(&mut self, head: &CgiHead) {
        let none = self.is_head
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.left = if none { Some(0) } else { head.length };
    }

    /// What of a piece belongs to the content: programs write some where there can be none, and more
    /// than they said.
    pub(super) fn take(&mut self, mut piece: Bytes) -> Bytes {
        if let Some(left) = &mut self.left {
            piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= piece.len() as u64;
        }
        piece
    }

    /// Nothing more comes.
    pub(super) fn end(&self) -> Result<(), BoxError> {
        match self.left {
            Some(1..) => Err("the content is shorter than was said".into()),
            _ => Ok(()),
        }
    }
}
