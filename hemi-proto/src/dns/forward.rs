//! Messages of the DNS (RFC 1035, 2308, 6891), as a forwarder sees them: questions, and what of answers tells how
//! long they hold.
//!
//! ```
//! use hemi_proto::dns::forward::Question;
//!
//! let message = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01A\x04test\x00\x00\x01\x00\x01";
//! let question = Question::read(message).unwrap();
//! assert_eq!((question.id, &question.key.name[..]), (0x1234, &b"\x01a\x04test\0"[..]));
//! ```

mod answer;
mod question;

pub use answer::{Answer, AnswerError};
pub use question::{Question, QuestionError};

/// Bytes of the head of a message.
const HEAD: usize = 12;

/// Bytes of a name, at most.
const NAME: usize = 255;

/// That a message is an answer.
const RESPONSE: u16 = 0x8000;
/// That the rest was left out for want of room.
const TRUNCATED: u16 = 0x0200;
/// That recursion is desired.
const DESIRED: u16 = 0x0100;
/// That recursion is available.
const AVAILABLE: u16 = 0x0080;
/// That signatures were checked.
const AUTHENTIC: u16 = 0x0020;
/// That signatures are not to be checked.
const UNCHECKED: u16 = 0x0010;

/// The type of the pseudo-record of EDNS.
const OPT: u16 = 41;
/// The type of a record that tells how long there will be nothing.
const SOA: u16 = 6;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u16);

impl Code {
    /// Well.
    pub const OK: Self = Self(0);
    /// The message is malformed.
    pub const FORMAT: Self = Self(1);
    /// The server can't tell for now.
    pub const FAILED: Self = Self(2);
    /// There is no such name.
    pub const NO_NAME: Self = Self(3);
    /// The server does not do that.
    pub const NOT_IMPLEMENTED: Self = Self(4);
    /// The server does not want to.
    pub const REFUSED: Self = Self(5);
    /// The version of EDNS is not known.
    pub const VERSION: Self = Self(16);
}

/// What is asked for, and answered the same to all who ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The name as it is sent, in lower case.
    pub name: Box<[u8]>,
    /// The type and class of records.
    pub kind: [u8; 4],
    /// Whether signatures are asked for.
    pub dnssec: bool,
    /// Whether they are not to be checked.
    pub unchecked: bool,
}

/// What a client can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// Bytes of a datagram.
    pub size: u16,
    /// Whether it wants signatures.
    pub dnssec: bool,
    /// Its version: 0.
    pub version: u8,
}

/// Bytes from the front of a message on, one after the other.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.message.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let taken = self.take(2)?;
        Some(u16::from_be_bytes(taken.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        let taken = self.take(4)?;
        Some(u32::from_be_bytes(taken.try_into().ok()?))
    }

    /// Passes over a name, which may end in a pointer to an earlier one.
    fn skip_name(&mut self) -> Option<()> {
        loop {
            match usize::from(*self.take(1)?.first()?) {
                0 => return Some(()),
                label @ 1..64 => drop(self.take(label)?),
                0xc0.. => return self.take(1).map(drop),
                _ => return None,
            }
        }
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let start = self.at;
        self.skip_name()?;
        let (kind, class) = (self.u16()?, self.u16()?);
        let ttl_at = self.at;
        let ttl = self.u32()?;
        let len = self.u16()?;
        Some(Record { start, kind, class, ttl_at, ttl, data: self.take(len.into())? })
    }
}

/// A record of a message.
struct Record<'a> {
    start: usize,
    kind: u16,
    class: u16,
    ttl_at: usize,
    ttl: u32,
    data: &'a [u8],
}

impl Record<'_> {
    /// What it says of EDNS, and the upper bits of how it went, if that is what it is.
    fn edns(&self) -> Option<(Edns, u16)> {
        (self.kind == OPT).then(|| {
            let [code, version, flags, _] = self.ttl.to_be_bytes();
            let edns = Edns { size: self.class, dnssec: flags & 0x80 != 0, version };
            (edns, u16::from(code))
        })
    }
}

/// Appends a pseudo-record of EDNS.
fn put_edns(out: &mut Vec<u8>, size: u16, code: Code, dnssec: bool) {
    out.push(0);
    out.extend(OPT.to_be_bytes());
    out.extend(size.to_be_bytes());
    // Bits above the four that fit into the head.
    out.extend([(code.0 >> 4) as u8, 0, if dnssec { 0x80 } else { 0 }, 0, 0, 0]);
}
