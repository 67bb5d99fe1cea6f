//! Packets: what a link, IP and TCP say, and what TCP carries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What packets begin with: a link type of libpcap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Ethernet, with VLANs or without.
    Ethernet,
    /// Loopback of BSD: four bytes say which version of IP follows.
    Loopback,
    /// Nothing: IP follows.
    Raw,
    /// What Linux has for all devices together, in its first version.
    Cooked,
    /// The same in its second.
    Cooked2,
}

/// A segment of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Who sends it.
    pub from: SocketAddr,
    /// Whom to.
    pub to: SocketAddr,
    /// The number of its first byte.
    pub seq: u32,
    /// It begins what its sender sends; this has a number of its own.
    pub syn: bool,
    /// It ends that, by a FIN or RST.
    pub end: bool,
    /// What it carries, as far as that was captured.
    pub payload: &'a [u8],
    /// Bytes that it carries and that were not captured.
    pub missing: usize,
}

impl Link {
    /// The one of this number; none if it is not known.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        Some(match number {
            0 | 108 => Self::Loopback,
            1 => Self::Ethernet,
            12 | 14 | 101 | 228 | 229 => Self::Raw,
            113 => Self::Cooked,
            276 => Self::Cooked2,
            _ => return None,
        })
    }

    /// What IP has of a packet.
    fn ip(self, packet: &[u8]) -> Option<&[u8]> {
        let (mut kind, mut rest) = match self {
            Self::Raw => return Some(packet),
            // Of which version it is, is told again.
            Self::Loopback => return packet.get(4..),
            Self::Ethernet => (number(packet, 12)?, packet.get(14..)?),
            Self::Cooked => (number(packet, 14)?, packet.get(16..)?),
            Self::Cooked2 => (number(packet, 0)?, packet.get(20..)?),
        };
        // IEEE 802.1Q and 802.1ad
        while matches!(kind, 0x8100 | 0x88a8) {
            (kind, rest) = (number(rest, 2)?, rest.get(4..)?);
        }
        matches!(kind, 0x0800 | 0x86dd).then_some(rest)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

/// What IP says, and what it carries: its bytes, as far as they are there, and how many they are.
struct Datagram<'a> {
    from: IpAddr,
    to: IpAddr,
    payload: &'a [u8],
    length: usize,
}

/// Takes a segment out of a packet; none if there is no whole start of one.
#[must_use]
pub fn segment(link: Link, packet: &[u8]) -> Option<Segment<'_>> {
    let ip = link.ip(packet)?;
    let Datagram { from, to, payload: tcp, length } = match ip.first()? >> 4 {
        4 => ipv4(ip)?,
        6 => ipv6(ip)?,
        _ => return None,
    };
    // RFC 9293 section 3.1
    let seq = tcp.get(4..)?.first_chunk().copied().map(u32::from_be_bytes)?;
    let head = usize::from(tcp.get(12)? >> 4) * 4;
    let flags = *tcp.get(13)?;
    if head < 20 || length < head {
        return None;
    }
    let payload = tcp.get(head..)?;
    let from = SocketAddr::new(from, number(tcp, 0)?);
    let to = SocketAddr::new(to, number(tcp, 2)?);
    let missing = length - head - payload.len();
    let (syn, end) = (flags & 2 != 0, flags & 5 != 0);
    Some(Segment { from, to, seq, syn, end, payload, missing })
}

/// What is there of a payload of this length; 0 is said where there is too much to say how much.
fn carried(rest: &[u8], length: usize) -> (&[u8], usize) {
    let length = if length == 0 { rest.len() } else { length };
    (rest.get(..length).unwrap_or(rest), length)
}

/// RFC 791 section 3.1
fn ipv4(ip: &[u8]) -> Option<Datagram<'_>> {
    let head = usize::from(ip.first()? & 0xf) * 4;
    let total = usize::from(number(ip, 2)?);
    // Fragments are not put together.
    let is_whole = number(ip, 6)? & 0x3fff == 0;
    if head < 20 || !is_whole || *ip.get(9)? != 6 || (total > 0 && total < head) {
        return None;
    }
    let from = Ipv4Addr::from(*ip.get(12..)?.first_chunk::<4>()?);
    let to = Ipv4Addr::from(*ip.get(16..)?.first_chunk::<4>()?);
    let (payload, length) = carried(ip.get(head..)?, total.saturating_sub(head));
    Some(Datagram { from: from.into(), to: to.into(), payload, length })
}

/// Heads that may stand before TCP, at most.
const EXTENSIONS: usize = 8;

/// RFC 8200 sections 3 and 4
fn ipv6(ip: &[u8]) -> Option<Datagram<'_>> {
    let from = Ipv6Addr::from(*ip.get(8..)?.first_chunk::<16>()?);
    let to = Ipv6Addr::from(*ip.get(24..)?.first_chunk::<16>()?);
    let mut next = *ip.get(6)?;
    let (mut payload, mut length) = carried(ip.get(40..)?, usize::from(number(ip, 4)?));
    for _ in 0..EXTENSIONS {
        match next {
            6 => return Some(Datagram { from: from.into(), to: to.into(), payload, length }),
            // Options for hops, routing, options for the destination
            0 | 43 | 60 => {
                let len = (usize::from(*payload.get(1)?) + 1) * 8;
                next = *payload.first()?;
                (payload, length) = (payload.get(len..)?, length.checked_sub(len)?);
            }
            _ => return None,
        }
    }
    None
}
