//! Where a server is.

use std::borrow::Cow;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::{fmt, io};

use hemi_core::config::ConfigType;
use hemi_core::io::Socket;
use hemi_core::tls::{Connector, Link};
use hemi_proto::rpcx;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Endpoint {
    /// A host and port; the host may be a name, which is looked up for each connection.
    Tcp(String),
    /// The same, where a CONNECT of HTTP is the way in.
    Http(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// A host and port, or the path of a Unix socket, where HRPC is spoken.
    Hrpc(String),
}

/// A text that says of no place where a server may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no address: write a host and port, as in \"127.0.0.1:8972\", or a path, as in \"/run/a.sock\""
)]
pub struct BadEndpoint(String);

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    /// Reads `host:port` or a path; in front of them there may be `tcp@`, `http@` or `unix@`, as in
    /// registries of rpcx, or `hrpc@`.
    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let bad = || BadEndpoint(text.to_owned());
        let (network, address) = text.split_once('@').unwrap_or(("", text));
        match network {
            "unix" => Ok(Self::Unix(address.into())),
            "" if is_path(address) => Ok(Self::Unix(address.into())),
            "hrpc" if is_path(address) => Ok(Self::Hrpc(address.to_owned())),
            "" | "tcp" | "tcp4" | "tcp6" | "http" | "hrpc" => {
                let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
                port.parse::<u16>().map_err(|_| bad())?;
                let host = if host.is_empty() { "127.0.0.1" } else { host };
                let address = format!("{host}:{port}");
                Ok(match network {
                    "http" => Self::Http(address),
                    "hrpc" => Self::Hrpc(address),
                    _ => Self::Tcp(address),
                })
            }
            _ => Err(bad()),
        }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = BadEndpoint;

    fn try_from(text: String) -> Result<Self, BadEndpoint> {
        text.parse()
    }
}

impl ConfigType for Endpoint {
    fn kind() -> Cow<'static, str> {
        "host and port, or path".into()
    }

    fn show(&self) -> String {
        self.to_string().show()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Http(address) => write!(f, "http@{address}"),
            Self::Hrpc(address) => write!(f, "hrpc@{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Endpoint {
    /// What registries of rpcx know it by.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Tcp(address) => format!("tcp@{address}"),
            Self::Http(address) => format!("http@{address}"),
            Self::Hrpc(address) => format!("hrpc@{address}"),
            Self::Unix(path) => format!("unix@{}", path.display()),
        }
    }

    /// Connects to it, over TLS if there is a way to.
    ///
    /// # Errors
    /// When that fails.
    pub async fn connect(&self, tls: Option<&Arc<Connector>>) -> io::Result<Link> {
        let socket: Socket = match self {
            Self::Hrpc(path) if is_path(path) => UnixStream::connect(path).await?.into(),
            Self::Tcp(address) | Self::Http(address) | Self::Hrpc(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                stream.into()
            }
            Self::Unix(path) => UnixStream::connect(path).await?.into(),
        };
        let mut link = match tls {
            None => Link::Plain(socket),
            Some(tls) => Link::Tls(Box::new(tls.connect(socket, self.host()).await?)),
        };
        if let Self::Http(_) = self {
            link.write_all(rpcx::CONNECT).await?;
            link.flush().await?;
            // Byte by byte: what follows is not to be taken away.
            let mut answer = Vec::new();
            while rpcx::read_connected(&answer) == Some(0) {
                answer.push(link.read_u8().await?);
            }
            if rpcx::read_connected(&answer).is_none() {
                return Err(io::Error::other("it does not let rpcx in by HTTP"));
            }
        }
        Ok(link)
    }

    /// Whose certificate is expected.
    fn host(&self) -> &str {
        match self {
            Self::Hrpc(path) if is_path(path) => "localhost",
            Self::Tcp(address) | Self::Http(address) | Self::Hrpc(address) => {
                address.rsplit_once(':').map_or(address, |(host, _)| host)
            }
            Self::Unix(_) => "localhost",
        }
    }
}

fn is_path(address: &str) -> bool {
    address.starts_with(['/', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_rpcx_too() {
        for (text, shown) in [
            ("127.0.0.1:8972", Some("127.0.0.1:8972")),
            ("tcp@node-1:8972", Some("node-1:8972")),
            (":8972", Some("127.0.0.1:8972")),
            ("[::1]:1", Some("[::1]:1")),
            ("/run/a.sock", Some("/run/a.sock")),
            ("unix@run/a.sock", Some("run/a.sock")),
            ("http@node:1", Some("http@node:1")),
            ("hrpc@:1", Some("hrpc@127.0.0.1:1")),
            ("hrpc@/run/a.sock", Some("hrpc@/run/a.sock")),
            ("hrpc@node", None),
            ("quic@node:1", None),
            ("node", None),
            ("node:70000", None),
            ("", None),
        ] {
            let read = text.parse::<Endpoint>().ok().map(|endpoint| endpoint.to_string());
            assert_eq!(read.as_deref(), shown, "{text}");
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                assert_eq!(endpoint.key().parse(), Ok(endpoint), "{text}");
            }
        }
    }
}
