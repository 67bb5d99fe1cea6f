//! How connections of PostgreSQL begin (protocol 3.0 and 3.2, "Message Flow: Start-up").
//!
//! ```
//! use hemi_proto::pgsql::{Opening, read};
//!
//! let asks = b"\0\0\0\x1d\0\x03\0\0user\0mia\0database\0a\0\0";
//! let Ok(Some(Opening::Startup(startup))) = read(asks) else { panic!("not a start-up") };
//! assert_eq!((&*startup.user, &*startup.database), ("mia", "a"));
//! ```

use bytes::{BufMut, BytesMut};

/// Bytes of a first message, at most, as servers have it.
const MAX: usize = 10_000;

/// A request for encryption by TLS, as it is sent; its answer is [`YES`] or [`NO`].
pub const TLS_REQUEST: &[u8; 8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

/// What is answered to a request for encryption that is granted.
pub const YES: u8 = b'S';

/// What is answered to one that is not.
pub const NO: u8 = b'N';

/// What a client wants first. It may want encryption, and then something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// TLS.
    Tls,
    /// Encryption by GSSAPI.
    Gss,
    /// Another connection's request be cancelled.
    Cancel,
    /// To begin.
    Startup(Startup),
    /// TLS at once, without asking.
    DirectTls,
}

/// With what a client begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Startup {
    /// Who it is.
    pub user: String,
    /// The database; that of the user's name if it has named none.
    pub database: String,
}

/// Bytes that no client of PostgreSQL begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no client of PostgreSQL begins like that")]
pub struct NotPgsql;

/// Reads what a client wants first, when all of it is there; nothing is taken. What has been read are so many bytes
/// as [`len`] tells.
///
/// # Errors
/// When it is no client of PostgreSQL.
pub fn read(bytes: &[u8]) -> Result<Option<Opening>, NotPgsql> {
    match bytes {
        [0x16, ..] => return Ok(Some(Opening::DirectTls)),
        [] | [0] | [0, 0] | [0, 0, _] => return Ok(None),
        _ => {}
    }
    let len = len(bytes);
    if !(8..=MAX).contains(&len) {
        return Err(NotPgsql);
    }
    let Some(message) = bytes.get(4..len) else { return Ok(None) };
    let Some((code, rest)) = message.split_first_chunk() else { return Err(NotPgsql) };
    match (u32::from_be_bytes(*code), rest.len()) {
        (80_877_103, 0) => Ok(Some(Opening::Tls)),
        (80_877_104, 0) => Ok(Some(Opening::Gss)),
        (80_877_102, 8..) => Ok(Some(Opening::Cancel)),
        // Version 3, and whatever minor one.
        (0x3_0000..=0x3_ffff, _) => startup(rest).map(|startup| Some(Opening::Startup(startup))),
        _ => Err(NotPgsql),
    }
}

/// Bytes of the message that begins here, by what it says itself; 0 if too few are there to tell.
#[must_use]
pub fn len(bytes: &[u8]) -> usize {
    bytes.first_chunk().map_or(0, |len| u32::from_be_bytes(*len) as usize)
}

fn startup(mut rest: &[u8]) -> Result<Startup, NotPgsql> {
    let mut found = Startup::default();
    loop {
        let name = text(&mut rest)?;
        if name.is_empty() {
            break;
        }
        let value = text(&mut rest)?;
        match name {
            "user" => value.clone_into(&mut found.user),
            "database" => value.clone_into(&mut found.database),
            _ => {}
        }
    }
    if found.user.is_empty() || !rest.is_empty() {
        return Err(NotPgsql);
    }
    if found.database.is_empty() {
        found.database.clone_from(&found.user);
    }
    Ok(found)
}

/// Takes a text up to its zero off the front.
fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, NotPgsql> {
    let end = rest.iter().position(|byte| *byte == 0).ok_or(NotPgsql)?;
    let (text, after) = rest.split_at(end);
    *rest = &after[1..];
    std::str::from_utf8(text).map_err(|_| NotPgsql)
}

/// Appends an error that ends a connection, with its code (SQLSTATE) and what it is.
pub fn put_error(out: &mut BytesMut, code: &str, message: &str) {
    let fields = [("S", "FATAL"), ("V", "FATAL"), ("C", code), ("M", message)];
    // A field is its letter, its text, and a zero; one more is at the end.
    let len: usize = fields.iter().map(|(_, text)| text.len() + 2).sum();
    out.put_u8(b'E');
    out.put_u32(u32::try_from(4 + len + 1).unwrap_or(u32::MAX));
    for (name, text) in fields {
        out.put_slice(name.as_bytes());
        out.put_slice(text.as_bytes());
        out.put_u8(0);
    }
    out.put_u8(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(code: u32, rest: &[u8]) -> Vec<u8> {
        let len = (8 + rest.len()) as u32;
        [&len.to_be_bytes()[..], &code.to_be_bytes(), rest].concat()
    }

    #[test]
    fn openings() {
        let startup = |user: &str, database: &str| {
            let (user, database) = (user.to_owned(), database.to_owned());
            Ok(Some(Opening::Startup(Startup { user, database })))
        };
        let version = 0x3_0000;
        for (bytes, expected) in [
            (TLS_REQUEST.to_vec(), Ok(Some(Opening::Tls))),
            (message(80_877_104, b""), Ok(Some(Opening::Gss))),
            (message(80_877_102, &[1; 8]), Ok(Some(Opening::Cancel))),
            (message(80_877_102, &[1; 32]), Ok(Some(Opening::Cancel))),
            (message(version, b"user\0mia\0\0"), startup("mia", "mia")),
            (message(version + 2, b"database\0a\0user\0mia\0x\0\0\0"), startup("mia", "a")),
            (b"\x16\x03\x01".to_vec(), Ok(Some(Opening::DirectTls))),
            (message(version, b"\0"), Err(NotPgsql)),
            (message(version, b"user\0mia\0"), Err(NotPgsql)),
            (message(version, b"user\0\xff\0\0"), Err(NotPgsql)),
            (message(version, b"user\0mia\0\0x"), Err(NotPgsql)),
            (message(0x2_0000, b"user\0mia\0\0"), Err(NotPgsql)),
            (message(80_877_103, b"x"), Err(NotPgsql)),
            (b"\0\0\0\x04".to_vec(), Err(NotPgsql)),
            (b"\0\xff\0\0".to_vec(), Err(NotPgsql)),
            (b"GET / HTTP/1.1".to_vec(), Err(NotPgsql)),
        ] {
            assert_eq!(read(&bytes), expected, "{bytes:?}");
            if matches!(expected, Ok(Some(_))) && bytes[0] != 0x16 {
                assert_eq!(len(&bytes), bytes.len());
                for end in 0..bytes.len() {
                    assert_eq!(read(&bytes[..end]), Ok(None), "{bytes:?} {end}");
                }
            }
        }
    }

    #[test]
    fn an_error() {
        let mut out = BytesMut::new();
        put_error(&mut out, "08006", "no");
        assert_eq!(&out[..], b"E\0\0\0\x1eSFATAL\0VFATAL\0C08006\0Mno\0\0");
    }
}
