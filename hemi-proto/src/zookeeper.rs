//! The protocol of ZooKeeper as its clients speak it: frames of a length and a record (jute), one for each request and answer.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Bytes of a frame, at most: what servers allow by default, and some room for what stands around data.
pub const MAX_FRAME: usize = (1 << 20) + (64 << 10);

/// The number of an answer that is an event.
pub const EVENT: i32 = -1;

/// The number of a sign of life, and of the answer to it.
pub const PING: i32 = -2;

/// What an error is numbered as.
pub mod code {
    /// There is no node of that path.
    pub const NO_NODE: i32 = -101;
    /// There is one already.
    pub const NODE_EXISTS: i32 = -110;
}

/// Bytes that are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadAnswer {
    /// A frame is longer than any may be, or of less than nothing.
    #[error("a frame of {0} bytes")]
    Length(i32),
    /// A record ends before all of it was there.
    #[error("an answer is cut off")]
    Short,
    /// A text is not in UTF-8.
    #[error("a text is not UTF-8")]
    Text,
}

/// What tells a session from others, so that it can go on by another connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Its number; 0 for one that is to begin.
    pub id: i64,
    /// What only its client knows.
    pub password: Bytes,
}

/// Appends what a connection begins with: the session, how long it lasts without a connection, in milliseconds, and the last
/// change that its client has seen.
pub fn encode_connect(out: &mut BytesMut, session: &Session, timeout: i32, seen: i64) {
    framed(out, |out| {
        out.put_i32(0);
        out.put_i64(seen);
        out.put_i32(timeout);
        out.put_i64(session.id);
        put_buffer(out, &session.password);
        out.put_u8(0);
    });
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// A node with this data, for everybody to change; if it is ephemeral, for as long as the session.
    Create {
        /// Its path.
        path: &'a str,
        /// Its data.
        data: &'a [u8],
        /// Whether it ends with the session.
        ephemeral: bool,
    },
    /// That a node goes, whatever its version.
    Delete(&'a str),
    /// Whether there is a node; its coming and going and its data are watched.
    Exists(&'a str),
    /// The data of a node, which is watched.
    Data(&'a str),
    /// The names of a node's children, whose coming and going is watched.
    Children(&'a str),
    /// A sign of life, which has the number [`PING`].
    Ping,
    /// The end of the session.
    Close,
}

/// Appends a request with this number.
pub fn encode(out: &mut BytesMut, number: i32, request: &Request<'_>) {
    let watched = |out: &mut BytesMut, kind: i32, path: &str| {
        out.put_i32(kind);
        put_buffer(out, path.as_bytes());
        out.put_u8(1);
    };
    framed(out, |out| {
        out.put_i32(number);
        match *request {
            Request::Create { path, data, ephemeral } => {
                out.put_i32(1);
                put_buffer(out, path.as_bytes());
                put_buffer(out, data);
                // One entry: everybody may do everything.
                out.put_i32(1);
                out.put_i32(31);
                put_buffer(out, b"world");
                put_buffer(out, b"anyone");
                out.put_i32(ephemeral.into());
            }
            Request::Delete(path) => {
                out.put_i32(2);
                put_buffer(out, path.as_bytes());
                out.put_i32(-1);
            }
            Request::Exists(path) => watched(out, 3, path),
            Request::Data(path) => watched(out, 4, path),
            Request::Children(path) => watched(out, 8, path),
            Request::Ping => out.put_i32(11),
            Request::Close => out.put_i32(-11),
        }
    });
}

fn framed(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_i32(0);
    write(out);
    let len = i32::try_from(out.len() - start - 4).unwrap_or(i32::MAX);
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&len.to_be_bytes());
    }
}

fn put_buffer(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    out.extend_from_slice(bytes);
}

/// Takes a frame off the front of what has come, if all of it is there.
///
/// # Errors
/// When it is longer than [`MAX_FRAME`].
pub fn read_frame(buf: &mut BytesMut) -> Result<Option<Bytes>, BadAnswer> {
    let Some(head) = buf.first_chunk() else { return Ok(None) };
    let announced = i32::from_be_bytes(*head);
    let len = usize::try_from(announced).ok().filter(|len| *len <= MAX_FRAME);
    let len = len.ok_or(BadAnswer::Length(announced))?;
    if buf.len() < 4 + len {
        return Ok(None);
    }
    buf.advance(4);
    Ok(Some(buf.split_to(len).freeze()))
}

/// What a server answers to the beginning of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// How long the session lasts without a connection, in milliseconds; nothing if it is over.
    pub timeout: u32,
    /// The session.
    pub session: Session,
}

/// Reads the first frame of a connection.
///
/// # Errors
/// When it is something else.
pub fn read_connected(mut frame: Bytes) -> Result<Connected, BadAnswer> {
    let frame = &mut frame;
    let _version = take_i32(frame)?;
    let timeout = u32::try_from(take_i32(frame)?).unwrap_or(0);
    let id = take_i64(frame)?;
    Ok(Connected { timeout, session: Session { id, password: take_buffer(frame)? } })
}

/// A frame that is not the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The number of the request, or [`EVENT`].
    pub number: i32,
    /// The last change that the server knows of; not above 0 where it says nothing of that.
    pub seen: i64,
    /// 0, or what has failed: see [`code`].
    pub error: i32,
    /// What is asked for.
    pub content: Bytes,
}

