//! Where clients of a forward proxy may go.
//!
//! A name is looked up once, what it stands for is judged, and that very address is connected to: a name
//! that means something else a moment later (DNS rebinding) gains nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hemi_core::backend::Target;
use hemi_core::config::{ConfigType, Several};
use hemi_core::deadline::within;
use hemi_core::io::{Dialing, Socket};
use hemi_core::resolv::{Resolv, ResolvKind};
use hemi_core::{CreateCx, Explain, Result};
use hemi_proto::cidr::Cidr;
use hemi_proto::socks::Host;
use http::StatusCode;
use serde::Deserialize;

/// Addresses of a name that are tried, at most.
const TRIES: usize = 4;

/// Where clients may go.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationsConfig {
    /// The hosts that clients may go to: names, `"*.example.com"` for those below one, addresses, blocks
    /// like `"10.0.0.0/8"`, or `"all"`. By default all that are public.
    allow_hosts: Vec<Place>,
    /// The hosts that they may not go to, whatever else is said.
    deny_hosts: Vec<Place>,
    /// The hosts that single users may go to, instead of those of `allowHosts`, by their names.
    user_hosts: BTreeMap<String, Vec<Place>>,
    /// The ports that they may go to, such as `(80, 443)`; all by default.
    allow_ports: Several<u16>,
    /// Whether they may go to addresses that are not public, of this machine and of private networks,
    /// though `allowHosts` has no block that these are in.
    allow_private: bool,
    /// How long connecting may take.
    connect_timeout: Duration,
}

impl Default for DestinationsConfig {
    fn default() -> Self {
        Self {
            allow_hosts: Vec::new(),
            deny_hosts: Vec::new(),
            user_hosts: BTreeMap::new(),
            allow_ports: Several::default(),
            allow_private: false,
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// Where clients may go.
#[derive(Debug)]
pub(crate) struct Destinations {
    config: DestinationsConfig,
    resolv: Arc<Resolv>,
}

/// Why there is no way to a host.
#[derive(Debug)]
pub(crate) enum NoWay {
    /// It is not allowed.
    Denied,
    /// The name is not known.
    Unresolved,
    /// Nobody takes the connection.
    Unreachable(io::Error),
}

impl NoWay {
    /// How a client of HTTP is told.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unreachable(e) if e.kind() == io::ErrorKind::TimedOut => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::Unresolved | Self::Unreachable(_) => StatusCode::BAD_GATEWAY,
        }
    }
}

impl Destinations {
    pub(crate) fn create(config: DestinationsConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self { config, resolv: cx.fixture::<ResolvKind>()? })
    }

    /// The addresses of a host that this user may go to.
    pub(crate) async fn find(
        &self,
        host: &Host,
        port: u16,
        user: Option<&str>,
    ) -> Result<Vec<SocketAddr>, NoWay> {
        let ports = &self.config.allow_ports.0;
        if !ports.is_empty() && !ports.contains(&port) {
            return Err(NoWay::Denied);
        }
        let own = user.and_then(|user| self.config.user_hosts.get(user));
        let allowed = own.unwrap_or(&self.config.allow_hosts);
        let named = |places: &[Place]| places.iter().any(|place| place.names(host));
        if named(&self.config.deny_hosts) {
            return Err(NoWay::Denied);
        }
        let by_name = allowed.is_empty() || named(allowed);
        let ips: Arc<[IpAddr]> = match host {
            Host::Ip(ip) => Arc::new([*ip]),
            Host::Name(name) => {
                // What is not allowed by its name may be by its address.
                if !by_name && !allowed.iter().any(|place| matches!(place, Place::Block(_))) {
                    return Err(NoWay::Denied);
                }
                self.resolv.resolve(name).await.map_err(|_| NoWay::Unresolved)?
            }
        };
        let may = |ip: IpAddr| {
            let within = |places: &[Place]| places.iter().any(|place| place.holds(ip));
            let listed = within(allowed);
            !within(&self.config.deny_hosts)
                && (by_name || listed)
                && (self.config.allow_private || listed || is_public(ip))
        };
        let ips = ips.iter().map(IpAddr::to_canonical).filter(|ip| may(*ip));
        let found: Vec<_> = ips.map(|ip| SocketAddr::new(ip, port)).take(TRIES).collect();
        if found.is_empty() { Err(NoWay::Denied) } else { Ok(found) }
    }

