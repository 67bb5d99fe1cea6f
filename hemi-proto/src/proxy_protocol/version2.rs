//! Version 2: binary, and with more to say (section 2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Ends, HeaderError, Limits, ProxyHeader, Transport};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before those that the header says the length of.
const HEAD: usize = 16;

/// Bytes of the path of a Unix socket, filled up with NUL.
const PATH: usize = 108;

/// Types of TLVs (section 2.2.1 and on).
pub mod tlv {
    /// The protocol that was agreed upon by TLS, as of ALPN.
    pub const ALPN: u8 = 0x01;
    /// The host that is asked for, as of SNI: a name in UTF-8.
    pub const AUTHORITY: u8 = 0x02;
    /// CRC-32C of the header, this value taken as zero.
    pub const CRC32C: u8 = 0x03;
    /// Means nothing.
    pub const NOOP: u8 = 0x04;
    /// Up to 128 bytes that tell this connection from others.
    pub const UNIQUE_ID: u8 = 0x05;
    /// What TLS has brought, with TLVs of its own.
    pub const SSL: u8 = 0x20;
    /// The name of the network namespace.
    pub const NETNS: u8 = 0x30;
}

/// What else a header says, each with its type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tlvs(Bytes);

impl Tlvs {
    /// Well-formed ones.
    ///
    /// # Errors
    /// When they are cut off.
    pub fn new(bytes: Bytes) -> Result<Self, HeaderError> {
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            take(&mut rest).ok_or(HeaderError::Tlv)?;
        }
        Ok(Self(bytes))
    }

    /// All of them, in the order they were sent in.
    pub fn iter(&self) -> impl Iterator<Item = (u8, Bytes)> + use<> {
        let mut rest = self.0.clone();
        std::iter::from_fn(move || take(&mut rest))
    }

    /// The first of a type.
    #[must_use]
    pub fn find(&self, kind: u8) -> Option<Bytes> {
        self.iter().find(|(other, _)| *other == kind).map(|(_, value)| value)
    }
}

fn take(rest: &mut Bytes) -> Option<(u8, Bytes)> {
    let kind = rest.try_get_u8().ok()?;
    let len = usize::from(rest.try_get_u16().ok()?);
    (rest.len() >= len).then(|| (kind, rest.split_to(len)))
}

pub(super) fn read(
    buf: &mut BytesMut,
    limits: &Limits,
) -> Result<Option<ProxyHeader>, HeaderError> {
    let begun = buf.len().min(SIGNATURE.len());
    if buf.get(..begun) != SIGNATURE.get(..begun) {
        return Err(HeaderError::Signature);
    }
    let Some(&[.., command, family, high, low]) = buf.first_chunk::<HEAD>() else {
        return Ok(None);
    };
    if !matches!(command, 0x20 | 0x21) {
        return Err(HeaderError::Version);
    }
    let len = HEAD + usize::from(u16::from_be_bytes([high, low]));
    if len > limits.size {
        return Err(HeaderError::TooLarge);
    }
    if buf.len() < len {
        return Ok(None);
    }
    let header = buf.split_to(len).freeze();
    let mut rest = header.slice(HEAD..);
    let transport = match family & 0xf {
        0 => Transport::Unspecified,
        1 => Transport::Stream,
        2 => Transport::Datagram,
        _ => return Err(HeaderError::Addresses),
    };
    // Those of the proxy's own connections mean nothing, but stand before the TLVs all the same.
    let ends = take_ends(family >> 4, &mut rest).ok_or(HeaderError::Addresses)?;
    let tlvs = match family {
        // What follows is of a form that is not known.
        0 => Tlvs::new(rest).unwrap_or_default(),
        _ => Tlvs::new(rest)?,
    };
    check_sum(&header, &tlvs)?;
    let ends = match (command, transport) {
        (0x20, _) => Ends::Local,
        (_, Transport::Unspecified) => Ends::Unknown,
        _ => ends,
    };
    Ok(Some(ProxyHeader { transport, ends, tlvs }))
}

