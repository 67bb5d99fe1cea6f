//! Files that stand compressed beside the original: `a.css.br` beside `a.css`.

use std::sync::Arc;

use hemi_core::Explain;
use hemi_core::fcache::{Content, Entry, Fcache, Root};
use hemi_proto::accept_encoding::{AcceptEncoding, Coding};
use hemi_web::Request;
use http::header::ACCEPT_ENCODING;
use serde::Deserialize;

/// A coding that compressed files may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub enum FileCoding {
    /// `.br`
    Br,
    /// `.zst`
    Zstd,
    /// `.gz`
    Gzip,
}

impl From<FileCoding> for Coding {
    fn from(coding: FileCoding) -> Self {
        match coding {
            FileCoding::Br => Self::Brotli,
            FileCoding::Zstd => Self::Zstd,
            FileCoding::Gzip => Self::Gzip,
        }
    }
}

/// Where compressed files are looked for, and which.
#[derive(Debug)]
pub(super) struct Siblings {
    /// The directory once more, for in it these files have other fields: the media type of their
    /// originals.
    root: Root,
    codings: Vec<Coding>,
}

/// What a client is to be sent.
pub(super) enum Choice {
    Original,
    Compressed(Arc<Entry>, Coding),
    /// The client refuses all there is.
    Nothing,
}

impl Siblings {
    pub(super) fn new(root: Root, codings: Vec<FileCoding>) -> Self {
        Self { root, codings: codings.into_iter().map(Coding::from).collect() }
    }

    /// Whether answers depend on the codings that a client takes.
    pub(super) fn are_looked_for(&self) -> bool {
        !self.codings.is_empty()
    }

    /// Finds what the client likes best of what there is of a file.
    pub(super) fn choose(
        &self,
        fcache: &Fcache,
        req: &Request,
        original: &Entry,
        path: &str,
    ) -> Choice {
        if !self.are_looked_for() || !req.has_field(&ACCEPT_ENCODING) {
            return Choice::Original;
        }
        for coding in AcceptEncoding::from_headers(req.headers()).ranked(&self.codings) {
            if coding == Coding::Identity {
                return Choice::Original;
            }
            let sibling = format!("{path}.{}", extension(coding));
            match fcache.open(&self.root, &sibling) {
                Ok(entry) if stands_for(&entry, original) => {
                    return Choice::Compressed(entry, coding);
                }
                _ => {}
            }
        }
        Choice::Nothing
    }
}

/// Whether an entry is a file that was not made of an older state of the original.
fn stands_for(entry: &Entry, original: &Entry) -> bool {
    matches!(entry.content, Content::Small(_) | Content::Large(_))
        && entry.modified >= original.modified
}

fn extension(coding: Coding) -> &'static str {
    match coding {
        Coding::Identity => "",
        Coding::Brotli => "br",
        Coding::Zstd => "zst",
        Coding::Gzip => "gz",
    }
}
