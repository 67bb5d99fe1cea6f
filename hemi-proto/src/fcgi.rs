//! FastCGI 1.0, from the side of the server: requests in the role of a responder, and their answers.
//!
//! One request at a time on a connection: applications that take several at once are not known.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before the content of a record.
const HEAD: usize = 8;

/// Bytes of content in a record, at most.
pub const MAX_CONTENT: usize = 0xffff;

const VERSION: u8 = 1;

/// The id of the only request on a connection; 0 is for records about the connection itself.
const REQUEST: u16 = 1;

const BEGIN_REQUEST: u8 = 1;
const ABORT_REQUEST: u8 = 2;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

/// A parameter that does not fit in a record: its name and value have more than about 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a parameter is larger than a record")]
pub struct ParamTooLarge;

/// Begins a request; the application leaves the connection open after it, if `keep`.
pub fn encode_begin(out: &mut BytesMut, keep: KeepConn) {
    put_head(out, BEGIN_REQUEST, 8);
    // The role of a responder.
    out.put_u16(1);
    out.put_u8(keep as u8);
    out.put_bytes(0, 5);
}

/// Whether a connection is to serve another request after this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepConn {
    /// No.
    No = 0,
    /// Yes.
    Yes = 1,
}

/// Appends all parameters of a request, and their end.
///
/// Records end between parameters: php-fpm resets the connection when one is cut.
///
/// # Errors
/// When one does not fit in a record; `out` is then as it was before.
pub fn encode_params<'a>(
    out: &mut BytesMut,
    params: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(), ParamTooLarge> {
    let start = out.len();
    let mut record = start;
    put_head(out, PARAMS, 0);
    for (name, value) in params {
        let len = length_size(name.len()) + length_size(value.len()) + name.len() + value.len();
        if len > MAX_CONTENT {
            out.truncate(start);
            return Err(ParamTooLarge);
        }
        if out.len() - record - HEAD + len > MAX_CONTENT {
            end_record(out, record);
            record = out.len();
            put_head(out, PARAMS, 0);
        }
        put_length(out, name.len());
        put_length(out, value.len());
        out.put_slice(name);
        out.put_slice(value);
    }
    end_record(out, record);
    if out.len() - record > HEAD {
        put_head(out, PARAMS, 0);
    }
    Ok(())
}

/// Begins a piece of the request's content, of 1 to [`MAX_CONTENT`] bytes, which follow.
pub fn encode_stdin_head(out: &mut BytesMut, len: u16) {
    put_head(out, STDIN, len);
}

/// Ends the request's content.
pub fn encode_stdin_end(out: &mut BytesMut) {
    put_head(out, STDIN, 0);
}

/// Asks the application to give the request up.
pub fn encode_abort(out: &mut BytesMut) {
    put_head(out, ABORT_REQUEST, 0);
}

fn put_head(out: &mut BytesMut, kind: u8, len: u16) {
    out.put_u8(VERSION);
    out.put_u8(kind);
    out.put_u16(REQUEST);
    out.put_u16(len);
    // No padding.
    out.put_u16(0);
}

/// Writes the length of the record that began at `record`.
fn end_record(out: &mut BytesMut, record: usize) {
    // Bounded by those who call.
    let len = (out.len() - record - HEAD) as u16;
    if let Some(place) = out.get_mut(record + 4..record + 6) {
        place.copy_from_slice(&len.to_be_bytes());
    }
}

const fn length_size(len: usize) -> usize {
    if len < 128 { 1 } else { 4 }
}

fn put_length(out: &mut BytesMut, len: usize) {
    // Bounded by the size of a record.
    if len < 128 { out.put_u8(len as u8) } else { out.put_u32(len as u32 | 1 << 31) }
}

/// One step of reading an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A piece of the answer: head and content in the form of CGI.
    Stdout(Bytes),
    /// A piece of what is to be logged.
    Stderr(Bytes),
    /// The answer is over. What its last byte was is known only now.
    End(End),
    /// Nothing more can be read from what has come.
    NeedMore,
}

/// How the application has ended a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has answered, with this status of exit.
    Complete(u32),
    /// It does not take another request on this connection at once.
    CantMultiplex,
    /// It has too much to do.
    Overloaded,
    /// It is no responder.
    UnknownRole,
}

