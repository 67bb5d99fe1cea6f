//! The question of gRPC whether a server is well (`grpc.health.v1.Health/Check`), and its answer.

use thiserror::Error;

/// The path that it is asked at.
pub const PATH: &str = "/grpc.health.v1.Health/Check";

/// Bytes in front of each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// What a server says about a service of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// It is well.
    Yes,
    /// It is not, or does not know: its number for that.
    No(u64),
}

/// Bytes that are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadHealth {
    /// It is compressed, though nobody said that we could read that.
    #[error("the answer is compressed")]
    Compressed,
    /// It is not one whole message.
    #[error("the answer is not one message of gRPC")]
    Framing,
    /// The message can't be read.
    #[error("the answer is no message of protobuf")]
    Message,
}

/// The question about a service; an empty name is the server as a whole.
#[must_use]
pub fn encode_check(service: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(service.len() + 6);
    if !service.is_empty() {
        // Field 1, which is a text.
        message.push(1 << 3 | 2);
        let mut len = service.len();
        while len >= 0x80 {
            message.push(len as u8 | 0x80);
            len >>= 7;
        }
        message.push(len as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut out = vec![0];
    out.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(message);
    out
}

/// Reads the whole content of an answer.
///
/// # Errors
/// When it is none.
pub fn read_check(content: &[u8]) -> Result<Serving, BadHealth> {
    let (&[compressed, a, b, c, d], mut message) =
        content.split_first_chunk::<PREFIX>().ok_or(BadHealth::Framing)?;
    if u32::from_be_bytes([a, b, c, d]) as usize != message.len() {
        return Err(BadHealth::Framing);
    }
    if compressed != 0 {
        return Err(BadHealth::Compressed);
    }
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => _ = varint(&mut message)?,
            (_, 1) => skip(&mut message, 8)?,
            (_, 2) => {
                let len = varint(&mut message)?;
                skip(&mut message, len)?;
            }
            (_, 5) => skip(&mut message, 4)?,
            _ => return Err(BadHealth::Message),
        }
    }
    Ok(if status == 1 { Serving::Yes } else { Serving::No(status) })
}

fn varint(message: &mut &[u8]) -> Result<u64, BadHealth> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first().ok_or(BadHealth::Message)?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(BadHealth::Message)
}

fn skip(message: &mut &[u8], len: u64) -> Result<(), BadHealth> {
    let len = usize::try_from(len).map_err(|_| BadHealth::Message)?;
    *message = message.get(len..).ok_or(BadHealth::Message)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions() {
        assert_eq!(encode_check(""), [0, 0, 0, 0, 0]);
        assert_eq!(encode_check("a.B"), *b"\0\0\0\0\x05\x0a\x03a.B");
        assert_eq!(encode_check(&"x".repeat(300))[..8], *b"\0\0\0\x01\x2f\x0a\xac\x02");
    }

    #[test]
    fn answers() {
        for (content, expected) in [
            (&b"\0\0\0\0\x02\x08\x01"[..], Ok(Serving::Yes)),
            (b"\0\0\0\0\x02\x08\x02", Ok(Serving::No(2))),
            (b"\0\0\0\0\0", Ok(Serving::No(0))),
            // Fields that are not known yet.
            (b"\0\0\0\0\x07\x12\x01x\x08\x01\x18\x05", Ok(Serving::Yes)),
            (b"\x01\0\0\0\x02\x08\x01", Err(BadHealth::Compressed)),
            (b"\0\0\0\0\x03\x08\x01", Err(BadHealth::Framing)),
            (b"\0\0\0\0\x02\x08\x01\0", Err(BadHealth::Framing)),
            (b"", Err(BadHealth::Framing)),
            (b"\0\0\0\0\x02\x12\x05", Err(BadHealth::Message)),
            (b"\0\0\0\0\x01\x08", Err(BadHealth::Message)),
            (b"\0\0\0\0\x01\x0b", Err(BadHealth::Message)),
            (b"\0\0\0\0\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Err(BadHealth::Message)),
        ] {
            assert_eq!(read_check(content), expected, "{content:?}");
        }
    }
}
