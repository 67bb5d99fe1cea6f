//! What a client of TLS says first (RFC 8446, 4.1.2), read without answering it: whom it asks for, and
//! which protocols it would speak.

use std::borrow::Cow;

use thiserror::Error;

/// Bytes of the message, at most: what is longer is not waited for.
pub const MAX: usize = 16 << 10;

/// The content type of handshakes.
const HANDSHAKE: u8 = 22;

/// What is of interest in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host that is asked for (RFC 6066, 3), in lower case. If the client hides it (ECH), this is what
    /// it lets others see.
    pub server_name: Option<Box<str>>,
    /// The protocols that the client would speak (RFC 7301), most liked first, with commas between them;
    /// empty if it does not say.
    pub protocols: Box<[u8]>,
}

/// Bytes that no client of TLS begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HelloError {
    /// They are of another protocol.
    #[error("not TLS")]
    NotTls,
    /// They break the rules, or are too many.
    #[error("malformed")]
    Malformed,
}

impl ClientHello {
    /// Reads the records at the start of a connection; none if they have not come whole.
    ///
    /// # Errors
    /// When they can't be the start of TLS.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, HelloError> {
        let Some(message) = message(bytes)? else { return Ok(None) };
        Self::parse(&message).map(Some).ok_or(HelloError::Malformed)
    }

    /// Reads the message itself, without its type and length.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let mut rest = Reader(message);
        rest.take(2 + 32)?; // version, random
        rest.vector(1)?; // session id
        rest.vector(2)?; // cipher suites
        rest.vector(1)?; // compression methods
        let mut hello = Self::default();
        if rest.0.is_empty() {
            return Some(hello);
        }
        let mut extensions = Reader(rest.vector(2)?);
        let mut seen = [false; 2];
        while !extensions.0.is_empty() {
            let (kind, content) = (extensions.number(2)?, extensions.vector(2)?);
            let known = match kind {
                0 => 0,
                16 => 1,
                _ => continue,
            };
            if std::mem::replace(&mut seen[known], true) {
                return None;
            }
            match known {
                0 => hello.server_name = server_name(content)?,
                _ => hello.protocols = protocols(content)?,
            }
        }
        rest.0.is_empty().then_some(hello)
    }
}

/// The first handshake message, which may be cut into several records; none if more has to come.
fn message(bytes: &[u8]) -> Result<Option<Cow<'_, [u8]>>, HelloError> {
    let mut rest = Reader(bytes);
    let mut whole: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    loop {
        match rest.0 {
            [kind, ..] if *kind != HANDSHAKE => return Err(not_tls(&whole)),
            [_, major, ..] if *major != 3 => return Err(not_tls(&whole)),
            [_, _, _, _, _, ..] => {}
            _ => return Ok(None),
        }
        let header = rest.take(5).unwrap_or_default();
        let len = usize::from(header[3]) << 8 | usize::from(header[4]);
        if len == 0 || len > MAX {
            return Err(HelloError::Malformed);
        }
        let part = rest.take(len.min(rest.0.len())).unwrap_or_default();
        if whole.is_empty() {
            whole = Cow::Borrowed(part);
        } else {
            whole.to_mut().extend_from_slice(part);
        }
        if let [kind, length @ ..] = &*whole {
            if *kind != 1 {
                return Err(HelloError::Malformed);
            }
            if let [a, b, c, ..] = *length {
                let end = 4 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
                if end > MAX {
                    return Err(HelloError::Malformed);
                }
                if whole.len() >= end {
                    return Ok(Some(match whole {
                        Cow::Borrowed(whole) => Cow::Borrowed(&whole[4..end]),
                        Cow::Owned(whole) => Cow::Owned(whole[4..end].to_vec()),
                    }));
                }
            }
        }
        if part.len() < len {
            return Ok(None);
        }
    }
}

/// What else may come after the first record is no start of anything.
fn not_tls(before: &[u8]) -> HelloError {
    if before.is_empty() { HelloError::NotTls } else { HelloError::Malformed }
}

