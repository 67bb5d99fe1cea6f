//! The stream of a request: its head, its content, its trailers, in this order (RFC 9114 section 4.1).

use bytes::{Bytes, BytesMut};

use super::Code;
use super::frame::{Found, FrameReader, Kind, Use};

/// A part of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// The field section of the head, in QPACK.
    Head(Bytes),
    /// The head is longer than allowed.
    HeadTooLarge,
    /// A piece of the content.
    Data(Bytes),
    /// The field section of the trailers, in QPACK.
    Trailers(Bytes),
}

/// What a violation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection.
    Connection(Code),
    /// The stream.
    Stream(Code),
}

/// Reads the stream of a request.
#[derive(Debug, Default)]
pub struct RequestStream {
    frames: FrameReader,
    at: At,
    /// Bytes of content that the head promised.
    promised: Option<u64>,
    received: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Head,
    Content,
    /// In the bytes of a tunnel, after which no trailers come (RFC 9114 section 4.4).
    Tunnel,
    End,
}

/// Bytes of the field section of trailers, at most.
const TRAILERS: usize = 8 << 10;

impl RequestStream {
    /// Takes the next part off `buf`, none until it has come. A head may have `most` bytes.
    pub fn read(&mut self, buf: &mut BytesMut, most: usize) -> Result<Option<Part>, Fault> {
        loop {
            let at = self.at;
            let judge = |kind| match (kind, at) {
                (Kind::HEADERS, At::Head) => Ok(Use::Whole(most)),
                (Kind::DATA, At::Content | At::Tunnel) => Ok(Use::Stream),
                (Kind::HEADERS, At::Content) => Ok(Use::Whole(TRAILERS)),
                (
                    Kind::DATA
                    | Kind::HEADERS
                    | Kind::CANCEL_PUSH
                    | Kind::SETTINGS
                    | Kind::PUSH_PROMISE
                    | Kind::GOAWAY
                    | Kind::MAX_PUSH_ID
                    | Kind::PRIORITY_UPDATE_REQUEST
                    | Kind::PRIORITY_UPDATE_PUSH,
                    _,
                ) => Err(Code::FrameUnexpected),
                _ => Ok(Use::Skip),
            };
            match self.frames.read(buf, judge).map_err(Fault::Connection)? {
                None => return Ok(None),
                Some(Found::Start(_, length)) => {
                    self.received = self.received.saturating_add(length);
                    if self.promised.is_some_and(|promised| self.received > promised) {
                        return Err(Fault::Stream(Code::MessageError));
                    }
                }
                Some(Found::Piece(piece)) => return Ok(Some(Part::Data(piece))),
                Some(Found::Whole(_, section)) if at == At::Head => {
                    self.at = At::Content;
                    return Ok(Some(Part::Head(section)));
                }
                Some(Found::Whole(_, section)) => {
                    self.at = At::End;
                    return Ok(Some(Part::Trailers(section)));
                }
                Some(Found::TooLarge(_)) if at == At::Head => {
                    self.at = At::End;
                    return Ok(Some(Part::HeadTooLarge));
                }
                Some(Found::TooLarge(_)) => return Err(Fault::Stream(Code::MessageError)),
            }
        }
    }

    /// Says that the head was that of an answer on the way to the answer (RFC 9114 section 4.1): another one comes.
    pub fn await_head(&mut self) {
        self.at = At::Head;
    }

    /// Says how many bytes of content the head promises; more or fewer make the message malformed
    /// (RFC 9114 section 4.1.2).
    pub fn promise(&mut self, length: u64) {
        self.promised = Some(length);
    }

    /// Says that what follows are the bytes of another protocol.
    pub fn tunnel(&mut self) {
        self.at = At::Tunnel;
    }

