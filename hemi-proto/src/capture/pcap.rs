//! Files of libpcap (draft-ietf-opsawg-pcap): a head of 24 bytes, and packets behind heads of 16.

use std::time::Duration;

use super::packet::Link;

/// Bytes of the file's head.
const FILE_HEAD: usize = 24;

/// Bytes of a packet's head.
const PACKET_HEAD: usize = 16;

/// Bytes of a packet, at most: as many as libpcap takes.
const MOST: usize = 256 << 10;

/// What a file says of all of its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// What packets begin with.
    pub link: Link,
    little: bool,
    nanos: bool,
}

/// A packet, or as much of it as was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When it was captured, since 1970.
    pub time: Duration,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What there is at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<T> {
    /// This, of so many bytes.
    Whole(T, usize),
    /// The start of it, which has so many bytes at least.
    Needs(usize),
}

/// What makes a file none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PcapError {
    /// It begins otherwise.
    #[error("this is no file of libpcap")]
    Magic,
    /// It is one of its successor.
    #[error("this is a file of pcapng: `tcpdump -r FILE -w OTHER` makes one of libpcap of it")]
    Pcapng,
    /// Its packets begin with something that is not known.
    #[error("packets of link type {0} are not known")]
    Link(u32),
    /// A packet is longer than packets may be.
    #[error("a packet of {0} bytes")]
    TooLong(usize),
}

impl File {
    /// Reads the head of a file.
    ///
    /// # Errors
    /// When it is none.
    pub fn begin(buf: &[u8]) -> Result<Decoded<Self>, PcapError> {
        let Some((magic, _)) = buf.split_first_chunk::<4>() else {
            return Ok(Decoded::Needs(FILE_HEAD));
        };
        let (little, nanos) = match *magic {
            [0xa1, 0xb2, 0xc3, 0xd4] => (false, false),
            [0xd4, 0xc3, 0xb2, 0xa1] => (true, false),
            [0xa1, 0xb2, 0x3c, 0x4d] => (false, true),
            [0x4d, 0x3c, 0xb2, 0xa1] => (true, true),
            [0x0a, 0x0d, 0x0d, 0x0a] => return Err(PcapError::Pcapng),
            _ => return Err(PcapError::Magic),
        };
        let Some(head) = buf.first_chunk::<FILE_HEAD>() else {
            return Ok(Decoded::Needs(FILE_HEAD));
        };
        // Above are bits about the checksums of frames.
        let link = word(little, head, 20) & 0x0fff_ffff;
        let link = Link::new(link).ok_or(PcapError::Link(link))?;
        Ok(Decoded::Whole(Self { link, little, nanos }, FILE_HEAD))
    }

    /// Reads the next packet.
    ///
    /// # Errors
    /// When there can't be one.
    pub fn packet<'a>(&self, buf: &'a [u8]) -> Result<Decoded<Packet<'a>>, PcapError> {
        let Some((head, rest)) = buf.split_first_chunk::<PACKET_HEAD>() else {
            return Ok(Decoded::Needs(PACKET_HEAD));
        };
        let length = word(self.little, head, 8) as usize;
        if length > MOST {
            return Err(PcapError::TooLong(length));
        }
        let Some(bytes) = rest.get(..length) else {
            return Ok(Decoded::Needs(PACKET_HEAD + length));
        };
        let (seconds, parts) = (word(self.little, head, 0), word(self.little, head, 4));
        let unit = if self.nanos { 1 } else { 1000 };
        let parts = Duration::from_nanos(u64::from(parts) * unit);
        let time = Duration::from_secs(seconds.into()) + parts;
        Ok(Decoded::Whole(Packet { time, bytes }, PACKET_HEAD + length))
    }
}

fn word(little: bool, bytes: &[u8], at: usize) -> u32 {
    let Some(bytes) = bytes.get(at..).and_then(|bytes| bytes.first_chunk()) else { return 0 };
    if little { u32::from_le_bytes(*bytes) } else { u32::from_be_bytes(*bytes) }
}
