//! How connections of MySQL and MariaDB begin ("Connection Phase" of the protocol, version 10): the server greets, the
//! client says who it is, maybe over TLS, and both agree on how that is proved.

use bytes::{Buf, BufMut, BytesMut};

/// Bytes of a packet of this phase, at most.
const MAX: usize = 16 << 10;

/// Packets of 16 MiB, and utf8mb4.
const FIXED: [u8; 5] = [0xff, 0xff, 0xff, 0, 45];

/// The payload by which a client says that it leaves.
pub const QUIT: &[u8] = &[1];

/// What a client or a server can do.
pub mod can {
    /// A database is named at once.
    pub const CONNECT_WITH_DB: u32 = 1 << 3;
    /// The protocol of today.
    pub const PROTOCOL_41: u32 = 1 << 9;
    /// TLS.
    pub const TLS: u32 = 1 << 11;
    /// Proofs of a length of their own.
    pub const SECURE_CONNECTION: u32 = 1 << 15;
    /// Several ways to prove who one is.
    pub const PLUGIN_AUTH: u32 = 1 << 19;
    /// What a client says of itself.
    pub const ATTRIBUTES: u32 = 1 << 20;
    /// Long proofs.
    pub const LONG_PROOFS: u32 = 1 << 21;
    /// What every server can do that is not older than ten years, and nothing that changes the form of answers: long
    /// passwords, found rows, long flags, databases, ignored spaces, transactions, several statements and results,
    /// attributes of connections.
    pub const USUAL: u32 = 1
        | 1 << 1
        | 1 << 2
        | CONNECT_WITH_DB
        | 1 << 8
        | PROTOCOL_41
        | 1 << 13
        | SECURE_CONNECTION
        | 1 << 16
        | 1 << 17
        | 1 << 18
        | PLUGIN_AUTH
        | ATTRIBUTES
        | LONG_PROOFS;
}

/// Bytes that are no such packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is not how a connection of MySQL begins")]
pub struct NotMysql;

/// A packet of this phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its number: each is one more than the one before, whoever sends it.
    pub number: u8,
    /// What it says.
    pub payload: BytesMut,
}

impl Packet {
    /// Takes a packet off the front of what has come, once all of it is there.
    ///
    /// # Errors
    /// When it is too large for this phase.
    pub fn take(buf: &mut BytesMut) -> Result<Option<Self>, NotMysql> {
        let Some(&[a, b, c, number]) = buf.first_chunk() else { return Ok(None) };
        let len = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
        if len > MAX {
            return Err(NotMysql);
        }
        if buf.len() < 4 + len {
            return Ok(None);
        }
        buf.advance(4);
        Ok(Some(Self { number, payload: buf.split_to(len) }))
    }

    /// Appends one.
    pub fn put(out: &mut BytesMut, number: u8, payload: &[u8]) {
        // Those of this phase are small.
        let len = payload.len().min(MAX) as u32;
        out.put_u32_le(len | u32::from(number) << 24);
        out.put_slice(&payload[..len as usize]);
    }
}

/// What a server says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Its version.
    pub version: String,
    /// What it can do.
    pub can: u32,
    /// Of what proofs are made.
    pub salt: [u8; 20],
    /// How clients are to prove who they are.
    pub plugin: String,
}

impl Greeting {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none, or one without plugins.
    pub fn read(mut payload: &[u8]) -> Result<Self, NotMysql> {
        if take::<1>(&mut payload)? != [10] {
            return Err(NotMysql);
        }
        let version = text(&mut payload)?;
        take::<4>(&mut payload)?;
        let first = take::<8>(&mut payload)?;
        take::<1>(&mut payload)?;
        let low = u16::from_le_bytes(take(&mut payload)?);
        take::<3>(&mut payload)?;
        let high = u16::from_le_bytes(take(&mut payload)?);
        let [len] = take(&mut payload)?;
        take::<10>(&mut payload)?;
        let can = u32::from(low) | u32::from(high) << 16;
        // The rest of 20 bytes, and a zero.
        if can & can::PLUGIN_AUTH == 0 || len != 21 {
            return Err(NotMysql);
        }
        let second = take::<12>(&mut payload)?;
        take::<1>(&mut payload)?;
        let mut salt = [0; 20];
        salt[..8].copy_from_slice(&first);
        salt[8..].copy_from_slice(&second);
        // Some servers leave the zero at the end out.
        let plugin = text(&mut payload).or_else(|_| utf8(payload))?;
        Ok(Self { version, can, salt, plugin })
    }

