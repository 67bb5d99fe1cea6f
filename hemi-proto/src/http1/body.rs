//! Takes the content of a message off a read buffer, however it is framed.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::{BodyError, BodyLength, ChunkDecoder};

/// Decodes the content of one message.
#[derive(Clone, Debug)]
pub struct BodyDecoder(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Sized(u64),
    Chunked(ChunkDecoder),
    UntilClose,
    Ended,
}

/// One step of decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Some bytes of content, never empty, split off the read buffer.
    Data(Bytes),
    /// The read buffer holds nothing more that can be decoded.
    NeedMore,
    /// The content is complete; the next message follows in the buffer. With the trailer fields,
    /// if there were any that may be used.
    End(Option<HeaderMap>),
}

impl BodyDecoder {
    /// A decoder for content framed as the head said.
    pub fn new(length: BodyLength) -> Self {
        Self(match length {
            BodyLength::None | BodyLength::Sized(0) => Inner::Ended,
            BodyLength::Sized(size) => Inner::Sized(size),
            BodyLength::Chunked => Inner::Chunked(ChunkDecoder::default()),
            BodyLength::UntilClose => Inner::UntilClose,
        })
    }

    /// Takes the next piece of content from the front of `buf`; after the end it stays at the end.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, BodyError> {
        match &mut self.0 {
            Inner::Ended => Ok(Decoded::End(None)),
            Inner::Chunked(chunks) => {
                let decoded = chunks.decode(buf)?;
                if matches!(decoded, Decoded::End(_)) {
                    self.0 = Inner::Ended;
                }
                Ok(decoded)
            }
            _ if buf.is_empty() => Ok(Decoded::NeedMore),
            Inner::UntilClose => Ok(Decoded::Data(buf.split().freeze())),
            Inner::Sized(remaining) => {
                let data = take_up_to(buf, remaining);
                if *remaining == 0 {
                    self.0 = Inner::Ended;
                }
                Ok(Decoded::Data(data))
            }
        }
    }

    /// Tells that the peer has closed its side after the bytes that were decoded.
    pub fn finish(&mut self) -> Result<(), BodyError> {
        match self.0 {
            Inner::Ended => Ok(()),
            Inner::UntilClose => {
                self.0 = Inner::Ended;
                Ok(())
            }
            Inner::Sized(_) | Inner::Chunked(_) => Err(BodyError::Incomplete),
        }
    }

    /// Whether the content is complete.
    pub fn is_ended(&self) -> bool {
        matches!(self.0, Inner::Ended)
    }

    /// How many bytes of content are still to come; `None` while that is unknown.
    pub fn remaining(&self) -> Option<u64> {
        match self.0 {
            Inner::Ended => Some(0),
            Inner::Sized(remaining) => Some(remaining),
            Inner::Chunked(_) | Inner::UntilClose => None,
        }
    }

    /// Counts `n` bytes of content that went past the buffer, by splice for instance.
    ///
    /// Gives how many of them belong to the content: less than `n` if it ends before.
    pub fn skip(&mut self, n: u64) -> u64 {
        match &mut self.0 {
            Inner::Sized(remaining) => {
                let skipped = n.min(*remaining);
                *remaining -= skipped;
                if *remaining == 0 {
                    self.0 = Inner::Ended;
                }
                skipped
            }
            Inner::UntilClose => n,
            Inner::Chunked(_) | Inner::Ended => 0,
        }
    }
}

/// Splits at most `remaining` bytes off `buf` and counts them.
pub(super) fn take_up_to(buf: &mut BytesMut, remaining: &mut u64) -> Bytes {
    let len = usize::try_from(*remaining).map_or(buf.len(), |remaining| remaining.min(buf.len()));
    *remaining -= len as u64;
    buf.split_to(len).freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sized() {
        let mut body = BodyDecoder::new(BodyLength::Sized(5));
        let mut buf = BytesMut::from("abc");
        assert_eq!(body.decode(&mut buf), Ok(Decoded::Data("abc".into())));
        assert_eq!(body.decode(&mut buf), Ok(Decoded::NeedMore));
        assert_eq!(body.remaining(), Some(2));
        assert_eq!(body.clone().finish(), Err(BodyError::Incomplete));
        buf.extend_from_slice(b"deGET");
        assert_eq!(body.decode(&mut buf), Ok(Decoded::Data("de".into())));
        assert!(body.is_ended());
        assert_eq!(body.decode(&mut buf), Ok(Decoded::End(None)));
        assert_eq!(body.finish(), Ok(()));
        assert_eq!(buf, "GET");
    }

    #[test]
    fn largest_size() {
        let mut body = BodyDecoder::new(BodyLength::Sized(u64::MAX));
        let mut buf = BytesMut::from("abc");
        assert_eq!(body.decode(&mut buf), Ok(Decoded::Data("abc".into())));
        assert_eq!(body.remaining(), Some(u64::MAX - 3));
    }

    #[test]
    fn until_close() {
        let mut body = BodyDecoder::new(BodyLength::UntilClose);
        let mut buf = BytesMut::from("abc");
        assert_eq!(body.decode(&mut buf), Ok(Decoded::Data("abc".into())));
        assert_eq!(body.decode(&mut buf), Ok(Decoded::NeedMore));
        assert_eq!(body.finish(), Ok(()));
        assert_eq!(body.decode(&mut buf), Ok(Decoded::End(None)));
    }

    #[test]
    fn absent() {
        for length in [BodyLength::None, BodyLength::Sized(0)] {
            let mut body = BodyDecoder::new(length);
            assert!(body.is_ended());
            assert_eq!(body.decode(&mut BytesMut::from("GET")), Ok(Decoded::End(None)));
        }
    }

    #[test]
    fn skipped() {
        let mut body = BodyDecoder::new(BodyLength::Sized(5));
        assert_eq!(body.skip(3), 3);
        assert_eq!(body.skip(3), 2);
        assert!(body.is_ended());
        assert_eq!(BodyDecoder::new(BodyLength::Chunked).skip(3), 0);
    }
}
