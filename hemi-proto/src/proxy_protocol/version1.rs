//! Version 1: a line that people can read (section 2.1).

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use bytes::{BufMut, BytesMut};

use super::{Ends, HeaderError, ProxyHeader, Tlvs, Transport};
use crate::ascii::parse_decimal;

const SIGNATURE: &[u8] = b"PROXY ";

/// The longest line, with its end.
const LINE: usize = 107;

pub(super) fn read(buf: &mut BytesMut) -> Result<Option<ProxyHeader>, HeaderError> {
    let begun = buf.len().min(SIGNATURE.len());
    if buf.get(..begun) != SIGNATURE.get(..begun) {
        return Err(HeaderError::Signature);
    }
    let within = buf.get(..buf.len().min(LINE)).unwrap_or_default();
    let Some(end) = memchr::memchr(b'\n', within) else {
        return if buf.len() < LINE { Ok(None) } else { Err(HeaderError::TooLarge) };
    };
    let header = parse(buf.get(..=end).unwrap_or_default()).ok_or(HeaderError::Line)?;
    let _ = buf.split_to(end + 1);
    Ok(Some(header))
}

fn parse(line: &[u8]) -> Option<ProxyHeader> {
    let line = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let ends = match words.next()? {
        // Whatever follows is to be ignored.
        "UNKNOWN" => {
            let (transport, tlvs) = (Transport::Unspecified, Tlvs::default());
            return Some(ProxyHeader { transport, ends: Ends::Unknown, tlvs });
        }
        "TCP4" => ends::<Ipv4Addr>(&mut words)?,
        "TCP6" => ends::<Ipv6Addr>(&mut words)?,
        _ => return None,
    };
    let header = ProxyHeader { transport: Transport::Stream, ends, tlvs: Tlvs::default() };
    words.next().is_none().then_some(header)
}

fn ends<'a, Ip: FromStr + Into<IpAddr>>(words: &mut impl Iterator<Item = &'a str>) -> Option<Ends> {
    let mut ip = || words.next()?.parse::<Ip>().ok().map(Into::into);
    let (source, destination): (IpAddr, IpAddr) = (ip()?, ip()?);
    let mut port = || {
        let digits = words.next()?.as_bytes();
        let canonical = digits.first() != Some(&b'0') || digits.len() == 1;
        parse_decimal(digits).filter(|_| canonical).and_then(|port| u16::try_from(port).ok())
    };
    let (source, destination) =
        (SocketAddr::new(source, port()?), SocketAddr::new(destination, port()?));
    Some(Ends::Inet { source, destination })
}

/// Appends the line that says who the ends of a stream are: `UNKNOWN` for all that version 1 has no words
/// for, or if the two are of different versions of IP.
pub fn encode_v1(out: &mut BytesMut, ends: &Ends) {
    let mut line = out.writer();
    // Neither can fail: the buffer grows.
    let _ = match ends {
        Ends::Inet { source: SocketAddr::V4(s), destination: SocketAddr::V4(d) } => {
            write!(line, "PROXY TCP4 {} {} {} {}\r\n", s.ip(), d.ip(), s.port(), d.port())
        }
        Ends::Inet { source: SocketAddr::V6(s), destination: SocketAddr::V6(d) } => {
            write!(line, "PROXY TCP6 {} {} {} {}\r\n", s.ip(), d.ip(), s.port(), d.port())
        }
        _ => line.write_all(b"PROXY UNKNOWN\r\n"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy_protocol::{Limits, read};

    fn read_line(line: &str) -> Result<Option<ProxyHeader>, HeaderError> {
        read(&mut BytesMut::from(line), &Limits::default())
    }

    #[test]
    fn lines_are_read_and_written() {
        for (line, source, destination) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 49152 443\r\n", "192.0.2.1:49152", "192.0.2.2:443"),
            (
                "PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
                "0.0.0.0:0",
                "255.255.255.255:65535",
            ),
            ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "[2001:db8::1]:1", "[::1]:2"),
        ] {
            let header = read_line(line).unwrap().unwrap();
            assert_eq!(header.source(), Some(source.parse().unwrap()), "{line}");
            assert_eq!(header.destination(), Some(destination.parse().unwrap()), "{line}");
            let mut out = BytesMut::new();
            encode_v1(&mut out, &header.ends);
            assert_eq!(out, line);
        }
    }

    #[test]
    fn what_is_not_known_is_said_to_be_so() {
        let long = format!("PROXY UNKNOWN {} {} 65535 65535\r\n", "f".repeat(39), "f".repeat(39));
        assert_eq!(long.len(), LINE);
        for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN what ever\r\n", &long] {
            assert_eq!(read_line(line).unwrap().unwrap().ends, Ends::Unknown, "{line}");
        }
        let mixed = Ends::Inet {
            source: "[::1]:1".parse().unwrap(),
            destination: "192.0.2.2:2".parse().unwrap(),
        };
        for ends in [Ends::Unknown, Ends::Local, mixed] {
            let mut out = BytesMut::new();
            encode_v1(&mut out, &ends);
            assert_eq!(out, "PROXY UNKNOWN\r\n");
        }
    }

    #[test]
    fn the_rest_is_left_however_the_line_arrives() {
        let text = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nPROXY rest\n";
        for cut in 0..text.len() {
            let mut buf = BytesMut::from(&text[..cut]);
            let early = read(&mut buf, &Limits::default()).unwrap();
            assert_eq!(early.is_some(), cut >= 36, "{cut}");
            buf.extend_from_slice(&text[cut..]);
            if early.is_none() {
                assert!(read(&mut buf, &Limits::default()).unwrap().is_some());
            }
            assert_eq!(buf, "PROXY rest\n");
        }
    }

    #[test]
    fn refused() {
        let endless = "PROXY UNKNOWN ".to_owned() + &"x".repeat(LINE);
        for (line, error) in [
            ("PROXY\tTCP4", HeaderError::Signature),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", HeaderError::Line),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", HeaderError::Line),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", HeaderError::Line),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", HeaderError::Line),
            ("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", HeaderError::Line),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", HeaderError::Line),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", HeaderError::Line),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", HeaderError::Line),
            ("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", HeaderError::Line),
            ("PROXY TCP4 ::1 ::1 1 2\r\n", HeaderError::Line),
            ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", HeaderError::Line),
            ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", HeaderError::Line),
            ("PROXY \r\n", HeaderError::Line),
            (&endless, HeaderError::TooLarge),
        ] {
            assert_eq!(read_line(line), Err(error), "{line}");
        }
    }
}