    /// Bytes that are still to come of the DATA frame at hand.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.frames.left()
    }

    /// Takes the end of the stream, with these bytes left in the buffer.
    pub fn end(&self, buf: &[u8]) -> Result<(), Fault> {
        if !self.frames.may_end(buf) {
            return Err(Fault::Connection(Code::FrameError));
        }
        match self.at {
            At::Head => Err(Fault::Stream(Code::RequestIncomplete)),
            _ if self.promised.is_some_and(|promised| self.received != promised) => {
                Err(Fault::Stream(Code::MessageError))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], promised: Option<u64>) -> Result<Vec<Part>, Fault> {
        let (mut stream, mut buf) = (RequestStream::default(), BytesMut::new());
        if let Some(promised) = promised {
            stream.promise(promised);
        }
        let mut parts = Vec::new();
        for b in bytes {
            buf.extend_from_slice(&[*b]);
            while let Some(part) = stream.read(&mut buf, 8)? {
                parts.push(part);
            }
        }
        stream.end(&buf).map(|()| parts)
    }

    #[test]
    fn parts() {
        let data = |b: &'static [u8]| Part::Data(Bytes::from_static(b));
        let bytes = [0x21, 1, 9, 0x01, 1, 7, 0, 2, b'a', b'b', 0x40, 0x21, 0, 0x01, 1, 8, 0x21, 0];
        assert_eq!(
            read(&bytes, Some(2)).unwrap(),
            [
                Part::Head(Bytes::from_static(&[7])),
                data(b"a"),
                data(b"b"),
                Part::Trailers(Bytes::from_static(&[8])),
            ]
        );
        // A piece is as long as it comes.
        let (mut stream, mut buf) = (RequestStream::default(), BytesMut::from(&bytes[..]));
        stream.read(&mut buf, 8).unwrap();
        assert_eq!(stream.read(&mut buf, 8), Ok(Some(data(b"ab"))));
        assert_eq!(read(&[1, 9], None), Err(Fault::Connection(Code::FrameError)));
        assert_eq!(read(&[1, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9], None), Ok(vec![Part::HeadTooLarge]));
    }

    #[test]
    fn answers_may_have_others_before_them() {
        let bytes = [1, 1, 7, 1, 1, 8, 0, 1, b'a'];
        let (mut stream, mut buf) = (RequestStream::default(), BytesMut::from(&bytes[..]));
        let head = |b: &'static [u8]| Ok(Some(Part::Head(Bytes::from_static(b))));
        assert_eq!(stream.read(&mut buf, 8), head(&[7]));
        stream.await_head();
        assert_eq!(stream.read(&mut buf, 8), head(&[8]));
        assert_eq!(stream.read(&mut buf, 8), Ok(Some(Part::Data(Bytes::from_static(b"a")))));
    }

    #[test]
    fn violations() {
        use Fault::{Connection, Stream};
        for (bytes, fault) in [
            (&[][..], Stream(Code::RequestIncomplete)),
            (&[0x21, 0], Stream(Code::RequestIncomplete)),
            (&[0x01], Connection(Code::FrameError)),
            (&[0x01, 0, 0x00, 2, 1], Connection(Code::FrameError)),
            (&[0x00, 0], Connection(Code::FrameUnexpected)),
            (&[0x04, 0], Connection(Code::FrameUnexpected)),
            (&[0x01, 0, 0x04, 0], Connection(Code::FrameUnexpected)),
            (&[0x01, 0, 0x05, 0], Connection(Code::FrameUnexpected)),
            (&[0x01, 0, 0x03, 0], Connection(Code::FrameUnexpected)),
            (&[0x01, 0, 0x07, 0], Connection(Code::FrameUnexpected)),
            (&[0x01, 0, 0x0d, 0], Connection(Code::FrameUnexpected)),
            (&[0x01, 0, 0x80, 0x0f, 0x07, 0x00, 0], Connection(Code::FrameUnexpected)),
            (&[0x01, 0, 0x02, 0], Connection(Code::FrameUnexpected)),
            (&[0x01, 0, 0x01, 0, 0x00, 0], Connection(Code::FrameUnexpected)),
            (&[0x01, 0, 0x01, 0, 0x01, 0], Connection(Code::FrameUnexpected)),
        ] {
            assert_eq!(read(bytes, None), Err(fault), "{bytes:x?}");
        }
        let body = [0x01, 0, 0x00, 2, 1, 2];
        assert_eq!(read(&body, Some(1)), Err(Stream(Code::MessageError)));
        assert_eq!(read(&body, Some(3)), Err(Stream(Code::MessageError)));
        let empty = [&[0x01, 0][..], &[0x00, 0].repeat(1000)].concat();
        assert_eq!(read(&empty, None), Err(Connection(Code::ExcessiveLoad)));
    }
}
