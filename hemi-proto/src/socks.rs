//! SOCKS: version 5 (RFC 1928), its login by name and password (RFC 1929), and version 4 with names (4a).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use bytes::{Buf, BufMut, BytesMut};
use thiserror::Error;

/// Bytes of a name or of the user of version 4, at most.
const TEXT: usize = 255;

/// What a client begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// All that it wants, by version 4.
    Four(Request),
    /// By version 5: how it could log in.
    Five {
        /// Without a login.
        anonymous: bool,
        /// By name and password.
        password: bool,
    },
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is to be done.
    pub command: Command,
    /// With which host.
    pub host: Host,
    /// At which port.
    pub port: u16,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Connect to a host.
    Connect,
    /// Wait for a connection of a host.
    Bind,
    /// Relay datagrams.
    Associate,
}

/// A host as the client names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// By its address.
    Ip(IpAddr),
    /// By its name, in lower case.
    Name(Box<str>),
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub name: Vec<u8>,
    /// The password.
    pub password: Vec<u8>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// What is answered to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is done.
    Succeeded = 0,
    /// Something else went wrong.
    Failed = 1,
    /// It is not allowed.
    NotAllowed = 2,
    /// There is no way to the network.
    NetworkUnreachable = 3,
    /// There is no way to the host, or no such name.
    HostUnreachable = 4,
    /// The host does not accept.
    Refused = 5,
    /// The host does not answer.
    TimedOut = 6,
    /// There is no such command here.
    UnknownCommand = 7,
    /// There are no such addresses here.
    UnknownAddress = 8,
}

/// Why bytes are no SOCKS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SocksError {
    /// Neither version 4 nor 5.
    #[error("not SOCKS")]
    Version,
    /// A command that there is none of.
    #[error("unknown command")]
    Command,
    /// A kind of address that there is none of.
    #[error("unknown kind of address")]
    AddressKind,
    /// A name that no host can have.
    #[error("not a name of a host")]
    Name,
    /// They break the rules.
    #[error("malformed")]
    Malformed,
}

impl SocksError {
    /// What a client of version 5 is told, if it is to be told anything.
    #[must_use]
    pub fn reply(self) -> Option<Reply> {
        match self {
            Self::Command => Some(Reply::UnknownCommand),
            Self::AddressKind => Some(Reply::UnknownAddress),
            Self::Name => Some(Reply::HostUnreachable),
            Self::Version | Self::Malformed => None,
        }
    }
}

impl Hello {
    /// Takes what a client begins with; none if it has not come whole.
    ///
    /// # Errors
    /// When it is something else.
    pub fn read(buf: &mut BytesMut) -> Result<Option<Self>, SocksError> {
        match buf.first() {
            None => Ok(None),
            Some(4) => Ok(read_four(buf)?.map(Self::Four)),
            Some(5) => {
                let Some(count) = buf.get(1).map(|count| usize::from(*count)) else {
                    return Ok(None);
                };
                let Some(methods) = buf.get(2..2 + count) else { return Ok(None) };
                let (anonymous, password) = (methods.contains(&0), methods.contains(&2));
                buf.advance(2 + count);
                Ok(Some(Self::Five { anonymous, password }))
            }
            Some(_) => Err(SocksError::Version),
        }
    }
}

/// `4 COMMAND PORT ADDRESS USER 0`, and for an address like 0.0.0.7 `NAME 0`.
fn read_four(buf: &mut BytesMut) -> Result<Option<Request>, SocksError> {
    let Some(&[_, command, p, q, a, b, c, d]) = buf.first_chunk() else { return Ok(None) };
    let command = match command {
        1 => Command::Connect,
        2 => Command::Bind,
        _ => return Err(SocksError::Command),
    };
    let text = |from: usize| -> Result<Option<&[u8]>, SocksError> {
        let rest = buf.get(from..).unwrap_or_default();
        match rest.iter().position(|byte| *byte == 0) {
            Some(len) if len <= TEXT => Ok(Some(&rest[..len])),
            None if rest.len() <= TEXT => Ok(None),
            _ => Err(SocksError::Malformed),
        }
    };
    let Some(user) = text(8)? else { return Ok(None) };
    let mut end = 8 + user.len() + 1;
    let host = match [a, b, c, d] {
        [0, 0, 0, last] if last > 0 => {
            let Some(name) = text(end)? else { return Ok(None) };
            end += name.len() + 1;
            host_of(name)?
        }
        ip => Host::Ip(Ipv4Addr::from(ip).into()),
    };
    buf.advance(end);
    Ok(Some(Request { command, host, port: u16::from_be_bytes([p, q]) }))
}

