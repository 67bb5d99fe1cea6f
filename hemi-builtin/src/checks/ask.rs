//! Connections to nodes that are asked in a protocol of their own.

use std::convert::Infallible;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::backend::Endpoint;
use hemi_core::io::{Io, NotReceived, Socket, receive, send};
use hemi_core::tls::{Connector, ConnectorConfig, Link};
use hemi_core::{CreateCx, Explain, Result};
use serde::Deserialize;

/// Whether nodes are asked over TLS.
#[derive(Clone, Copy, Debug, Default, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct AskConfig {
    /// Whether the node is spoken to over TLS.
    tls_mode: bool,
}

impl AskConfig {
    /// What is needed for that.
    pub(super) fn connector(
        self,
        tls: ConnectorConfig,
        cx: &mut CreateCx<'_>,
    ) -> Result<Option<Arc<Connector>>> {
        self.tls_mode.then(|| Connector::new(tls, &[], cx).map(Arc::new)).transpose()
    }
}

/// Connects to a node.
pub(super) async fn connect(node: &Endpoint) -> Result<Socket, String> {
    Socket::connect(node.target()).await.map_err(cannot_connect)
}

/// The same connection, with TLS if there is a connector.
pub(super) async fn secure(
    socket: Socket,
    node: &Endpoint,
    connector: Option<&Arc<Connector>>,
) -> Result<Link, String> {
    Link::over(socket, &node.hostname(), connector).await.map_err(cannot_connect)
}

fn cannot_connect(e: impl Display) -> String {
    format!("cannot connect: {e}")
}

/// What a node answers to this, with `least` bytes, each within `limit`.
pub(super) async fn ask(
    io: &mut impl Io,
    words: &[u8],
    least: usize,
    limit: Duration,
) -> Result<BytesMut, String> {
    send(io, words, limit).await.map_err(|e| format!("cannot be asked: {e}"))?;
    let mut buf = BytesMut::new();
    let enough = |buf: &mut BytesMut| Ok::<_, Infallible>((buf.len() >= least).then_some(()));
    receive(io, &mut buf, limit, enough).await.map_err(no_answer)?;
    Ok(buf)
}

/// Why there is none.
pub(super) fn no_answer<E: Display>(why: NotReceived<E>) -> String {
    match why {
        NotReceived::Io(e) => format!("no answer: {e}"),
        NotReceived::Closed => "it has closed the connection".to_owned(),
        NotReceived::Timeout => "no answer in time".to_owned(),
        NotReceived::Malformed(e) => e.to_string(),
    }
}