    /// Connects to a host, if this user may go there.
    pub(crate) async fn dial(
        &self,
        host: &Host,
        port: u16,
        user: Option<&str>,
    ) -> Result<Socket, NoWay> {
        let mut last = io::ErrorKind::NotFound.into();
        for address in self.find(host, port, user).await? {
            match within(
                self.config.connect_timeout,
                Socket::dial(&Target::Tcp(address), &Dialing::default()),
            )
            .await
            {
                Some(Ok(socket)) => return Ok(socket),
                Some(Err(e)) => last = e,
                None => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(NoWay::Unreachable(last))
    }
}

/// Some hosts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum Place {
    All,
    Block(Cidr),
    /// By its name, in lower case.
    Name(String),
    /// All below this one, which begins with a dot.
    Below(String),
}

/// A text that names no hosts.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" names no hosts: write \"a.test\", \"*.a.test\", \"10.0.0.0/8\" or \"all\"")]
struct NoPlace(String);

impl Place {
    /// Whether a host is one of these by the name that it was asked for by.
    fn names(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Name(known), Host::Name(name)) => **known == *name.trim_end_matches('.'),
            (Self::Below(known), Host::Name(name)) => name
                .trim_end_matches('.')
                .strip_suffix(&**known)
                .is_some_and(|rest| !rest.is_empty()),
            _ => false,
        }
    }

    /// Whether an address is one of these.
    fn holds(&self, ip: IpAddr) -> bool {
        matches!(self, Self::Block(block) if block.contains(ip))
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        if text == "all" {
            return Ok(Self::All);
        }
        if let Ok(block) = text.parse() {
            return Ok(Self::Block(block));
        }
        let (below, name) = match text.strip_prefix('*') {
            Some(rest) if rest.starts_with('.') => (true, rest),
            Some(_) => return Err(NoPlace(text.to_owned())),
            None => (false, text),
        };
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let lettered = name.bytes().any(|b| b.is_ascii_alphabetic());
        if !name.bytes().all(fits) || !lettered || name.ends_with('.') {
            return Err(NoPlace(text.to_owned()));
        }
        let name = name.to_ascii_lowercase();
        Ok(if below { Self::Below(name) } else { Self::Name(name) })
    }
}

impl TryFrom<String> for Place {
    type Error = NoPlace;

    fn try_from(text: String) -> Result<Self, NoPlace> {
        text.parse()
    }
}

impl ConfigType for Place {
    fn kind() -> Cow<'static, str> {
        "host, address or block".into()
    }

    fn show(&self) -> String {
        match self {
            Self::All => "all".to_owned().show(),
            Self::Block(block) => block.to_string().show(),
            Self::Name(name) => name.show(),
            Self::Below(name) => format!("*{name}").show(),
        }
    }
}

/// Whether anybody may be there: not this machine, a private network, or nobody (RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(a == 0
        || ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_documentation()
        || (a == 100 && b & 0xc0 == 64) // shared by a provider's customers
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18) // benchmarks
        || a >= 224)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let parts = ip.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // What is behind a translator (NAT64), or 6to4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        [0x2001, 0..0x200, ..] | [0x2001, 0xdb8, ..] | [0x3fff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let name = |name: &str| Host::Name(name.into());
        for (place, host, expected) in [
            ("all", name("a.test"), true),
            ("A.test", name("a.test"), true),
            ("a.test", name("a.test."), true),
            ("a.test", name("b.a.test"), false),
            ("*.a.test", name("b.a.test"), true),
            ("*.a.test", name("a.test"), false),
            ("*.a.test", name("ba.test"), false),
            ("10.0.0.0/8", name("a.test"), false),
        ] {
            assert_eq!(place.parse::<Place>().unwrap().names(&host), expected, "{place} {host}");
        }
        for text in ["", "*", "*a.test", "a b", "a.*", "1.2.3.4.5", "a.test."] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn public_addresses() {
        for ip in ["1.1.1.1", "100.128.0.1", "198.20.0.1", "2606:4700::1", "64:ff9b::101:101"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "64:ff9b::7f00:1",
            "2002:a00:1::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }
}