impl Login {
    /// Takes a login; none if it has not come whole.
    ///
    /// # Errors
    /// When it is something else.
    pub fn read(buf: &mut BytesMut) -> Result<Option<Self>, SocksError> {
        match buf.first() {
            None => return Ok(None),
            Some(1) => {}
            Some(_) => return Err(SocksError::Malformed),
        }
        let part = |at: usize| {
            let len = usize::from(*buf.get(at)?);
            Some((buf.get(at + 1..at + 1 + len)?.to_vec(), at + 1 + len))
        };
        let Some((name, next)) = part(1) else { return Ok(None) };
        let Some((password, end)) = part(next) else { return Ok(None) };
        buf.advance(end);
        Ok(Some(Self { name, password }))
    }
}

impl Request {
    /// Takes a request of version 5; none if it has not come whole.
    ///
    /// # Errors
    /// When it is something else, or can't be fulfilled.
    pub fn read(buf: &mut BytesMut) -> Result<Option<Self>, SocksError> {
        match buf[..] {
            [5, _, 0, ..] => {}
            [5] | [5, _] | [] => return Ok(None),
            _ => return Err(SocksError::Malformed),
        }
        let command = match buf[1] {
            1 => Command::Connect,
            2 => Command::Bind,
            3 => Command::Associate,
            _ => return Err(SocksError::Command),
        };
        let Some((host, port, len)) = read_address(&buf[3..])? else { return Ok(None) };
        buf.advance(3 + len);
        Ok(Some(Self { command, host, port }))
    }
}

/// `KIND ADDRESS PORT`, and how long that is; none if it has not come whole.
fn read_address(bytes: &[u8]) -> Result<Option<(Host, u16, usize)>, SocksError> {
    let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
    let (host, len) = match kind {
        1 => match rest.first_chunk::<4>() {
            Some(ip) => (Host::Ip(Ipv4Addr::from(*ip).into()), 4),
            None => return Ok(None),
        },
        4 => match rest.first_chunk::<16>() {
            Some(ip) => (Host::Ip(IpAddr::from(Ipv6Addr::from(*ip)).to_canonical()), 16),
            None => return Ok(None),
        },
        3 => {
            let name = rest.first().and_then(|len| rest.get(1..1 + usize::from(*len)));
            let Some(name) = name else { return Ok(None) };
            (host_of(name)?, 1 + name.len())
        }
        _ => return Err(SocksError::AddressKind),
    };
    let Some(&[p, q]) = rest.get(len..).and_then(|rest| rest.first_chunk()) else {
        return Ok(None);
    };
    Ok(Some((host, u16::from_be_bytes([p, q]), 1 + len + 2)))
}

/// The host of this name; an address in letters is one.
fn host_of(name: &[u8]) -> Result<Host, SocksError> {
    std::str::from_utf8(name).map_err(|_| SocksError::Name)?.parse()
}

impl FromStr for Host {
    type Err = SocksError;

    fn from_str(name: &str) -> Result<Self, SocksError> {
        if let Ok(ip) = name.parse::<IpAddr>() {
            return Ok(Self::Ip(ip.to_canonical()));
        }
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(fits) {
            return Err(SocksError::Name);
        }
        Ok(Self::Name(name.to_ascii_lowercase().into()))
    }
}

/// Appends which way to log in was chosen, if one was.
pub fn put_method(out: &mut BytesMut, method: Option<Method>) {
    out.put_slice(&[5, method.map_or(0xff, |method| method as u8)]);
}

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// There is no need to.
    Anonymous = 0,
    /// By name and password.
    Password = 2,
}

/// Appends whether a login is good.
pub fn put_login(out: &mut BytesMut, good: bool) {
    out.put_slice(&[1, u8::from(!good)]);
}

/// Appends an answer of version 5, with the address that is of interest.
pub fn put_reply(out: &mut BytesMut, reply: Reply, at: SocketAddr) {
    out.put_slice(&[5, reply as u8, 0]);
    put_address(out, at);
}

/// The same of version 4.
pub fn put_reply_four(out: &mut BytesMut, reply: Reply, at: SocketAddr) {
    out.put_slice(&[0, if reply == Reply::Succeeded { 90 } else { 91 }]);
    out.put_u16(at.port());
    match at.ip().to_canonical() {
        IpAddr::V4(ip) => out.put_slice(&ip.octets()),
        IpAddr::V6(_) => out.put_slice(&[0; 4]),
    }
}

fn put_address(out: &mut BytesMut, at: SocketAddr) {
    match at.ip().to_canonical() {
        IpAddr::V4(ip) => {
            out.put_u8(1);
            out.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.put_u8(4);
            out.put_slice(&ip.octets());
        }
    }
    out.put_u16(at.port());
}

/// Where a client's datagram is to go, and what it says; none of one that is in pieces, or broken.
#[must_use]
pub fn read_datagram(bytes: &[u8]) -> Option<(Host, u16, &[u8])> {
    let [0, 0, 0, rest @ ..] = bytes else { return None };
    let (host, port, len) = read_address(rest).ok()??;
    Some((host, port, &rest[len..]))
}