/// Reads a frame that is not the first.
///
/// # Errors
/// When it is no answer.
pub fn read_answer(mut frame: Bytes) -> Result<Answer, BadAnswer> {
    let (number, seen) = (take_i32(&mut frame)?, take_i64(&mut frame)?);
    Ok(Answer { number, seen, error: take_i32(&mut frame)?, content: frame })
}

/// Reads the content of an answer to [`Request::Data`].
///
/// # Errors
/// When it is something else.
pub fn read_data(mut content: Bytes) -> Result<Bytes, BadAnswer> {
    take_buffer(&mut content)
}

/// Reads the content of an answer to [`Request::Children`].
///
/// # Errors
/// When it is something else.
pub fn read_children(mut content: Bytes) -> Result<Vec<String>, BadAnswer> {
    let count = take_i32(&mut content)?.max(0);
    // As many as are there, whatever is announced.
    let names = (0..count).map(|_| {
        let name = take_buffer(&mut content)?;
        str::from_utf8(&name).map(str::to_owned).map_err(|_| BadAnswer::Text)
    });
    names.collect()
}

fn take_i32(from: &mut Bytes) -> Result<i32, BadAnswer> {
    from.try_get_i32().map_err(|_| BadAnswer::Short)
}

fn take_i64(from: &mut Bytes) -> Result<i64, BadAnswer> {
    from.try_get_i64().map_err(|_| BadAnswer::Short)
}

/// One that is null is as an empty one.
fn take_buffer(from: &mut Bytes) -> Result<Bytes, BadAnswer> {
    let len = usize::try_from(take_i32(from)?).unwrap_or(0);
    if len > from.len() {
        return Err(BadAnswer::Short);
    }
    Ok(from.split_to(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: &[u8]) -> Bytes {
        let mut buf = BytesMut::new();
        put_buffer(&mut buf, bytes);
        read_frame(&mut buf).unwrap().unwrap()
    }

    #[test]
    fn requests_are_records_in_frames() {
        let mut out = BytesMut::new();
        encode(&mut out, 7, &Request::Children("/a"));
        assert_eq!(&out[..], b"\0\0\0\x0f\0\0\0\x07\0\0\0\x08\0\0\0\x02/a\x01");
        out.clear();
        encode(&mut out, 1, &Request::Create { path: "/a", data: b"x", ephemeral: true });
        let expected = b"\0\0\0\x32\0\0\0\x01\0\0\0\x01\0\0\0\x02/a\0\0\0\x01x\
            \0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone\0\0\0\x01";
        assert_eq!(&out[..], expected);
        out.clear();
        let session = Session { id: 5, password: Bytes::from_static(b"pw") };
        encode_connect(&mut out, &session, 10_000, 3);
        let expected =
            b"\0\0\0\x1f\0\0\0\0\0\0\0\0\0\0\0\x03\0\0\x27\x10\0\0\0\0\0\0\0\x05\0\0\0\x02pw\0";
        assert_eq!(&out[..], expected);
    }

    #[test]
    fn answers_are_read_and_what_is_cut_off_is_told() {
        let connected = b"\0\0\0\0\0\0\x27\x10\0\0\0\0\0\0\0\x05\0\0\0\x02pw";
        let session = Session { id: 5, password: Bytes::from_static(b"pw") };
        let expected = Connected { timeout: 10_000, session };
        assert_eq!(read_connected(frame(connected)), Ok(expected));
        assert_eq!(read_connected(frame(&connected[..21])), Err(BadAnswer::Short));
        let answer = read_answer(frame(
            b"\0\0\0\x07\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc",
        ));
        let answer = answer.unwrap();
        assert_eq!((answer.number, answer.seen, answer.error), (7, 9, 0));
        assert_eq!(read_children(answer.content.clone()).unwrap(), ["a", "bc"]);
        assert_eq!(read_children(answer.content.slice(..8)), Err(BadAnswer::Short));
        let data = Bytes::from_static(b"\0\0\0\x01x");
        assert_eq!(read_data(data), Ok(Bytes::from_static(b"x")));
        assert_eq!(read_data(Bytes::from_static(b"\xff\xff\xff\xff")), Ok(Bytes::new()));
        let many = Bytes::from_static(b"\x7f\xff\xff\xff\0\0\0\x01a");
        assert_eq!(read_children(many), Err(BadAnswer::Short));
    }

    #[test]
    fn frames_have_a_bound() {
        for (bytes, expected) in [
            (&b"\0\0"[..], Ok(None)),
            (b"\0\0\0\x02a", Ok(None)),
            (b"\xff\xff\xff\xff", Err(BadAnswer::Length(-1))),
            (b"\x7f\0\0\0", Err(BadAnswer::Length(0x7f00_0000))),
        ] {
            assert_eq!(read_frame(&mut BytesMut::from(bytes)), expected);
        }
    }
}
