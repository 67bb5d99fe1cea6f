//! What both sides of HRPC have in common.

mod pipe;

use hemi_proto::hrpc::{Code, METADATA};
use hemi_proto::rpcx::{ERROR_KEY, Metadata, Pairs};

pub(crate) use self::pipe::{Bell, Ended, Pipe, Sends};
use crate::CodecError;

/// Bytes of long messages that are taken to be sent at once: others wait for no more than them.
pub(crate) const FILL: usize = 64 << 10;

/// Streams whose long messages may wait, however long they are: else one would hold up small ones.
const LONG: usize = 8;

/// Whether no more messages should be made to be sent: so many bytes wait already, on so many streams.
pub(crate) fn is_full((bytes, streams): (usize, usize), most: usize) -> bool {
    bytes >= most && streams >= LONG
}

/// Bytes of both names of a call, at most: what else stands before metadata has its place beside them.
pub(crate) const NAMES: usize = hemi_proto::hrpc::NAMES - 12;

/// Bytes of a text that says what went wrong, at most: what is longer is cut.
const TEXT: usize = 32 << 10;

/// Whether a frame has room for this.
pub(crate) fn fits_metadata(metadata: Pairs<'_>) -> Result<(), CodecError> {
    match metadata.size() {
        0..=METADATA => Ok(()),
        len => Err(CodecError::Unwritable(format!(
            "metadata of {len} bytes, of which HRPC has room for {METADATA}"
        ))),
    }
}

/// What is said with a failure: its text, and the rest as far as there is room for it.
pub(crate) fn failure_metadata(metadata: Pairs<'_>, text: &str) -> Metadata {
    let text = cut(text);
    let mut all = Metadata::from(metadata);
    all.set(ERROR_KEY, text);
    if all.pairs().size() > METADATA {
        all = Metadata::new();
        all.set(ERROR_KEY, text);
    }
    all
}

/// As much of a text as is told.
pub(crate) fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT)).unwrap_or(text)
}

/// How a call ends that was to end so: not so if there is no room for what was to be said.
pub(crate) fn ending(code: Code, metadata: Metadata) -> (Code, Metadata) {
    let Err(e) = fits_metadata(metadata.pairs()) else { return (code, metadata) };
    match metadata.text(ERROR_KEY) {
        Some(text) if code != Code::OK => (code, failure_metadata(metadata.pairs(), text)),
        _ => (Code::RESOURCE_EXHAUSTED, failure_metadata(Pairs::NONE, &e.to_string())),
    }
}
