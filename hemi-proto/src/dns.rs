//! The DNS (RFC 1035) as far as it takes to find hosts: questions for A, AAAA and SRV (RFC 2782), and their
//! answers.

pub mod forward;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// Bytes of an answer over UDP that we take (RFC 6891): as many as pass everywhere.
pub const DATAGRAM: u16 = 1232;

/// Records of an answer that are looked at, and of what follows, at most.
const RECORDS: usize = 256;

/// Names that a name may stand for, one after the other.
const ALIASES: usize = 16;

/// Bytes of a name and of a part of it, at most.
const NAME: usize = 253;
const LABEL: usize = 63;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    /// Addresses of IPv4.
    A = 1,
    /// Addresses of IPv6.
    Aaaa = 28,
    /// Hosts and ports of a service.
    Srv = 33,
}

const CNAME: u16 = 5;
const OPT: u16 = 41;
const INTERNET: u16 = 1;

/// A question, with its name in lower case and without a dot at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    id: u16,
    name: String,
    kind: RecordType,
}

/// What answers a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// There was no room for all of it: it is to be asked for over TCP.
    pub truncated: bool,
    /// What there is; nothing if the name is there, but has none of what was asked for.
    pub records: Vec<Record>,
    /// Seconds that all of them hold; none if there are none.
    pub ttl: Option<u32>,
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An address.
    Ip(IpAddr),
    /// A host that has a service.
    Service(Service),
}

/// A host that has a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// The least is asked first; others when those are not fit.
    pub priority: u16,
    /// How much it gets compared with others of its priority.
    pub weight: u16,
    /// Where it listens.
    pub port: u16,
    /// Its name, in lower case.
    pub host: String,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DnsError {
    /// It can't be a name.
    #[error("it can't be a name of the DNS")]
    Name,
    /// These bytes are no answer, or that to another question.
    #[error("what came is no answer to the question")]
    Malformed,
    /// There is no such name.
    #[error("there is no such name")]
    NoSuchName,
    /// The server can't or does not want to answer: its code.
    #[error("the server refuses to answer (code {0})")]
    Refused(u8),
}

impl Question {
    /// What there is of this kind for a name. Who asks chooses an id that nobody can guess.
    ///
    /// # Errors
    /// [`DnsError::Name`] if it can't be a name.
    pub fn new(id: u16, name: &str, kind: RecordType) -> Result<Self, DnsError> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let is_label =
            |label: &str| (1..=LABEL).contains(&label.len()) && label.bytes().all(is_of_name);
        match name.len() <= NAME && name.split('.').all(is_label) {
            true => Ok(Self { id, name, kind }),
            false => Err(DnsError::Name),
        }
    }

    /// The message that asks it; one in which answers may have [`DATAGRAM`] bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.name.len());
        out.extend(self.id.to_be_bytes());
        // A standard question, which the server is to find the answer of (RD).
        out.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1]);
        for label in self.name.split('.') {
            // It has 63 bytes at most.
            out.push(label.len() as u8);
            out.extend(label.as_bytes());
        }
        out.push(0);
        out.extend((self.kind as u16).to_be_bytes());
        out.extend(INTERNET.to_be_bytes());
        out.push(0);
        out.extend(OPT.to_be_bytes());
        out.extend(DATAGRAM.to_be_bytes());
        out.extend([0; 6]);
        out
    }

    /// Reads an answer to it.
    ///
    /// # Errors
    /// When it is none, or says that there is nothing.
    pub fn read(&self, message: &[u8]) -> Result<Answer, DnsError> {
        let mut reader = Reader { message, at: 0 };
        let (id, flags) = (reader.u16()?, reader.u16()?);
        let (questions, answers) = (reader.u16()?, reader.u16()?);
        reader.skip(4)?;
        let is_answer = flags & 0x8000 != 0 && flags & 0x7800 == 0;
        if !is_answer || id != self.id || questions != 1 {
            return Err(DnsError::Malformed);
        }
        let (name, kind, class) = (reader.name()?, reader.u16()?, reader.u16()?);
        if name != self.name || (kind, class) != (self.kind as u16, INTERNET) {
            return Err(DnsError::Malformed);
        }
        match flags & 0x000f {
            0 => {}
            3 => return Err(DnsError::NoSuchName),
            code => return Err(DnsError::Refused(code as u8)),
        }
        let truncated = flags & 0x0200 != 0;
        if truncated {
            return Ok(Answer { truncated, records: Vec::new(), ttl: None });
        }
        let all = (0..usize::from(answers).min(RECORDS)).map(|_| reader.record());
        let all = all.collect::<Result<Vec<_>, _>>()?;
        Ok(self.choose(&all))
    }

    /// What of these is for the name that was asked for, or the one that it stands for.
    fn choose(&self, all: &[Found]) -> Answer {
        let (mut name, mut ttl) = (self.name.as_str(), u32::MAX);
        for _ in 0..ALIASES {
            let alias = all.iter().find_map(|found| match &found.data {
                Data::Alias(other) if found.name == name => Some((other, found.ttl)),
                _ => None,
            });
            let Some((other, holds)) = alias else { break };
            (name, ttl) = (other, ttl.min(holds));
        }
        let mut records = Vec::new();
        for found in all.iter().filter(|found| found.name == name) {
            let record = match (&found.data, self.kind) {
                (Data::Ip(ip @ IpAddr::V4(_)), RecordType::A)
                | (Data::Ip(ip @ IpAddr::V6(_)), RecordType::Aaaa) => Record::Ip(*ip),
                (Data::Service(service), RecordType::Srv) => Record::Service(service.clone()),
                _ => continue,
            };
            records.push(record);
            ttl = ttl.min(found.ttl);
        }
        let ttl = (!records.is_empty()).then_some(ttl);
        Answer { truncated: false, records, ttl }
    }
}

