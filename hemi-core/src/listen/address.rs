//! Where a server listens, and where its clients come from.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::config::ConfigType;

/// An address to listen on.
///
/// In a config: `"127.0.0.1:80"`, `"[::1]:80"`, `":80"` (all addresses of this machine, IPv6 and IPv4),
/// `"localhost:80"` (127.0.0.1), or the path of a Unix socket: one with a `/`, or `unix:PATH`.
/// A relative path starts at the top directory. `fd:NAME` is the socket of that name which the program was
/// started with (`FileDescriptorName=` in systemd.socket(5)).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// A TCP or UDP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// The name of a socket that the program was started with.
    Named(String),
}

/// A text that is no address.
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{0}\" is not an address: write \"127.0.0.1:80\", \"[::1]:80\", \":80\" or the path of a Unix socket"
)]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        if let Some(name) = text.strip_prefix("fd:").filter(|name| !name.is_empty()) {
            return Ok(Self::Named(name.into()));
        }
        if text.contains('/') {
            return Ok(Self::Unix(text.into()));
        }
        let bad = || AddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port: u16 = port.parse().map_err(|_| bad())?;
        let ip = match host {
            "" | "*" => any_ip(),
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            _ => {
                let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
                match (inner, host.parse::<Ipv4Addr>()) {
                    (Some(v6), _) => v6.parse::<Ipv6Addr>().map_err(|_| bad())?.into(),
                    (None, v4) => v4.map_err(|_| bad())?.into(),
                }
            }
        };
        Ok(Self::Tcp(SocketAddr::new(ip, port)))
    }
}

/// Every address of this machine: `::` serves IPv4 too, where the kernel has IPv6 at all.
fn any_ip() -> IpAddr {
    static HAS_IPV6: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let has = HAS_IPV6.get_or_init(|| {
        socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).is_ok()
    });
    if *has { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

impl Address {
    /// That of TCP or UDP, if it is one.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) | Self::Named(_) => None,
        }
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        match address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => format!("unix:{}", path.display()),
            Address::Named(name) => format!("fd:{name}"),
        }
    }
}

impl ConfigType for Address {
    fn kind() -> Cow<'static, str> {
        "address".into()
    }

    fn show(&self) -> String {
        self.to_string().show()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
            Self::Named(name) => write!(f, "fd:{name}"),
        }
    }
}

/// The other end of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A TCP client. An IPv4 client of an IPv6 socket is given as the IPv4 address it is.
    Tcp(SocketAddr),
    /// A client of a Unix socket, which has no name.
    Unix,
}

impl Peer {
    /// The client's address, without its port.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_addresses() {
        let tcp = |text: &str| Some(Address::Tcp(text.parse().unwrap()));
        for (text, expected) in [
            ("127.0.0.1:80", tcp("127.0.0.1:80")),
            ("localhost:3080", tcp("127.0.0.1:3080")),
            ("[::1]:3080", tcp("[::1]:3080")),
            ("/run/a:b.sock", Some(Address::Unix("/run/a:b.sock".into()))),
            ("unix:a.sock", Some(Address::Unix("a.sock".into()))),
            ("fd:web", Some(Address::Named("web".into()))),
            ("fd:", None),
            ("::1:80", None),
            ("127.0.0.1", None),
            ("127.0.0.1:65536", None),
            ("host:80", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
            let again = expected.clone().map(|address| String::from(address).parse().unwrap());
            assert_eq!(again, expected, "{text}");
        }
        let Ok(Address::Tcp(any)) = ":80".parse() else { panic!("no address") };
        assert!(any.ip().is_unspecified());
    }
}