    /// The payload of it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![10];
        out.extend_from_slice(self.version.as_bytes());
        out.push(0);
        out.extend([1, 0, 0, 0]);
        out.extend_from_slice(&self.salt[..8]);
        out.push(0);
        out.extend((self.can as u16).to_le_bytes());
        // utf8mb4, and a status of no transaction.
        out.extend([45, 2, 0]);
        out.extend(((self.can >> 16) as u16).to_le_bytes());
        out.push(21);
        out.extend([0; 10]);
        out.extend_from_slice(&self.salt[8..]);
        out.push(0);
        out.extend_from_slice(self.plugin.as_bytes());
        out.push(0);
        out
    }
}

/// That a server does not let a client in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it answers {code}: {message}")]
pub struct Failure {
    /// Its number.
    pub code: u16,
    /// What it is.
    pub message: String,
}

impl Failure {
    /// Reads one; none if it is something else.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let [0xff, low, high, message @ ..] = payload else { return None };
        // A state follows once it is known what clients can do.
        let message = match message {
            [b'#', _, _, _, _, _, rest @ ..] => rest,
            other => other,
        };
        let code = u16::from_le_bytes([*low, *high]);
        Some(Self { code, message: String::from_utf8_lossy(message).into_owned() })
    }

    /// Whether it is the client that is not let in, and others may be.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        // "access denied", and that without a password.
        matches!(self.code, 1045 | 1698)
    }
}

/// What a client says to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It wants TLS, and says more then.
    Tls,
    /// Who it is.
    Login(Login),
}

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// What it can do, and wants to.
    pub can: u32,
    /// Its user.
    pub user: String,
    /// The database; empty for none.
    pub database: String,
    /// The size of packets that it takes, its letters, and what is reserved.
    fixed: [u8; 28],
    /// What it says of itself.
    attributes: Vec<u8>,
}

impl Reply {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none, or one of a client without plugins.
    pub fn read(mut payload: &[u8]) -> Result<Self, NotMysql> {
        let can = u32::from_le_bytes(take(&mut payload)?);
        let fixed = take::<28>(&mut payload)?;
        if payload.is_empty() && can & can::TLS != 0 {
            return Ok(Self::Tls);
        }
        if can & can::PROTOCOL_41 == 0 || can & can::PLUGIN_AUTH == 0 {
            return Err(NotMysql);
        }
        let user = text(&mut payload)?;
        let proof = match can & (can::LONG_PROOFS | can::SECURE_CONNECTION) {
            0 => payload.iter().position(|byte| *byte == 0).ok_or(NotMysql)? + 1,
            // One byte is enough for all proofs that there are.
            _ => usize::from(take::<1>(&mut payload)?[0]),
        };
        if proof > 250 {
            return Err(NotMysql);
        }
        payload.split_off(..proof).ok_or(NotMysql)?;
        let database = match can & can::CONNECT_WITH_DB {
            0 => String::new(),
            _ => text(&mut payload)?,
        };
        // The plugin by which it has proved something to nobody.
        let _ = text(&mut payload);
        let attributes = payload.to_vec();
        Ok(Self::Login(Login { can, user, database, fixed, attributes }))
    }
}

impl Login {
    /// That of a user who wants no database.
    #[must_use]
    pub fn of(user: &str) -> Self {
        let mut fixed = [0; 28];
        fixed[..5].copy_from_slice(&FIXED);
        let can = can::USUAL & !can::CONNECT_WITH_DB & !can::ATTRIBUTES;
        let (user, database) = (user.to_owned(), String::new());
        Self { can, user, database, fixed, attributes: Vec::new() }
    }

    /// The payload of a login at a server that can do this, with a proof by the plugin that it wants.
    #[must_use]
    pub fn encode(&self, can: u32, proof: &[u8], plugin: &str) -> Vec<u8> {
        let proof = &proof[..proof.len().min(250)];
        // The proof says how long it is, however the client's did.
        let own = self.can & !can::TLS | can::SECURE_CONNECTION;
        let mut out = (own | can & can::TLS).to_le_bytes().to_vec();
        out.extend_from_slice(&self.fixed);
        out.extend_from_slice(self.user.as_bytes());
        out.push(0);
        // Bounded above.
        out.push(proof.len() as u8);
        out.extend_from_slice(proof);
        if self.can & can::CONNECT_WITH_DB != 0 {
            out.extend_from_slice(self.database.as_bytes());
            out.push(0);
        }
        out.extend_from_slice(plugin.as_bytes());
        out.push(0);
        out.extend_from_slice(&self.attributes);
        out
    }
}

/// The payload of a wish for TLS, before it is said who comes.
#[must_use]
pub fn tls_request() -> Vec<u8> {
    let mut out = (can::USUAL | can::TLS).to_le_bytes().to_vec();
    out.extend(FIXED);
    out.extend([0; 23]);
    out
}

