//! The `uri-host [":" port]` of a Host field, an absolute-form target or an HTTP/2 `:authority`
//! (RFC 3986 section 3.2, RFC 9110 section 7.2).

use std::net::Ipv6Addr;

use bytes::Bytes;
use thiserror::Error;

use crate::ascii::{hex_value, parse_decimal};

/// A checked authority without userinfo, its hostname in lower case.
///
/// An empty authority is a legal Host value (RFC 9112 section 3.2) for targets that have none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Authority {
    text: Bytes,
    host_len: usize,
    port: Option<u16>,
}

impl Authority {
    /// Checks `text` against the grammar, sharing it when it needs no change.
    pub fn parse(text: Bytes) -> Result<Self, AuthorityError> {
        let host_len = host_length(&text)?;
        let (host, rest) = text.split_at_checked(host_len).ok_or(AuthorityError::Host)?;
        let (end, port) = match rest {
            [] | [b':'] => (host_len, None),
            [b':', digits @ ..] => {
                let port = parse_decimal(digits).and_then(|port| u16::try_from(port).ok());
                (text.len(), Some(port.ok_or(AuthorityError::Port)?))
            }
            _ => return Err(AuthorityError::Host),
        };
        if host.is_empty() && !rest.is_empty() {
            return Err(AuthorityError::Host);
        }
        let text = if host.iter().any(u8::is_ascii_uppercase) {
            Bytes::from(text.get(..end).unwrap_or_default().to_ascii_lowercase())
        } else if end < text.len() {
            text.slice(..end)
        } else {
            text
        };
        Ok(Self { text, host_len, port })
    }

    /// Hostname and port as they are sent: `example.com:8080`. A bare trailing colon is dropped.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// The same bytes, shared.
    pub fn bytes(&self) -> &Bytes {
        &self.text
    }

    /// The hostname in lower case, an IPv6 address with its brackets; a trailing dot is kept.
    pub fn hostname(&self) -> &str {
        self.as_str().get(..self.host_len).unwrap_or_default()
    }

    /// The port with its colon, or nothing: `:8080`.
    pub fn colonport(&self) -> &str {
        self.as_str().get(self.host_len..).unwrap_or_default()
    }

    /// The port, if one is given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether the authority is empty.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// Why a text is no authority.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AuthorityError {
    /// The hostname has a byte or form that `uri-host` does not allow (userinfo included).
    #[error("hostname is malformed")]
    Host,
    /// The port is not a decimal number from 0 to 65535.
    #[error("port is malformed or out of range")]
    Port,
}

/// The length of the hostname at the start of `text`, which ends at its end or at a colon.
fn host_length(text: &[u8]) -> Result<usize, AuthorityError> {
    if let [b'[', rest @ ..] = text {
        let end = memchr::memchr(b']', rest).ok_or(AuthorityError::Host)?;
        let address = rest.get(..end).and_then(|bytes| std::str::from_utf8(bytes).ok());
        // Zone identifiers and IPvFuture mean nothing to a server's peer.
        return match address.map(str::parse::<Ipv6Addr>) {
            Some(Ok(_)) => Ok(end + 2),
            _ => Err(AuthorityError::Host),
        };
    }
    let mut at = 0;
    loop {
        let plain = text.get(at..).unwrap_or_default();
        at += plain.iter().position(|&b| !REG_NAME[usize::from(b)]).unwrap_or(plain.len());
        match text.get(at..).unwrap_or_default() {
            [] | [b':', ..] => return Ok(at),
            [b'%', high, low, ..] if hex_value(*high).is_some() && hex_value(*low).is_some() => {
                at += 3;
            }
            _ => return Err(AuthorityError::Host),
        }
    }
}

/// The bytes of a `reg-name` (RFC 3986 section 3.2.2) besides percent escapes.
const REG_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 128 {
        table[b] = (b as u8).is_ascii_alphanumeric();
        b += 1;
    }
    let marks = b"-._~!$&'()*+,;=";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        for (text, hostname, colonport, port) in [
            ("example.com", "example.com", "", None),
            ("EXAMPLE.com:80", "example.com", ":80", Some(80)),
            ("example.com:", "example.com", "", None),
            ("example.com.:8080", "example.com.", ":8080", Some(8080)),
            ("127.0.0.1:0", "127.0.0.1", ":0", Some(0)),
            ("[::1]", "[::1]", "", None),
            ("[2001:DB8::1]:65535", "[2001:db8::1]", ":65535", Some(65535)),
            ("a_b-c~d:00080", "a_b-c~d", ":00080", Some(80)),
            ("a%2db", "a%2db", "", None),
            ("", "", "", None),
        ] {
            let authority = Authority::parse(Bytes::from_static(text.as_bytes())).expect(text);
            assert_eq!(authority.hostname(), hostname, "{text}");
            assert_eq!(authority.colonport(), colonport, "{text}");
            assert_eq!(authority.port(), port, "{text}");
            assert_eq!(authority.as_str(), format!("{hostname}{colonport}"), "{text}");
        }
    }

    #[test]
    fn refused() {
        use AuthorityError::{Host, Port};
        for (text, error) in [
            ("user@example.com", Host),
            ("user:pw@example.com", Port),
            ("a b", Host),
            ("a\tb", Host),
            ("a/b", Host),
            ("a?b", Host),
            ("a#b", Host),
            ("a\\b", Host),
            ("a\0b", Host),
            ("é", Host),
            ("a%zz", Host),
            ("a%2", Host),
            (":80", Host),
            (":", Host),
            ("a:65536", Port),
            ("a:-1", Port),
            ("a:+1", Port),
            ("a:8 0", Port),
            ("a:80:80", Port),
            ("a:99999999999999999999999", Port),
            ("[::1", Host),
            ("[::1]80", Host),
            ("[]", Host),
            ("[::g]", Host),
            ("[fe80::1%25eth0]", Host),
            ("[v1.x]", Host),
            ("::1", Port),
            ("[127.0.0.1]", Host),
        ] {
            let result = Authority::parse(Bytes::from_static(text.as_bytes()));
            assert_eq!(result, Err(error), "{text:?}");
        }
    }
}
