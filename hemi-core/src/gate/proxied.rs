//! Connections that come by way of proxies, which say for whom, by the PROXY protocol.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use hemi_proto::cidr::{Cidr, CidrError};
use hemi_proto::proxy_protocol::{Limits, ProxyHeader, read};
use serde::Deserialize;
use tokio::time::timeout;
use tracing::debug;

use super::Accepted;
use crate::config::ConfigType;
use crate::io::{Io as _, Socket, pool};
use crate::listen::Peer;

/// How long the header may take to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// Proxies that are believed what they say about clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Proxies {
    /// Those of an address, or a block of addresses.
    Block(Cidr),
    /// `"unix"`: those that come by a Unix socket.
    Unix,
}

impl TryFrom<String> for Proxies {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        if text == "unix" { Ok(Self::Unix) } else { text.parse().map(Self::Block) }
    }
}

impl ConfigType for Proxies {
    fn kind() -> Cow<'static, str> {
        "address block".into()
    }

    fn show(&self) -> String {
        match self {
            Self::Block(block) => block.to_string().show(),
            Self::Unix => "unix".to_owned().show(),
        }
    }
}

impl Proxies {
    /// Whether one is among them.
    pub(super) fn hold(&self, peer: &Peer) -> bool {
        match (self, peer.ip()) {
            (Self::Block(block), Some(ip)) => block.contains(ip),
            (Self::Unix, None) => true,
            _ => false,
        }
    }
}

/// The connection, with the client as its peer; none if there is no header, and it is to be closed.
pub(super) async fn unwrap(mut accepted: Accepted) -> Option<Accepted> {
    let proxy = accepted.peer;
    match timeout(PATIENCE, read_header(&mut accepted.socket)).await {
        Ok(Ok(header)) => {
            // One that the proxy makes for itself, or knows nothing about, is the proxy's.
            if let Some(mut client) = header.source() {
                client.set_ip(client.ip().to_canonical());
                accepted.peer = Peer::Tcp(client);
                accepted.reached = header.destination();
            }
            Some(accepted)
        }
        Ok(Err(e)) => {
            debug!(%proxy, "closed: {e}");
            None
        }
        Err(_) => {
            debug!(%proxy, "closed: no header of the PROXY protocol came in time");
            None
        }
    }
}

async fn read_header(socket: &mut Socket) -> io::Result<ProxyHeader> {
    let mut buf = pool::take();
    let header = loop {
        let header = read(&mut buf, &Limits::default());
        if let Some(header) = header.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))? {
            break header;
        }
        buf.reserve(1024);
        if std::future::poll_fn(|cx| socket.poll_recv(cx, &mut buf)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    if buf.is_empty() {
        pool::give(buf);
    } else {
        // The client's first bytes have come with it.
        socket.unread(BytesMut::from(&buf[..]));
        pool::give(buf);
    }
    Ok(header)
}
