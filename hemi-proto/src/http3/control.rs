//! The streams that a client opens in its direction only (RFC 9114 section 6.2).

use bytes::{Buf, Bytes, BytesMut};

use super::frame::{Found, FrameReader, Kind, Use};
use super::{Code, Settings, varint};

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UniKind {
    /// Frames about the connection.
    Control,
    /// Instructions to the decoder of QPACK.
    QpackEncoder,
    /// Instructions to the encoder of QPACK.
    QpackDecoder,
    /// Something that is not known here, and not read.
    Unknown,
}

/// The streams of a connection so far: of most kinds there is one.
#[derive(Debug, Default)]
pub struct Incoming {
    seen: [bool; 3],
}

impl Incoming {
    /// Takes the kind of a stream off its first bytes; none until they have come.
    pub fn kind(&mut self, buf: &mut BytesMut) -> Result<Option<UniKind>, Code> {
        let mut bytes = &buf[..];
        let Some(kind) = varint::decode(&mut bytes) else { return Ok(None) };
        let (kind, index) = match kind {
            0x00 => (UniKind::Control, 0),
            // Only servers push.
            0x01 => return Err(Code::StreamCreationError),
            0x02 => (UniKind::QpackEncoder, 1),
            0x03 => (UniKind::QpackDecoder, 2),
            _ => return Ok(Some(UniKind::Unknown)),
        };
        if std::mem::replace(&mut self.seen[index], true) {
            return Err(Code::StreamCreationError);
        }
        buf.advance(buf.len() - bytes.len());
        Ok(Some(kind))
    }
}

impl UniKind {
    /// What the end of such a stream means.
    pub fn end(self) -> Result<(), Code> {
        match self {
            Self::Unknown => Ok(()),
            _ => Err(Code::ClosedCriticalStream),
        }
    }
}

/// What a client says about the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum ControlEvent {
    /// Its settings, which come first and once.
    Settings(Settings),
    /// It takes no pushes from this one on, and is about to leave.
    Goaway,
    /// It wants an answer earlier or later (RFC 9218 section 7): the value is that of the field `priority`.
    PriorityUpdate(Prioritized, Bytes),
}

/// The stream that a priority is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prioritized(pub u64);

/// Reads the control stream.
#[derive(Debug, Default)]
pub struct ControlStream {
    frames: FrameReader,
    has_settings: bool,
    goaway: Option<u64>,
    max_push: Option<u64>,
}

/// Bytes of the frames that are of interest here, at most.
const MOST: usize = 4 << 10;

impl ControlStream {
    /// Takes the next frame that matters off `buf`; none until it has come.
    pub fn read(&mut self, buf: &mut BytesMut) -> Result<Option<ControlEvent>, Code> {
        loop {
            let has_settings = self.has_settings;
            let judge = |kind| match kind {
                Kind::SETTINGS if has_settings => Err(Code::FrameUnexpected),
                Kind::SETTINGS => Ok(Use::Whole(MOST)),
                _ if !has_settings => Err(Code::MissingSettings),
                Kind::DATA | Kind::HEADERS | Kind::PUSH_PROMISE => Err(Code::FrameUnexpected),
                Kind::GOAWAY
                | Kind::CANCEL_PUSH
                | Kind::MAX_PUSH_ID
                | Kind::PRIORITY_UPDATE_REQUEST
                | Kind::PRIORITY_UPDATE_PUSH => Ok(Use::Whole(MOST)),
                _ => Ok(Use::Skip),
            };
            match self.frames.read(buf, judge)? {
                None => return Ok(None),
                Some(Found::Whole(kind, payload)) => {
                    if let Some(event) = self.take(kind, payload)? {
                        return Ok(Some(event));
                    }
                }
                Some(Found::TooLarge(_)) => return Err(Code::ExcessiveLoad),
                Some(Found::Start(..) | Found::Piece(_)) => {}
            }
        }
    }