/// Not what an application sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The version of the protocol is not 1.
    #[error("not FastCGI, or another version of it")]
    Version,
    /// A record belongs to a request that was never made.
    #[error("a record of an unknown request")]
    Request,
    /// A record has a type that applications don't send.
    #[error("a record of an unexpected type")]
    Type,
    /// The end of the request is malformed.
    #[error("a malformed end of the request")]
    End,
    /// Something comes after the end.
    #[error("bytes after the end of the request")]
    After,
}

/// Reads the answer to a request.
#[derive(Clone, Debug, Default)]
pub struct AnswerReader {
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Head,
    Content {
        kind: u8,
        left: usize,
        padding: usize,
    },
    Padding {
        left: usize,
    },
    /// The last padding, then nothing.
    Ended,
}

impl AnswerReader {
    /// Takes the next piece off the front of `buf`.
    ///
    /// # Errors
    /// When what comes is no answer: the connection can't be used any more.
    pub fn read(&mut self, buf: &mut BytesMut) -> Result<Event, AnswerError> {
        loop {
            match self.state {
                State::Head => {
                    let Some(head) = buf.first_chunk::<HEAD>().copied() else {
                        return Ok(Event::NeedMore);
                    };
                    self.state = content_of(head)?;
                    buf.advance(HEAD);
                }
                State::Content { kind: END_REQUEST, padding, .. } => {
                    // All of it at once, padding included, for nothing comes after it.
                    let Some(body) = buf.first_chunk::<8>().copied() else {
                        return Ok(Event::NeedMore);
                    };
                    if buf.len() < 8 + padding {
                        return Ok(Event::NeedMore);
                    }
                    buf.advance(8 + padding);
                    self.state = State::Ended;
                    return end_of(body).map(Event::End);
                }
                State::Content { left: 0, padding, .. } => {
                    self.state = State::Padding { left: padding };
                }
                State::Content { .. } | State::Padding { left: 1.. } if buf.is_empty() => {
                    return Ok(Event::NeedMore);
                }
                State::Content { kind, left, padding } => {
                    let piece = buf.split_to(left.min(buf.len())).freeze();
                    self.state = State::Content { kind, left: left - piece.len(), padding };
                    return Ok(if kind == STDOUT {
                        Event::Stdout(piece)
                    } else {
                        Event::Stderr(piece)
                    });
                }
                State::Padding { left: 0 } => self.state = State::Head,
                State::Padding { left } => {
                    let here = left.min(buf.len());
                    buf.advance(here);
                    self.state = State::Padding { left: left - here };
                }
                State::Ended if buf.is_empty() => return Ok(Event::NeedMore),
                State::Ended => return Err(AnswerError::After),
            }
        }
    }

