//! The component `node`: one of the servers that make up a backend.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

use super::numbers::Weight;
use crate::config::{ConfigType, KindName};
use crate::{Component, CreateCx, Explain, Kind, Lifecycle, Place, Rank, Result};

/// The kind of the one component [`Node`].
#[derive(Debug)]
pub struct NodeKind;

impl KindName for NodeKind {
    const NAME: &'static str = "node";
}

impl Kind for NodeKind {
    type Object = Node;
    const RANK: Rank = Rank::BACKEND;
    const PLACE: Place = Place::Inside;
}

/// One of the servers of a backend.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct NodeConfig {
    /// Where it is: `"HOST:PORT"`, with a name or an address, or the path of a Unix socket. A name is
    /// looked up again and again; if it has several addresses, each is a node of its own. `"srv:NAME"` stands for
    /// the hosts that have a service, such as `"srv:_http._tcp.app.internal"`, with their ports and weights:
    /// those of another priority than the first are backups.
    pub address: NodeAddress,
    /// How much of the requests it gets, compared with the others: 1 to 1000.
    #[serde(default)]
    pub weight: Weight,
    /// Whether it gets requests only when no other node is fit.
    #[serde(default)]
    pub backup: bool,
    /// Whether it gets no new requests, but for those of clients that a cookie leads to it.
    #[serde(default)]
    pub drain: bool,
    /// Where it is, such as a data centre: see the backend's `.zone`. Empty if that does not matter.
    #[serde(default)]
    pub zone: String,
}

/// One of the servers of a backend.
#[derive(Clone, Debug)]
pub struct Node {
    pub(super) name: Option<String>,
    pub(super) address: NodeAddress,
    pub(super) weight: f64,
    pub(super) backup: bool,
    pub(super) drain: bool,
    pub(super) zone: String,
}

impl Component for Node {
    const SIGN: &'static str = "node";
    type Config = NodeConfig;

    fn create(config: NodeConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let address = match config.address {
            NodeAddress::Unix(path) => NodeAddress::Unix(cx.path(path)),
            tcp => tcp,
        };
        Ok(Self {
            name: cx.given_name().map(str::to_owned),
            address,
            weight: config.weight.get(),
            backup: config.backup,
            drain: config.drain,
            zone: config.zone,
        })
    }
}

impl Lifecycle for Node {}

impl Node {
    /// A node without a name, of weight 1.
    #[must_use]
    pub fn at(address: NodeAddress) -> Self {
        Self { name: None, address, weight: 1.0, backup: false, drain: false, zone: String::new() }
    }
}

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum NodeAddress {
    /// A host, by name or address, and a port.
    Tcp {
        /// The name, in lower case, or the address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
    /// The hosts that have a service, by its name in lower case (RFC 2782).
    Service(String),
}

/// A text that is no address of a node.
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{0}\" is not where a node can be: write \"host:port\", the path of a Unix socket, or \"srv:name\""
)]
pub struct BadNodeAddress(String);

impl FromStr for NodeAddress {
    type Err = BadNodeAddress;

    fn from_str(text: &str) -> Result<Self, BadNodeAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        if let Some(name) = text.strip_prefix("srv:") {
            let name = name.to_ascii_lowercase();
            return match is_name(&name) {
                true => Ok(Self::Service(name)),
                false => Err(BadNodeAddress(text.to_owned())),
            };
        }
        if text.contains('/') && !text.contains("://") {
            return Ok(Self::Unix(text.into()));
        }
        let parts = text.rsplit_once(':').and_then(|(host, port)| {
            let port = port.parse().ok().filter(|port| *port > 0)?;
            let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
                Some(v6) => v6.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
                // Of an address of IPv6 without brackets the port would be a part.
                None if host.contains(':') => return None,
                None => host.to_ascii_lowercase(),
            };
            (host.parse::<IpAddr>().is_ok() || is_name(&host)).then_some((host, port))
        });
        let (host, port) = parts.ok_or_else(|| BadNodeAddress(text.to_owned()))?;
        Ok(Self::Tcp { host, port })
    }
}

/// Whether it may be a name of the DNS, or of a hosts file.
fn is_name(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    host.len() <= 255 && labels.split('.').all(is_label)
}

impl NodeAddress {
    /// Whether it has to be looked up.
    pub(super) fn is_name(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => host.parse::<IpAddr>().is_err(),
            Self::Unix(_) => false,
            Self::Service(_) => true,
        }
    }
}

impl TryFrom<String> for NodeAddress {
    type Error = BadNodeAddress;

    fn try_from(text: String) -> Result<Self, BadNodeAddress> {
        text.parse()
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Service(name) => write!(f, "srv:{name}"),
        }
    }
}

impl ConfigType for NodeAddress {
    fn kind() -> Cow<'static, str> {
        "node address".into()
    }

    fn show(&self) -> String {
        self.to_string().show()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let tcp = |host: &str, port| NodeAddress::Tcp { host: host.to_owned(), port };
        for (text, expected) in [
            ("127.0.0.1:80", tcp("127.0.0.1", 80)),
            ("[::1]:80", tcp("::1", 80)),
            ("App.Internal:8080", tcp("app.internal", 8080)),
            ("my_app.:1", tcp("my_app.", 1)),
            ("/run/app.sock", NodeAddress::Unix("/run/app.sock".into())),
            ("unix:app.sock", NodeAddress::Unix("app.sock".into())),
            ("srv:_http._tcp.App.Test", NodeAddress::Service("_http._tcp.app.test".into())),
        ] {
            assert_eq!(text.parse::<NodeAddress>().unwrap(), expected, "{text}");
        }
        for text in [
            "",
            "host",
            "host:",
            ":80",
            "host:0",
            "host:65536",
            "http://host:80",
            "a b:1",
            "::1:80",
            "[::1:80",
            "host:80:90",
            "a..b:1",
            "srv:",
            "srv:a..b",
        ] {
            assert!(text.parse::<NodeAddress>().is_err(), "{text}");
        }
    }
}