/// The payload of what has a client prove who it is to a server that has greeted with this.
#[must_use]
pub fn encode_switch(greeting: &Greeting) -> Vec<u8> {
    let mut out = vec![0xfe];
    out.extend_from_slice(greeting.plugin.as_bytes());
    out.push(0);
    out.extend_from_slice(&greeting.salt);
    out.push(0);
    out
}

/// The payload of an error.
#[must_use]
pub fn encode_error(code: u16, state: &[u8; 5], message: &str) -> Vec<u8> {
    let mut out = vec![0xff];
    out.extend(code.to_le_bytes());
    out.push(b'#');
    out.extend_from_slice(state);
    out.extend_from_slice(message.as_bytes());
    out
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], NotMysql> {
    let (taken, after) = rest.split_first_chunk().ok_or(NotMysql)?;
    *rest = after;
    Ok(*taken)
}

/// Takes a text up to its zero off the front.
fn text(rest: &mut &[u8]) -> Result<String, NotMysql> {
    let end = rest.iter().position(|byte| *byte == 0).ok_or(NotMysql)?;
    let (text, after) = rest.split_at(end);
    *rest = &after[1..];
    utf8(text)
}

fn utf8(text: &[u8]) -> Result<String, NotMysql> {
    std::str::from_utf8(text).map(str::to_owned).map_err(|_| NotMysql)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting() -> Greeting {
        let mut salt = [0; 20];
        (1..).zip(&mut salt).for_each(|(n, byte)| *byte = n);
        let plugin = "mysql_native_password".to_owned();
        Greeting { version: "8.0.36".to_owned(), can: can::USUAL, salt, plugin }
    }

    #[test]
    fn greetings_are_read_as_they_are_written() {
        let bytes = greeting().encode();
        assert_eq!(Greeting::read(&bytes), Ok(greeting()));
        assert_eq!(Greeting::read(&bytes[..bytes.len() - 1]), Ok(greeting()));
        for end in 0..bytes.len() - 22 {
            assert_eq!(Greeting::read(&bytes[..end]), Err(NotMysql), "{end}");
        }
        assert_eq!(Greeting::read(&[0xff, 1, 2]), Err(NotMysql));
    }

    fn login() -> Login {
        let (user, database) = ("mia".to_owned(), "shop".to_owned());
        let attributes = b"\x04\x01a\x01b".to_vec();
        Login { can: can::USUAL, user, database, fixed: [7; 28], attributes }
    }

    #[test]
    fn logins_are_read_as_they_are_written() {
        let bytes = login().encode(0, b"proof", "some_plugin");
        assert_eq!(Reply::read(&bytes), Ok(Reply::Login(login())));
        assert_eq!(Reply::read(&tls_request()), Ok(Reply::Tls));
        for end in 0..50 {
            let read = Reply::read(&bytes[..end]);
            assert!(read.is_err() || end > 45, "{end}: {read:?}");
        }
        let old = Login { can: can::PROTOCOL_41, ..login() };
        assert_eq!(Reply::read(&old.encode(0, b"", "")), Err(NotMysql));
    }

    #[test]
    fn failures() {
        for payload in [encode_error(1045, b"28000", "no"), b"\xff\x15\x04no".to_vec()] {
            let failure = Failure::read(&payload).unwrap();
            assert_eq!(
                (failure.to_string().as_str(), failure.is_denial()),
                ("it answers 1045: no", true)
            );
        }
        assert!(!Failure::read(&encode_error(1040, b"08004", "full")).unwrap().is_denial());
        assert_eq!(Failure::read(&greeting().encode()), None);
        assert_eq!(Failure::read(&[0xff, 1]), None);
    }

    #[test]
    fn a_login_of_a_user_alone() {
        let bytes = Login::of("mia").encode(0, b"", "plugin");
        assert_eq!(Reply::read(&bytes), Ok(Reply::Login(Login::of("mia"))));
    }

    #[test]
    fn packets() {
        let mut buf = BytesMut::new();
        Packet::put(&mut buf, 3, b"abc");
        Packet::put(&mut buf, 4, b"");
        let first = Packet::take(&mut buf).unwrap().unwrap();
        assert_eq!((first.number, &first.payload[..]), (3, &b"abc"[..]));
        assert_eq!(Packet::take(&mut buf).unwrap().unwrap().number, 4);
        assert_eq!(Packet::take(&mut buf), Ok(None));
        assert_eq!(Packet::take(&mut BytesMut::from(&[0, 0, 1, 0][..])), Err(NotMysql));
        assert_eq!(Packet::take(&mut BytesMut::from(&[2, 0, 0, 0, 1][..])), Ok(None));
    }
}
