//! Which protocol a connection speaks, guessed from what the client says first.

use std::fmt;

/// A protocol in which the client speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1 or HTTP/2, in the clear.
    Http,
    /// TLS, whatever is in it.
    Tls,
    /// SSH (RFC 4253, 4.2).
    Ssh,
    /// Redis' protocol, as its libraries speak it.
    Redis,
    /// PostgreSQL's.
    Pgsql,
}

/// What a guess comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    /// It is this one.
    Is(Protocol),
    /// So far it could be several.
    NeedMore,
    /// It is none of those that are known.
    Unknown,
}

impl Protocol {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tls => "tls",
            Self::Ssh => "ssh",
            Self::Redis => "redis",
            Self::Pgsql => "pgsql",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bytes of the longest method, and a space.
const METHOD: usize = 24;

/// Those that ask a proxy, too.
const METHODS: [&[u8]; 9] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"];

/// What clients of PostgreSQL ask for in their first message: encryption by TLS, by GSSAPI, that a request
/// be cancelled, version 3.0 of the protocol, and 3.2.
const PGSQL: [u32; 5] = [80_877_103, 80_877_104, 80_877_102, 196_608, 196_610];

/// Whether bytes are of a protocol; none while they may be.
type Test = fn(&[u8]) -> Option<bool>;

/// Guesses from the first bytes.
#[must_use]
pub fn guess(bytes: &[u8]) -> Guess {
    let tests: [(Protocol, Test); 5] = [
        (Protocol::Tls, |bytes| begins(bytes, &[0x16, 3])),
        (Protocol::Ssh, |bytes| begins(bytes, b"SSH-")),
        (Protocol::Redis, redis),
        (Protocol::Pgsql, pgsql),
        (Protocol::Http, http),
    ];
    let mut open = false;
    for (protocol, test) in tests {
        match test(bytes) {
            Some(true) => return Guess::Is(protocol),
            Some(false) => {}
            None => open = true,
        }
    }
    if open { Guess::NeedMore } else { Guess::Unknown }
}

fn begins(bytes: &[u8], with: &[u8]) -> Option<bool> {
    let len = bytes.len().min(with.len());
    if bytes[..len] != with[..len] {
        return Some(false);
    }
    (len == with.len()).then_some(true)
}

/// An array of strings: `*1\r\n$4\r\nPING\r\n`.
fn redis(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [] | [b'*'] => None,
        _ => Some(matches!(bytes, [b'*', b'1'..=b'9', ..])),
    }
}

/// A length, and what is asked for.
fn pgsql(bytes: &[u8]) -> Option<bool> {
    match *bytes {
        [0, 0, _, _, a, b, c, d, ..] => Some(PGSQL.contains(&u32::from_be_bytes([a, b, c, d]))),
        [] | [0] | [0, 0, ..] => None,
        _ => Some(false),
    }
}

/// A method and a path; or a method that no other protocol has, and any target.
fn http(bytes: &[u8]) -> Option<bool> {
    let is_method = |b: &u8| b.is_ascii_uppercase() || matches!(b, b'-' | b'_');
    let len = bytes.iter().take_while(|b| is_method(b)).count();
    match &bytes[len..] {
        _ if len > METHOD => Some(false),
        [] | [b' '] => None,
        [b' ', b'/' | b'*', ..] => Some(len > 0),
        [b' ', target, ..] => Some(METHODS.contains(&&bytes[..len]) && target.is_ascii_graphic()),
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_by_their_first_bytes() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], "http"),
            (b"M-SEARCH * HTTP/1.1\r\n", "http"),
            (b"CONNECT a:443 HTTP/1.1\r\n", "http"),
            (b"PRI * HTTP/2.0\r\n", "http"),
            (b"\x16\x03\x01\x02\x00", "tls"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "ssh"),
            (b"*1\r\n$4\r\nPING\r\n", "redis"),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", "pgsql"),
            (b"\0\0\0\x29\0\x03\0\0user\0", "pgsql"),
            (b"SSH2.0", "unknown"),
            (b"\0\0\0\x08\0\0\0\0", "unknown"),
            (b"get / HTTP/1.1", "unknown"),
            (b"GET  /", "unknown"),
            (b"GET http://a/ HTTP/1.1\r\n", "http"),
            (b"EHLO mail.test\r\n", "unknown"),
            (b"\x16\x02", "unknown"),
            (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "unknown"),
        ] {
            let name = |guess| match guess {
                Guess::Is(protocol) => protocol.name(),
                Guess::NeedMore => "more",
                Guess::Unknown => "unknown",
            };
            assert_eq!(name(guess(bytes)), expected, "{bytes:?}");
            // What is known of the start does not change with what follows.
            for end in 0..bytes.len() {
                let early = name(guess(&bytes[..end]));
                assert!(early == "more" || early == expected, "{early}: {:?}", &bytes[..end]);
            }
        }
    }
}
