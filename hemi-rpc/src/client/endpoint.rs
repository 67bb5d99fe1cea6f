//! Where a server is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hemi_core::io::Socket;
use tokio::net::{TcpStream, UnixStream};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A host and port; the host may be a name, which is looked up for each connection.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// A text that says of no place where a server may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no address: write a host and port, as in \"127.0.0.1:8972\", or a path, as in \"/run/a.sock\""
)]
pub struct BadEndpoint(String);

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    /// Reads `host:port` or a path; in front of them there may be `tcp@` or `unix@`, as in registries of rpcx.
    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let bad = || BadEndpoint(text.to_owned());
        let (network, address) = text.split_once('@').unwrap_or(("", text));
        match network {
            "unix" => Ok(Self::Unix(address.into())),
            "" if address.starts_with(['/', '.']) => Ok(Self::Unix(address.into())),
            "" | "tcp" | "tcp4" | "tcp6" => {
                let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
                port.parse::<u16>().map_err(|_| bad())?;
                let host = if host.is_empty() { "127.0.0.1" } else { host };
                Ok(Self::Tcp(format!("{host}:{port}")))
            }
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Endpoint {
    pub(super) async fn connect(&self) -> std::io::Result<Socket> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(stream.into())
            }
            Self::Unix(path) => Ok(UnixStream::connect(path).await?.into()),
        }
    }
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
            ("quic@node:1", None),
            ("node", None),
            ("node:70000", None),
            ("", None),
        ] {
            let read = text.parse::<Endpoint>().ok().map(|endpoint| endpoint.to_string());
            assert_eq!(read.as_deref(), shown, "{text}");
        }
    }
}