/// The one name of a host in the list.
fn server_name(content: &[u8]) -> Option<Option<Box<str>>> {
    let mut outer = Reader(content);
    let mut list = Reader(outer.vector(2)?);
    if !outer.0.is_empty() || list.0.is_empty() {
        return None;
    }
    let mut found = None;
    while !list.0.is_empty() {
        let (kind, name) = (list.number(1)?, list.vector(2)?);
        if kind != 0 {
            continue;
        }
        let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if found.is_some() || !(1..=255).contains(&name.len()) || !name.iter().all(fits) {
            return None;
        }
        found = Some(String::from_utf8(name.to_ascii_lowercase()).ok()?.into());
    }
    Some(found)
}

fn protocols(content: &[u8]) -> Option<Box<[u8]>> {
    let mut outer = Reader(content);
    let mut list = Reader(outer.vector(2)?);
    if !outer.0.is_empty() || list.0.is_empty() {
        return None;
    }
    let mut all = Vec::new();
    while !list.0.is_empty() {
        let name = list.vector(1)?;
        if name.is_empty() {
            return None;
        }
        if !all.is_empty() {
            all.push(b',');
        }
        all.extend_from_slice(name);
    }
    Some(all.into())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of so many bytes.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)))
    }

    /// Bytes after their length, which is a number of so many bytes.
    fn vector(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let len = self.number(bytes)?;
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message of a client with these extensions.
    fn message(extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut all = Vec::new();
        for (kind, content) in extensions {
            all.extend(kind.to_be_bytes());
            all.extend((content.len() as u16).to_be_bytes());
            all.extend(*content);
        }
        let mut body = [3, 3].to_vec();
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        body.extend((all.len() as u16).to_be_bytes());
        body.extend(all);
        let mut message = vec![1, 0];
        message.extend((body.len() as u16).to_be_bytes());
        message.extend(body);
        message
    }

    /// The same in records of so many bytes.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let record =
            |part: &[u8]| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat();
        message.chunks(size).flat_map(record).collect()
    }

    const NAME: &[u8] = b"\0\x0e\0\0\x0bShop.Test-1";
    const ALPN: &[u8] = b"\0\x0c\x02h2\x08http/1.1";

    #[test]
    fn name_and_protocols_are_found_however_it_is_cut() {
        let message = message(&[(0x0a0a, b""), (0, NAME), (16, ALPN), (43, b"\x02\x03\x04")]);
        for size in [1, 3, 50, 10_000] {
            let bytes = records(&message, size);
            for end in 0..bytes.len() {
                assert_eq!(ClientHello::read(&bytes[..end]), Ok(None), "{end} of {size}");
            }
            let hello = ClientHello::read(&bytes).unwrap().unwrap();
            assert_eq!(hello.server_name.as_deref(), Some("shop.test-1"));
            assert_eq!(&*hello.protocols, b"h2,http/1.1");
        }
    }

    #[test]
    fn there_need_not_be_any() {
        let bytes = records(&message(&[]), 1000);
        assert_eq!(ClientHello::read(&bytes), Ok(Some(ClientHello::default())));
    }

    #[test]
    fn what_is_not_tls_is_told_at_once() {
        for bytes in ["GET / HTTP/1.1\r\n", "S", "\x16\x02", "\x15\x03\x01\0\x02\x02\x28"] {
            assert_eq!(ClientHello::read(bytes.as_bytes()), Err(HelloError::NotTls), "{bytes:?}");
        }
    }

    #[test]
    fn what_breaks_the_rules_is_nothing() {
        for extensions in [
            &[(0, NAME), (0, NAME)][..],
            &[(0, b"\0\0")],
            &[(0, b"\0\x04\0\0\x01/")],
            &[(0, b"\0\x06\0\0\x03a b")],
            &[(0, b"\0\x08\0\0\x01a\0\0\x01b")],
            &[(16, b"\0\x01\0")],
            &[(16, b"\0\x02\x05h")],
        ] {
            let bytes = records(&message(extensions), 1000);
            assert_eq!(ClientHello::read(&bytes), Err(HelloError::Malformed), "{extensions:?}");
        }
        for bytes in [&[22, 3, 1, 0, 0][..], &[22, 3, 1, 0x50, 0], &[22, 3, 1, 0, 1, 2]] {
            assert_eq!(ClientHello::read(bytes), Err(HelloError::Malformed), "{bytes:?}");
        }
        // Too long to be waited for.
        assert_eq!(ClientHello::read(&[22, 3, 1, 0, 4, 1, 1, 0, 0]), Err(HelloError::Malformed));
    }
}