    /// Whether the answer is over.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

/// What follows the head of a record.
fn content_of(head: [u8; HEAD]) -> Result<State, AnswerError> {
    let [version, kind, id_high, id_low, len_high, len_low, padding, _] = head;
    let (left, padding) = (u16::from_be_bytes([len_high, len_low]).into(), padding.into());
    if version != VERSION {
        return Err(AnswerError::Version);
    }
    if u16::from_be_bytes([id_high, id_low]) != REQUEST {
        return Err(AnswerError::Request);
    }
    match kind {
        STDOUT | STDERR => Ok(State::Content { kind, left, padding }),
        END_REQUEST if left == 8 => Ok(State::Content { kind, left, padding }),
        END_REQUEST => Err(AnswerError::End),
        _ => Err(AnswerError::Type),
    }
}

fn end_of([s0, s1, s2, s3, protocol, ..]: [u8; 8]) -> Result<End, AnswerError> {
    match protocol {
        0 => Ok(End::Complete(u32::from_be_bytes([s0, s1, s2, s3]))),
        1 => Ok(End::CantMultiplex),
        2 => Ok(End::Overloaded),
        3 => Ok(End::UnknownRole),
        _ => Err(AnswerError::End),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_as_the_specification_has_it() {
        let mut out = BytesMut::new();
        encode_begin(&mut out, KeepConn::Yes);
        assert_eq!(out[..], [1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
        out.clear();
        let long = [b'v'; 200];
        encode_params(&mut out, [(&b"A"[..], &b"bc"[..]), (b"L", &long)]).unwrap();
        assert_eq!(out[..13], [1, 4, 0, 1, 0, 211, 0, 0, 1, 2, b'A', b'b', b'c']);
        assert_eq!(out[13..19], [1, 0x80, 0, 0, 200, b'L']);
        assert_eq!(out[out.len() - 8..], [1, 4, 0, 1, 0, 0, 0, 0]);
        out.clear();
        encode_params(&mut out, []).unwrap();
        assert_eq!(out[..], [1, 4, 0, 1, 0, 0, 0, 0]);
        out.clear();
        encode_stdin_head(&mut out, 3);
        encode_stdin_end(&mut out);
        encode_abort(&mut out);
        assert_eq!(out[..8], [1, 5, 0, 1, 0, 3, 0, 0]);
        assert_eq!(out[8..], [1, 5, 0, 1, 0, 0, 0, 0, 1, 2, 0, 1, 0, 0, 0, 0]);
    }

    /// Splits records: their types and contents.
    fn records(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut records = Vec::new();
        while let [1, kind, 0, 1, high, low, 0, 0, rest @ ..] = bytes {
            let (content, rest) = rest.split_at(u16::from_be_bytes([*high, *low]).into());
            records.push((*kind, content.to_vec()));
            bytes = rest;
        }
        assert!(bytes.is_empty());
        records
    }

    #[test]
    fn records_end_between_parameters() {
        let value = vec![b'v'; 30_000];
        let params: Vec<(&[u8], &[u8])> = vec![(b"NAME", &value); 5];
        let mut out = BytesMut::new();
        encode_params(&mut out, params).unwrap();
        let records = records(&out);
        let lens: Vec<_> = records.iter().map(|(_, content)| content.len()).collect();
        let one = 1 + 4 + 4 + 30_000;
        assert_eq!(lens, [2 * one, 2 * one, one, 0]);
        assert!(records.iter().all(|(kind, _)| *kind == PARAMS));
    }

    #[test]
    fn a_parameter_has_to_fit() {
        let mut out = BytesMut::from("before");
        let value = vec![b'v'; MAX_CONTENT - 6];
        assert_eq!(encode_params(&mut out, [(&b"A"[..], &value[1..])]), Ok(()));
        out.truncate(6);
        assert_eq!(encode_params(&mut out, [(&b"A"[..], &value[..])]), Ok(()));
        out.truncate(6);
        let larger = vec![b'v'; MAX_CONTENT - 5];
        let refused = encode_params(&mut out, [(&b"B"[..], &b""[..]), (b"A", &larger)]);
        assert_eq!(refused, Err(ParamTooLarge));
        assert_eq!(out, "before");
    }

    const ANSWER: &[u8] = b"\x01\x06\x00\x01\x00\x03\x02\x00abc..\
        \x01\x07\x00\x01\x00\x01\x00\x00!\
        \x01\x06\x00\x01\x00\x00\x00\x00\
        \x01\x03\x00\x01\x00\x08\x01\x00\x00\x00\x00\x07\x00\x00\x00\x00.";

    #[test]
    fn answers_are_read_however_they_arrive() {
        for size in 1..=ANSWER.len() {
            let (mut reader, mut buf) = (AnswerReader::default(), BytesMut::new());
            let (mut stdout, mut stderr, mut end) = (Vec::new(), Vec::new(), None);
            for piece in ANSWER.chunks(size) {
                buf.extend_from_slice(piece);
                loop {
                    match reader.read(&mut buf).unwrap() {
                        Event::Stdout(piece) => stdout.extend_from_slice(&piece),
                        Event::Stderr(piece) => stderr.extend_from_slice(&piece),
                        Event::End(how) => end = Some(how),
                        Event::NeedMore => break,
                    }
                }
            }
            assert_eq!((&stdout[..], &stderr[..]), (&b"abc"[..], &b"!"[..]));
            assert_eq!(end, Some(End::Complete(7)));
            assert!(reader.is_ended() && buf.is_empty());
            buf.extend_from_slice(b"x");
            assert_eq!(reader.read(&mut buf), Err(AnswerError::After));
        }
    }

    #[test]
    fn refused() {
        for (bytes, error) in [
            (b"HTTP/1.1", AnswerError::Version),
            (b"\x01\x06\x00\x02\x00\x00\x00\x00", AnswerError::Request),
            (b"\x01\x0a\x00\x00\x00\x00\x00\x00", AnswerError::Request),
            (b"\x01\x05\x00\x01\x00\x00\x00\x00", AnswerError::Type),
            (b"\x01\x03\x00\x01\x00\x07\x00\x00", AnswerError::End),
        ] {
            let read = AnswerReader::default().read(&mut BytesMut::from(&bytes[..]));
            assert_eq!(read, Err(error), "{bytes:?}");
        }
    }
}