    fn take(&mut self, kind: Kind, mut payload: Bytes) -> Result<Option<ControlEvent>, Code> {
        if kind == Kind::SETTINGS {
            self.has_settings = true;
            return Settings::parse(&payload).map(ControlEvent::Settings).map(Some);
        }
        let mut bytes = &payload[..];
        let id = varint::decode(&mut bytes).ok_or(Code::FrameError)?;
        payload.advance(payload.len() - bytes.len());
        match kind {
            Kind::PRIORITY_UPDATE_REQUEST => {
                // Of a stream that a client opens both ways.
                if id % 4 != 0 {
                    return Err(Code::IdError);
                }
                return Ok(Some(ControlEvent::PriorityUpdate(Prioritized(id), payload)));
            }
            // Nothing was promised that it could be about.
            Kind::PRIORITY_UPDATE_PUSH => return Err(Code::IdError),
            _ if !payload.is_empty() => return Err(Code::FrameError),
            Kind::CANCEL_PUSH => return Err(Code::IdError),
            _ => {}
        }
        match kind {
            Kind::MAX_PUSH_ID => {
                if self.max_push.is_some_and(|known| id < known) {
                    return Err(Code::IdError);
                }
                self.max_push = Some(id);
                Ok(None)
            }
            _ => {
                if self.goaway.is_some_and(|known| id > known) {
                    return Err(Code::IdError);
                }
                self.goaway = Some(id);
                Ok(Some(ControlEvent::Goaway))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<ControlEvent>, Code> {
        let (mut stream, mut buf) = (ControlStream::default(), BytesMut::new());
        let mut events = Vec::new();
        for b in bytes {
            buf.extend_from_slice(&[*b]);
            while let Some(event) = stream.read(&mut buf)? {
                events.push(event);
            }
        }
        Ok(events)
    }

    #[test]
    fn events() {
        let bytes = [
            &[0x04, 2, 0x01, 0][..],
            &[0x21, 3, 1, 2, 3],
            &[0x0d, 1, 5],
            &[0x80, 0x0f, 0x07, 0x00, 4, 0x08, b'u', b'=', b'1'],
            &[0x07, 1, 9, 0x07, 1, 3],
        ];
        let events = read(&bytes.concat()).unwrap();
        assert_eq!(
            events,
            [
                ControlEvent::Settings(Settings::default()),
                ControlEvent::PriorityUpdate(Prioritized(8), Bytes::from_static(b"u=1")),
                ControlEvent::Goaway,
                ControlEvent::Goaway,
            ]
        );
    }

    #[test]
    fn violations() {
        for (bytes, code) in [
            (&[0x21, 0][..], Code::MissingSettings),
            (&[0x07, 1, 0], Code::MissingSettings),
            (&[0x00, 0], Code::MissingSettings),
            (&[0x06, 0], Code::FrameUnexpected),
            (&[0x04, 0, 0x04, 0], Code::FrameUnexpected),
            (&[0x04, 0, 0x00, 0], Code::FrameUnexpected),
            (&[0x04, 0, 0x01, 0], Code::FrameUnexpected),
            (&[0x04, 0, 0x05, 0], Code::FrameUnexpected),
            (&[0x04, 0, 0x08, 0], Code::FrameUnexpected),
            (&[0x04, 0, 0x07, 0], Code::FrameError),
            (&[0x04, 0, 0x07, 2, 1, 1], Code::FrameError),
            (&[0x04, 0, 0x07, 1, 0x40], Code::FrameError),
            (&[0x04, 0, 0x07, 1, 1, 0x07, 1, 2], Code::IdError),
            (&[0x04, 0, 0x0d, 1, 5, 0x0d, 1, 4], Code::IdError),
            (&[0x04, 0, 0x03, 1, 0], Code::IdError),
            (&[0x04, 0, 0x80, 0x0f, 0x07, 0x00, 1, 3], Code::IdError),
            (&[0x04, 0, 0x80, 0x0f, 0x07, 0x01, 1, 0], Code::IdError),
            (&[0x04, 0x80, 1, 0, 0], Code::ExcessiveLoad),
        ] {
            assert_eq!(read(bytes), Err(code), "{bytes:x?}");
        }
        let many = [&[0x04, 0][..], &[0x21, 0].repeat(1001)].concat();
        assert_eq!(read(&many), Err(Code::ExcessiveLoad));
    }

    #[test]
    fn one_of_each_kind() {
        let mut incoming = Incoming::default();
        let mut kind = |bytes: &[u8]| incoming.kind(&mut bytes.into());
        assert_eq!(kind(&[0x40]), Ok(None));
        assert_eq!(kind(&[0x00]), Ok(Some(UniKind::Control)));
        assert_eq!(kind(&[0x00]), Err(Code::StreamCreationError));
        assert_eq!(kind(&[0x02, 1]), Ok(Some(UniKind::QpackEncoder)));
        assert_eq!(kind(&[0x03]), Ok(Some(UniKind::QpackDecoder)));
        assert_eq!(kind(&[0x01]), Err(Code::StreamCreationError));
        assert_eq!(kind(&[0x21]), Ok(Some(UniKind::Unknown)));
        assert_eq!(kind(&[0x21]), Ok(Some(UniKind::Unknown)));
    }
}
