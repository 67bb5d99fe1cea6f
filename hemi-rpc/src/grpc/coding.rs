//! How messages are compressed.

use bytes::Bytes;
use hemi_proto::gzip::{GunzipError, gunzip, gzip};
use http::HeaderValue;
use tonic::Status;

use crate::zstd::{UnzstdError, unzstd, zstd};

/// A way to compress messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Zstd,
}

/// Messages of fewer bytes are sent as they are.
const COMPRESSED_FROM: usize = 1024;

/// All that are known.
pub(super) const ACCEPTED: HeaderValue = HeaderValue::from_static("zstd,gzip,identity");

impl Coding {
    /// The one of this name; none if there is no field.
    pub(super) fn named(name: Option<&[u8]>) -> Result<Self, Status> {
        match name {
            None | Some(b"" | b"identity") => Ok(Self::Identity),
            Some(b"gzip") => Ok(Self::Gzip),
            Some(b"zstd") => Ok(Self::Zstd),
            Some(other) => {
                let name = String::from_utf8_lossy(other);
                Err(Status::unimplemented(format!("messages can't be compressed by \"{name}\"")))
            }
        }
    }

    /// The best of those that a field lists.
    pub(super) fn accepted(list: Option<&[u8]>) -> Self {
        let names = list.unwrap_or_default().split(|&b| b == b',').map(<[u8]>::trim_ascii);
        names.fold(Self::Identity, |best, name| match (name, best) {
            (b"zstd", _) => Self::Zstd,
            (b"gzip", Self::Identity) => Self::Gzip,
            _ => best,
        })
    }

    pub(super) fn name(self) -> HeaderValue {
        match self {
            Self::Identity => HeaderValue::from_static("identity"),
            Self::Gzip => HeaderValue::from_static("gzip"),
            Self::Zstd => HeaderValue::from_static("zstd"),
        }
    }

    /// Compresses a message that is worth it.
    pub(super) fn compress(self, message: &[u8]) -> Option<Bytes> {
        match self {
            Self::Gzip if message.len() >= COMPRESSED_FROM => Some(gzip(message).into()),
            Self::Zstd if message.len() >= COMPRESSED_FROM => zstd(message).map(Bytes::from),
            _ => None,
        }
    }

    /// Makes a message of at most so many bytes what it was.
    pub(super) fn decompress(self, message: &[u8], most: usize) -> Result<Bytes, Status> {
        match self {
            Self::Identity => {
                Err(Status::internal("a message is compressed, and nothing says how"))
            }
            Self::Gzip => match gunzip(message, most) {
                Ok(message) => Ok(message.into()),
                Err(e @ GunzipError::TooLong(_)) => Err(Status::resource_exhausted(e.to_string())),
                Err(e) => Err(Status::internal(e.to_string())),
            },
            Self::Zstd => match unzstd(message, most) {
                Ok(message) => Ok(message.into()),
                Err(e @ UnzstdError::TooLong(_)) => Err(Status::resource_exhausted(e.to_string())),
                Err(e) => Err(Status::internal(e.to_string())),
            },
        }
    }
}
