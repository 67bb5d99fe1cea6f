//! How payloads are compressed: by numbers, which both sides have to know.

use std::borrow::Cow;
use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use hemi_proto::hrpc::Code;
use hemi_proto::rpcx::{Compression, GunzipError, gunzip, gzip};

use crate::Fault;
use crate::zstd::{UnzstdError, unzstd, zstd};

/// A way to compress payloads.
pub trait Compressor: Send + Sync + 'static {
    /// Compresses a payload; none if it is better sent as it is.
    fn compress(&self, payload: &[u8]) -> Option<Vec<u8>>;

    /// Makes a payload of at most `most` bytes what it was.
    ///
    /// # Errors
    /// When it was not compressed so, or becomes more.
    fn decompress(&self, payload: &[u8], most: usize) -> Result<Vec<u8>, DecompressError>;
}

/// Why a payload can't be made what it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// It becomes more than may be.
    #[error("the payload becomes more than {0} bytes when it is decompressed")]
    TooLong(usize),
    /// It was not compressed so.
    #[error("{0}")]
    Malformed(String),
    /// Nobody knows what the number means.
    #[error("the message is compressed by {0}")]
    Unknown(u8),
}

/// gzip (RFC 1952).
#[derive(Clone, Copy, Debug, Default)]
pub struct Gzip;

/// zstd (RFC 8878).
#[derive(Clone, Copy, Debug, Default)]
pub struct Zstd;

/// Snappy, in the format of its framing, as `SnappyCompressor` of rpcx has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snappy;

impl Compressor for Gzip {
    fn compress(&self, payload: &[u8]) -> Option<Vec<u8>> {
        Some(gzip(payload))
    }

    fn decompress(&self, payload: &[u8], most: usize) -> Result<Vec<u8>, DecompressError> {
        gunzip(payload, most).map_err(|e| match e {
            GunzipError::TooLong(most) => DecompressError::TooLong(most),
            e => DecompressError::Malformed(e.to_string()),
        })
    }
}

impl Compressor for Zstd {
    fn compress(&self, payload: &[u8]) -> Option<Vec<u8>> {
        zstd(payload)
    }

    fn decompress(&self, payload: &[u8], most: usize) -> Result<Vec<u8>, DecompressError> {
        unzstd(payload, most).map_err(|e| match e {
            UnzstdError::TooLong(most) => DecompressError::TooLong(most),
            e => DecompressError::Malformed(e.to_string()),
        })
    }
}

impl Compressor for Snappy {
    fn compress(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let mut encoder = snap::write::FrameEncoder::new(Vec::new());
        encoder.write_all(payload).ok()?;
        encoder.into_inner().ok()
    }

    fn decompress(&self, payload: &[u8], most: usize) -> Result<Vec<u8>, DecompressError> {
        let mut out = Vec::new();
        let decoder = snap::read::FrameDecoder::new(payload);
        let read = decoder.take((most as u64).saturating_add(1)).read_to_end(&mut out);
        read.map_err(|_| DecompressError::Malformed("the payload is no snappy".to_owned()))?;
        if out.len() > most { Err(DecompressError::TooLong(most)) } else { Ok(out) }
    }
}

type Table = [Option<Arc<dyn Compressor>>; 8];

/// What numbers of compressions mean: 1 is gzip, as in Go, and those from 2 to 7 what users agree on.
#[derive(Clone)]
pub struct Compressions(Arc<Table>);

impl Default for Compressions {
    fn default() -> Self {
        let mut table = Table::default();
        table[1] = Some(Arc::new(Gzip));
        Self(Arc::new(table))
    }
}

impl fmt::Debug for Compressions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Compressions").field(&format_args!("{:#010b}", self.bits())).finish()
    }
}

impl Compressions {
    /// The same with a meaning for this number, from 2 to 7; others keep theirs. By HRPC those below 4 have one already.
    #[must_use]
    pub fn with(mut self, number: u8, compressor: impl Compressor) -> Self {
        self.set(number, Arc::new(compressor));
        self
    }

    fn set(&mut self, number: u8, compressor: Arc<dyn Compressor>) {
        let table = Arc::make_mut(&mut self.0);
        if let (2.., Some(place)) = (number, table.get_mut(usize::from(number))) {
            *place = Some(compressor);
        }
    }

    /// What they mean by HRPC, where 2 is zstd and 3 is snappy.
    pub(crate) fn by_hrpc(&self) -> Self {
        self.clone().with(2, Zstd).with(3, Snappy)
    }

    /// Those that are known, as bits; not at all is one of them.
    pub(crate) fn bits(&self) -> u32 {
        let bit = |(at, known): (usize, &Option<_>)| u32::from(known.is_some()) << at;
        self.0.iter().enumerate().map(bit).sum::<u32>() | 1
    }

    fn of(&self, number: u8) -> Option<&Arc<dyn Compressor>> {
        self.0.get(usize::from(number))?.as_ref()
    }

    /// A payload that is worth it, compressed.
    pub(crate) fn pack(&self, compression: Compression, payload: &[u8]) -> Option<Vec<u8>> {
        self.of(compression.number())?.compress(payload)
    }

    /// A payload as it was before it was compressed.
    pub(crate) fn unpack<'a>(
        &self,
        number: u8,
        payload: Cow<'a, [u8]>,
        most: usize,
    ) -> Result<Cow<'a, [u8]>, DecompressError> {
        if number == 0 {
            return Ok(payload);
        }
        let compressor = self.of(number).ok_or(DecompressError::Unknown(number))?;
        compressor.decompress(&payload, most).map(Cow::Owned)
    }
}

impl DecompressError {
    /// What the caller is told.
    pub(crate) fn fault(&self) -> Fault {
        let code = match self {
            Self::TooLong(_) => Code::RESOURCE_EXHAUSTED,
            Self::Malformed(_) => Code::INVALID_ARGUMENT,
            Self::Unknown(_) => Code::UNIMPLEMENTED,
        };
        Fault::new(self.to_string()).with_code(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_come_back_within_bounds() {
        let all: [&dyn Compressor; 3] = [&Gzip, &Zstd, &Snappy];
        for compressor in all {
            for len in [0, 1, 1000, 200_000] {
                let payload: Vec<_> = (0..len).map(|at: u32| (at / 7 % 251) as u8).collect();
                let packed = compressor.compress(&payload).unwrap();
                assert_eq!(compressor.decompress(&packed, payload.len()), Ok(payload.clone()));
                if let Some(most) = payload.len().checked_sub(1) {
                    let e = compressor.decompress(&packed, most).unwrap_err();
                    assert_eq!(e, DecompressError::TooLong(most));
                    let cut = compressor.decompress(&packed[..packed.len() - 1], payload.len());
                    assert!(matches!(cut, Err(DecompressError::Malformed(_))), "{len}");
                }
            }
            assert!(compressor.decompress(b"something else", 100).is_err());
        }
    }

    #[test]
    fn numbers_mean_what_was_agreed_on() {
        let some = Compressions::default().with(3, Zstd).with(1, Zstd).with(0, Zstd).with(8, Zstd);
        assert_eq!((some.bits(), some.by_hrpc().bits()), (0b1011, 0b1111));
        let packed = some.pack(Compression::GZIP, b"text").unwrap();
        assert_eq!(packed[..2], [0x1f, 0x8b]);
        let unknown = some.unpack(2, Cow::Borrowed(b"x"), 10).unwrap_err();
        assert_eq!(unknown, DecompressError::Unknown(2));
        assert!(Compressions::default().pack(Compression::NONE, b"text").is_none());
    }
}