/// Whether a byte may be in a name of a host, or of a service of one.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// A record as it stands in a message.
struct Found {
    name: String,
    ttl: u32,
    data: Data,
}

enum Data {
    Ip(IpAddr),
    Alias(String),
    Service(Service),
    Other,
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], DnsError> {
        let taken = self.message.get(self.at..).and_then(|rest| rest.get(..len));
        self.at += len;
        taken.ok_or(DnsError::Malformed)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DnsError> {
        self.take(N)?.first_chunk().copied().ok_or(DnsError::Malformed)
    }

    fn skip(&mut self, len: usize) -> Result<(), DnsError> {
        self.take(len).map(drop)
    }

    fn u16(&mut self) -> Result<u16, DnsError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A name in lower case, which may go on elsewhere (section 4.1.4): always before where it was, so that it
    /// comes to an end. Names that no host has are empty.
    fn name(&mut self) -> Result<String, DnsError> {
        let (mut name, mut usable, mut len) = (String::new(), true, 0);
        // Where it goes on, and before where it has to.
        let (mut at, mut before, mut end) = (self.at, self.at, None);
        loop {
            let first = *self.message.get(at).ok_or(DnsError::Malformed)?;
            match first {
                0 => break,
                0xc0.. => {
                    let second = *self.message.get(at + 1).ok_or(DnsError::Malformed)?;
                    end.get_or_insert(at + 2);
                    at = usize::from(first & 0x3f) << 8 | usize::from(second);
                    if at >= before {
                        return Err(DnsError::Malformed);
                    }
                    before = at;
                }
                1..0x40 => {
                    let label = self.message.get(at + 1..at + 1 + usize::from(first));
                    let label = label.ok_or(DnsError::Malformed)?;
                    len += label.len() + 1;
                    if len > NAME + 1 {
                        return Err(DnsError::Malformed);
                    }
                    usable &= label.iter().all(|&byte| is_of_name(byte));
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
                    at += 1 + label.len();
                }
                _ => return Err(DnsError::Malformed),
            }
        }
        self.at = end.unwrap_or(at + 1);
        Ok(if usable { name } else { String::new() })
    }

    fn record(&mut self) -> Result<Found, DnsError> {
        let name = self.name()?;
        let (kind, class) = (self.u16()?, self.u16()?);
        let ttl = u32::from_be_bytes(self.array()?);
        // What is larger is none (RFC 2181, section 8).
        let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
        let len = usize::from(self.u16()?);
        let end = self.at + len;
        let data = match (class, kind) {
            (INTERNET, 1) if len == 4 => Data::Ip(Ipv4Addr::from(self.array::<4>()?).into()),
            (INTERNET, 28) if len == 16 => Data::Ip(Ipv6Addr::from(self.array::<16>()?).into()),
            (INTERNET, CNAME) => match self.name()? {
                name if name.is_empty() => Data::Other,
                name => Data::Alias(name),
            },
            (INTERNET, 33) => {
                let (priority, weight, port) = (self.u16()?, self.u16()?, self.u16()?);
                let host = self.name()?;
                match host.is_empty() || port == 0 {
                    // A service that is decidedly not there has a host without a name.
                    true => Data::Other,
                    false => Data::Service(Service { priority, weight, port, host }),
                }
            }
            _ => {
                self.skip(len)?;
                Data::Other
            }
        };
        match self.at == end {
            true => Ok(Found { name, ttl, data }),
            false => Err(DnsError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(kind: RecordType) -> Question {
        Question::new(0x1234, "App.Test.", kind).unwrap()
    }

    /// An answer with these records, each a name, a kind, a TTL and data.
    fn answer(flags: u16, kind: RecordType, records: &[(&[u8], u16, u32, &[u8])]) -> Vec<u8> {
        let mut out = vec![0x12, 0x34];
        out.extend(flags.to_be_bytes());
        out.extend([0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
        out.extend(b"\x03APP\x04test\0");
        out.extend((kind as u16).to_be_bytes());
        out.extend([0, 1]);
        for (name, kind, ttl, data) in records {
            out.extend(*name);
            out.extend(kind.to_be_bytes());
            out.extend([0, 1]);
            out.extend(ttl.to_be_bytes());
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(*data);
        }
        out
    }

    /// The name that was asked for, which stands at 12.
    const SAME: &[u8] = b"\xc0\x0c";
    const A: RecordType = RecordType::A;

    #[test]
    fn a_question() {
        let bytes = question(RecordType::Srv).encode();
        let expected = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01\x03app\x04test\0\0\x21\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";
        assert_eq!(bytes, expected);
        for name in ["", "a..b", ".", "a b", &"a".repeat(64), &"a.".repeat(130)] {
            assert_eq!(Question::new(1, name, A), Err(DnsError::Name), "{name}");
        }
    }

    #[test]
    fn addresses_behind_aliases_hold_as_long_as_all_of_it() {
        let records: [(&[u8], u16, u32, &[u8]); 5] = [
            (SAME, CNAME, 30, b"\x05other\xc0\x10"),
            (b"\x05Other\xc0\x10", 1, 60, &[10, 0, 0, 1]),
            (b"\x05other\xc0\x10", 1, 20, &[10, 0, 0, 2]),
            (b"\x07another\xc0\x10", 1, 1, &[10, 0, 0, 3]),
            (b"\x05other\xc0\x10", 28, 1, &[0; 16]),
        ];
        let read = question(A).read(&answer(0x8180, A, &records)).unwrap();
        let ip = |last| Record::Ip(Ipv4Addr::new(10, 0, 0, last).into());
        assert_eq!(read, Answer { truncated: false, records: vec![ip(1), ip(2)], ttl: Some(20) });
        // Those that go round come to nothing.
        let round: [(&[u8], u16, u32, &[u8]); 1] = [(SAME, CNAME, 30, SAME)];
        let read = question(A).read(&answer(0x8180, A, &round)).unwrap();
        assert_eq!((read.records.len(), read.ttl), (0, None));
    }

    #[test]
    fn services() {
        let data = b"\0\x01\0\x02\x1f\x90\x02N1\xc0\x10";
        let records: [(&[u8], u16, u32, &[u8]); 2] =
            [(SAME, 33, 5, data), (SAME, 33, 5, b"\0\0\0\0\0\0\0")];
        let read = question(RecordType::Srv).read(&answer(0x8180, RecordType::Srv, &records));
        let host = "n1.test".to_owned();
        let service = Service { priority: 1, weight: 2, port: 8080, host };
        assert_eq!(read.unwrap().records, [Record::Service(service)]);
    }

    #[test]
    fn what_is_no_answer() {
        let good = answer(0x8180, A, &[(SAME, 1, 60, &[10, 0, 0, 1])]);
        assert!(question(A).read(&good).is_ok());
        for len in 0..good.len() {
            assert_eq!(question(A).read(&good[..len]), Err(DnsError::Malformed), "{len}");
        }
        let read = |flags| question(A).read(&answer(flags, A, &[]));
        assert_eq!(read(0x8183), Err(DnsError::NoSuchName));
        assert_eq!(read(0x8182), Err(DnsError::Refused(2)));
        assert_eq!(read(0x0180), Err(DnsError::Malformed));
        assert!(read(0x8380).unwrap().truncated);
        assert_eq!(question(RecordType::Aaaa).read(&good), Err(DnsError::Malformed));
        assert_eq!(Question::new(1, "app.test", A).unwrap().read(&good), Err(DnsError::Malformed));
        assert_eq!(
            Question::new(0x1234, "x.test", A).unwrap().read(&good),
            Err(DnsError::Malformed)
        );
        // A name that goes on where it stands, or behind.
        for name in [b"\xc0\x1a", b"\xc0\xff"] {
            let bytes = answer(0x8180, A, &[(name, 1, 60, &[10, 0, 0, 1])]);
            assert_eq!(question(A).read(&bytes), Err(DnsError::Malformed));
        }
    }
}
