//! Clients by where they come from, as configs and files of addresses name them.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hemi_core::config::ConfigType;
use hemi_proto::cidr::{Cidr, CidrError};
use serde::Deserialize;

use crate::authority::SiteHost;

/// Some clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Clients {
    /// `"all"`
    All,
    /// `"unix"`: those who come by a Unix socket
    Unix,
    /// Those of an address, or a block of addresses.
    Block(Cidr),
    /// Those of a host, by its name.
    Host(String),
}

/// A text that names no clients.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadClients {
    #[error(transparent)]
    Block(#[from] CidrError),
    #[error("\"{0}\" is neither an address nor the name of a host")]
    Host(String),
}

impl Clients {
    /// Whether one with this address is among them; without one, he comes by a Unix socket. The addresses
    /// of hosts are not asked for.
    pub(crate) fn hold(&self, ip: Option<IpAddr>) -> bool {
        match (self, ip) {
            (Self::All, _) | (Self::Unix, None) => true,
            (Self::Block(block), Some(ip)) => block.contains(ip),
            _ => false,
        }
    }
}

impl FromStr for Clients {
    type Err = BadClients;

    fn from_str(text: &str) -> Result<Self, BadClients> {
        match text {
            "all" => return Ok(Self::All),
            "unix" => return Ok(Self::Unix),
            _ => {}
        }
        let is_name = text.bytes().any(|b| b.is_ascii_alphabetic());
        match text.parse() {
            Ok(block) => Ok(Self::Block(block)),
            Err(e) if text.contains(['/', ':']) || !is_name => Err(e.into()),
            Err(_) => match SiteHost::try_from(text.to_owned()) {
                Ok(host) => Ok(Self::Host(host.as_str().to_owned())),
                Err(_) => Err(BadClients::Host(text.to_owned())),
            },
        }
    }
}

impl TryFrom<String> for Clients {
    type Error = BadClients;

    fn try_from(text: String) -> Result<Self, BadClients> {
        text.parse()
    }
}

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Unix => f.write_str("unix"),
            Self::Block(block) => block.fmt(f),
            Self::Host(name) => f.write_str(name),
        }
    }
}

impl ConfigType for Clients {
    fn kind() -> Cow<'static, str> {
        "address, block or host".into()
    }

    fn show(&self) -> String {
        self.to_string().show()
    }
}
