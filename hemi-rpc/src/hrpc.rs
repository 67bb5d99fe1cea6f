//! What both sides of HRPC have in common.

mod pipe;

use std::borrow::Cow;

use hemi_proto::hrpc::Code;
use hemi_proto::rpcx::{GunzipError, gunzip};

pub(crate) use self::pipe::{Bell, Ended, Pipe, Sends};
use crate::Fault;

/// Bytes of long messages that are taken to be sent at once: others wait for no more than them.
pub(crate) const FILL: usize = 64 << 10;

/// Compressions that are understood, as bits: none, and gzip.
pub(crate) const KNOWN: u32 = 1 | 1 << 1;

/// Streams whose long messages may wait, however long they are: else one would hold up small ones.
const LONG: usize = 8;

/// Whether no more messages should be made to be sent: so many bytes wait already, on so many streams.
pub(crate) fn is_full((bytes, streams): (usize, usize), most: usize) -> bool {
    bytes >= most && streams >= LONG
}

/// A message as it was before it was compressed.
pub(crate) fn unpack(
    compression: u8,
    message: Cow<'_, [u8]>,
    most: usize,
) -> Result<Cow<'_, [u8]>, Fault> {
    match compression {
        0 => Ok(message),
        1 => gunzip(&message, most).map(Cow::Owned).map_err(|e| {
            let code = match e {
                GunzipError::TooLong(_) => Code::RESOURCE_EXHAUSTED,
                GunzipError::Malformed | GunzipError::Cut => Code::INVALID_ARGUMENT,
            };
            Fault::from(e).with_code(code)
        }),
        other => {
            let fault = Fault::new(format!("the message is compressed by {other}"));
            Err(fault.with_code(Code::UNIMPLEMENTED))
        }
    }
}