fn take_ends(family: u8, rest: &mut Bytes) -> Option<Ends> {
    let (source, destination): (IpAddr, IpAddr) = match family {
        0 => return Some(Ends::Unknown),
        1 => {
            let mut ip = || rest.try_get_u32().ok().map(|ip| Ipv4Addr::from_bits(ip).into());
            (ip()?, ip()?)
        }
        2 => {
            let mut ip = || rest.try_get_u128().ok().map(|ip| Ipv6Addr::from_bits(ip).into());
            (ip()?, ip()?)
        }
        3 => {
            let mut path = || {
                let mut path = (rest.len() >= PATH).then(|| rest.split_to(PATH))?;
                // An abstract one begins with NUL.
                let end = path.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
                path.truncate(end);
                Some(path)
            };
            return Some(Ends::Unix { source: path()?, destination: path()? });
        }
        _ => return None,
    };
    let mut port = || rest.try_get_u16().ok();
    let (source, destination) =
        (SocketAddr::new(source, port()?), SocketAddr::new(destination, port()?));
    Some(Ends::Inet { source, destination })
}

fn check_sum(header: &Bytes, tlvs: &Tlvs) -> Result<(), HeaderError> {
    let Some(sum) = tlvs.find(tlv::CRC32C) else { return Ok(()) };
    let Ok(value) = <[u8; 4]>::try_from(&sum[..]) else { return Err(HeaderError::Tlv) };
    let at = sum.as_ptr().addr() - header.as_ptr().addr();
    let (before, rest) = header.split_at_checked(at).ok_or(HeaderError::Tlv)?;
    let after = rest.get(value.len()..).unwrap_or_default();
    let computed = !crc32c(crc32c(crc32c(!0, before), &[0; 4]), after);
    if computed == u32::from_be_bytes(value) { Ok(()) } else { Err(HeaderError::Checksum) }
}

/// CRC-32C of Castagnoli, without its inversions.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    bytes.iter().fold(crc, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

/// Appends a header, with TLVs of up to 32 KiB. Ends of different versions of IP are both told as of IPv6.
///
/// # Errors
/// When the TLVs are larger.
pub fn encode_v2(out: &mut BytesMut, header: &ProxyHeader) -> Result<(), HeaderError> {
    let transport = match header.transport {
        Transport::Unspecified => 0,
        Transport::Stream => 1,
        Transport::Datagram => 2,
    };
    let tlvs = &header.tlvs.0;
    if tlvs.len() > 32 << 10 {
        return Err(HeaderError::TooLarge);
    }
    let mut ends = BytesMut::new();
    let (command, family) = match &header.ends {
        Ends::Local => (0x20, 0),
        Ends::Unknown => (0x21, 0),
        Ends::Inet { source, destination } => {
            let family = match (source.ip(), destination.ip()) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    ends.put_slice(&source.octets());
                    ends.put_slice(&destination.octets());
                    1
                }
                (source, destination) => {
                    ends.put_slice(&as_v6(source).octets());
                    ends.put_slice(&as_v6(destination).octets());
                    2
                }
            };
            ends.put_u16(source.port());
            ends.put_u16(destination.port());
            (0x21, family << 4 | transport)
        }
        Ends::Unix { source, destination } => {
            for path in [source, destination] {
                let path = path.get(..path.len().min(PATH)).unwrap_or_default();
                ends.put_slice(path);
                ends.put_bytes(0, PATH - path.len());
            }
            (0x21, 3 << 4 | transport)
        }
    };
    out.put_slice(SIGNATURE);
    out.put_u8(command);
    out.put_u8(family);
    // Bounded above.
    out.put_u16((ends.len() + tlvs.len()) as u16);
    out.put_slice(&ends);
    out.put_slice(tlvs);
    Ok(())
}

fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy_protocol::read;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &len, rest].concat()
    }

    fn read_all(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderError> {
        read(&mut BytesMut::from(bytes), &Limits::default())
    }

    const V4: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2, 0xc0, 0, 1, 0xbb];

    #[test]
    fn headers_survive_being_written_and_read() {
        let (v4, v6) = ("192.0.2.1:1".parse().unwrap(), "[2001:db8::1]:2".parse().unwrap());
        let tlvs = Tlvs::new(Bytes::from_static(b"\x02\0\x03abc\x04\0\0")).unwrap();
        let unix = Ends::Unix { source: "/a".into(), destination: Bytes::from_static(b"\0b") };
        let inet = |source, destination| Ends::Inet { source, destination };
        for (ends, transport) in [
            (inet(v4, v4), Transport::Stream),
            (inet(v6, v6), Transport::Datagram),
            (unix, Transport::Stream),
            (Ends::Local, Transport::Unspecified),
            (Ends::Unknown, Transport::Unspecified),
        ] {
            let header = ProxyHeader { transport, ends, tlvs: tlvs.clone() };
            let mut out = BytesMut::new();
            encode_v2(&mut out, &header).unwrap();
            out.extend_from_slice(b"rest");
            assert_eq!(read(&mut out, &Limits::default()), Ok(Some(header)));
            assert_eq!(out, "rest");
        }
        let mut out = BytesMut::new();
        encode_v2(&mut out, &ProxyHeader::of_stream(v4, v6)).unwrap();
        let read = read_all(&out).unwrap().unwrap();
        assert_eq!(read.source(), Some("[::ffff:192.0.2.1]:1".parse().unwrap()));
    }

    #[test]
    fn nothing_is_taken_before_all_is_there() {
        let whole = header(0x21, 0x11, V4);
        for cut in 0..whole.len() {
            let mut buf = BytesMut::from(&whole[..cut]);
            assert_eq!(read(&mut buf, &Limits::default()), Ok(None));
            assert_eq!(buf.len(), cut);
        }
        let read = read_all(&whole).unwrap().unwrap();
        assert_eq!(read.source(), Some("192.0.2.1:49152".parse().unwrap()));
        assert_eq!(read.destination(), Some("192.0.2.2:443".parse().unwrap()));
    }

    #[test]
    fn checksums_are_checked() {
        // The check value of the polynomial.
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
        let with = |sum: [u8; 4]| header(0x21, 0x11, &[V4, &[tlv::CRC32C, 0, 4], &sum].concat());
        let right = (!crc32c(!0, &with([0; 4]))).to_be_bytes();
        assert!(read_all(&with(right)).unwrap().is_some());
        assert_eq!(read_all(&with([1, 2, 3, 4])), Err(HeaderError::Checksum));
    }

    #[test]
    fn who_speaks_for_itself_may_say_anything() {
        for (command, family, rest, ends) in [
            (0x20, 0x00, &b""[..], Ends::Local),
            (0x20, 0x11, V4, Ends::Local),
            (0x21, 0x00, b"anything", Ends::Unknown),
            (0x21, 0x10, V4, Ends::Unknown),
        ] {
            assert_eq!(read_all(&header(command, family, rest)).unwrap().unwrap().ends, ends);
        }
    }

    #[test]
    fn refused() {
        use HeaderError as E;
        for (command, family, rest, error) in [
            (0x11, 0x11, V4, E::Version),
            (0x22, 0x11, V4, E::Version),
            (0x21, 0x13, V4, E::Addresses),
            (0x21, 0x41, V4, E::Addresses),
            (0x21, 0x11, &V4[1..], E::Addresses),
            (0x21, 0x21, V4, E::Addresses),
            (0x21, 0x31, V4, E::Addresses),
            (0x21, 0x11, &[V4, &[1]].concat()[..], E::Tlv),
            (0x21, 0x11, &[V4, &[1, 0, 2, 0]].concat()[..], E::Tlv),
            (0x21, 0x11, &[V4, &[3, 0, 2, 0, 0]].concat()[..], E::Tlv),
            (0x21, 0x11, &[0; 5000][..], E::TooLarge),
        ] {
            assert_eq!(read_all(&header(command, family, rest)), Err(error), "{family:x} {rest:?}");
        }
    }
}
