//! HTTP datagrams (RFC 9297 section 2.1): a QUIC datagram that belongs to the stream of a request.

use bytes::{Buf, BufMut, Bytes};

use super::{Code, varint};

/// Streams have larger ids than this times four never (RFC 9000 section 2.1).
const MOST: u64 = varint::MAX / 4;

/// Splits a datagram into the stream that it belongs to and its payload.
pub fn decode(mut datagram: Bytes) -> Result<(u64, Bytes), Code> {
    let mut bytes = &datagram[..];
    let quarter = varint::decode(&mut bytes).filter(|quarter| *quarter <= MOST);
    let quarter = quarter.ok_or(Code::DatagramError)?;
    datagram.advance(datagram.len() - bytes.len());
    Ok((quarter * 4, datagram))
}

/// Appends what a datagram of this stream starts with.
pub fn put_head(stream: u64, out: &mut impl BufMut) {
    varint::encode(stream / 4, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_back_as_written() {
        for stream in [0, 4, 1024, MOST * 4] {
            let mut out = Vec::new();
            put_head(stream, &mut out);
            out.extend_from_slice(b"payload");
            let decoded = decode(Bytes::from(out));
            assert_eq!(decoded, Ok((stream, Bytes::from_static(b"payload"))));
        }
        let mut over = Vec::new();
        varint::encode(MOST + 1, &mut over);
        assert_eq!(decode(Bytes::from(over)), Err(Code::DatagramError));
        assert_eq!(decode(Bytes::new()), Err(Code::DatagramError));
    }
}