/// Appends what comes before a datagram that came from there.
pub fn put_datagram_head(out: &mut BytesMut, from: SocketAddr) {
    out.put_slice(&[0; 3]);
    put_address(out, from);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of these bytes, one at a time.
    fn read<T>(
        bytes: &[u8],
        mut read: impl FnMut(&mut BytesMut) -> Result<Option<T>, SocksError>,
    ) -> Result<T, SocksError> {
        let mut buf = BytesMut::new();
        for byte in &bytes[..bytes.len() - 1] {
            buf.put_u8(*byte);
            assert!(read(&mut buf)?.is_none(), "{buf:?}");
        }
        buf.put_slice(&bytes[bytes.len() - 1..]);
        buf.put_slice(b"rest");
        let value = read(&mut buf)?.expect("it is whole");
        assert_eq!(buf, "rest");
        Ok(value)
    }

    fn name(name: &str) -> Host {
        Host::Name(name.into())
    }

    #[test]
    fn hellos() {
        let five = |anonymous, password| Ok(Hello::Five { anonymous, password });
        assert_eq!(read(&[5, 1, 0], Hello::read), five(true, false));
        assert_eq!(read(&[5, 3, 0, 1, 2], Hello::read), five(true, true));
        assert_eq!(read(&[5, 0], Hello::read), five(false, false));
        let four = |host, port| Ok(Hello::Four(Request { command: Command::Connect, host, port }));
        let ip = Host::Ip([192, 0, 2, 1].into());
        assert_eq!(read(b"\x04\x01\0\x50\xc0\0\x02\x01me\0", Hello::read), four(ip, 80));
        let bytes = b"\x04\x01\x01\xbb\0\0\0\x01\0Shop.Test\0";
        assert_eq!(read(bytes, Hello::read), four(name("shop.test"), 443));
        assert_eq!(read(b"GET / HTTP/1.1", Hello::read), Err(SocksError::Version));
        assert_eq!(read(&[4, 9, 0, 0, 0, 0, 0, 0], Hello::read), Err(SocksError::Command));
        let long = [&[4, 1, 0, 80, 1, 1, 1, 1][..], &[b'x'; 300]].concat();
        assert_eq!(read(&long, Hello::read), Err(SocksError::Malformed));
    }

    #[test]
    fn logins_and_requests() {
        let login = read(b"\x01\x03mia\x02pw", Login::read).unwrap();
        assert_eq!((&login.name[..], &login.password[..]), (&b"mia"[..], &b"pw"[..]));
        let request = |command, host, port| Ok(Request { command, host, port });
        assert_eq!(
            read(b"\x05\x01\0\x03\x09Shop.Test\x01\xbb", Request::read),
            request(Command::Connect, name("shop.test"), 443)
        );
        assert_eq!(
            read(b"\x05\x03\0\x01\0\0\0\0\0\0", Request::read),
            request(Command::Associate, Host::Ip([0, 0, 0, 0].into()), 0)
        );
        // An address in IPv6, or in letters, is one of IPv4.
        let local = Host::Ip([127, 0, 0, 1].into());
        let mapped = b"\x05\x02\0\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01\0\x50";
        assert_eq!(read(mapped, Request::read), request(Command::Bind, local.clone(), 80));
        let letters = b"\x05\x01\0\x03\x09127.0.0.1\0\x50";
        assert_eq!(read(letters, Request::read), request(Command::Connect, local, 80));
        for (bytes, error) in [
            (&b"\x05\x09\0\x01\x01\x01\x01\x01\0\x50"[..], SocksError::Command),
            (b"\x05\x01\0\x02\x01", SocksError::AddressKind),
            (b"\x05\x01\0\x03\x03a b\0\x50", SocksError::Name),
            (b"\x05\x01\x01", SocksError::Malformed),
            (b"\x04\x01\0", SocksError::Malformed),
        ] {
            assert_eq!(read(bytes, Request::read), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn datagrams() {
        let mut bytes = BytesMut::new();
        put_datagram_head(&mut bytes, "192.0.2.1:53".parse().unwrap());
        bytes.put_slice(b"data");
        let expected = Some((Host::Ip([192, 0, 2, 1].into()), 53, &b"data"[..]));
        assert_eq!(read_datagram(&bytes), expected);
        for len in 0..10 {
            assert_eq!(read_datagram(&bytes[..len]), None);
        }
        // One in pieces.
        bytes[2] = 1;
        assert_eq!(read_datagram(&bytes), None);
    }

    #[test]
    fn answers() {
        let mut out = BytesMut::new();
        put_method(&mut out, Some(Method::Password));
        put_method(&mut out, None);
        put_login(&mut out, false);
        put_reply(&mut out, Reply::Refused, "[2001:db8::1]:1".parse().unwrap());
        put_reply_four(&mut out, Reply::Succeeded, "192.0.2.1:80".parse().unwrap());
        let mut expected = b"\x05\x02\x05\xff\x01\x01\x05\x05\0\x04\x20\x01\x0d\xb8".to_vec();
        expected.extend(b"\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\x5a\0\x50\xc0\0\x02\x01");
        assert_eq!(out[..], expected[..]);
    }
}
