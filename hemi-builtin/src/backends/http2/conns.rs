//! Connections to nodes by HTTP/2.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use hemi_core::Result;
use hemi_core::backend::Endpoint;
use hemi_core::io::{Socket, Via};
use hemi_core::tls::{Connector, Link};
use tracing::debug;

use crate::backends::multiplexed::{Gone, Multiplex};

/// Bytes of an answer that a node may send before they are taken.
const STREAM_WINDOW: u32 = 128 << 10;

/// Answers under way on a connection, at most: what all of them may have sent is the largest window there is
/// (RFC 9113, 6.9.1).
pub(super) const MOST_STREAMS: usize = (i32::MAX as u32 / STREAM_WINDOW) as usize;

/// Speaks HTTP/2 to nodes.
#[derive(Debug)]
pub(super) struct Http2 {
    /// Bytes of an answer's head, at most.
    pub(super) head_size: u32,
    /// Answers under way on a connection, at most [`MOST_STREAMS`].
    pub(super) streams: usize,
    /// There if connections are encrypted.
    pub(super) connector: Option<Arc<Connector>>,
    /// The forward proxy that nodes are connected to by.
    pub(super) via: Option<Via>,
}

impl Multiplex for Http2 {
    type Conn = SendRequest<Bytes>;

    fn prepare(&self) -> Result<()> {
        self.connector.as_ref().map_or(Ok(()), |connector| connector.prepare())
    }

    async fn connect(&self, endpoint: &Endpoint, gone: Gone) -> io::Result<SendRequest<Bytes>> {
        let host = endpoint.hostname();
        let socket = match &self.via {
            Some(via) => via.connect(endpoint.target()).await?,
            None => Socket::connect(endpoint.target()).await?,
        };
        let link = Link::over(socket, &host, self.connector.as_ref()).await?;
        if let Link::Tls(stream) = &link
            && stream.info().alpn.as_deref() != Some(b"h2")
        {
            return Err(io::Error::other("the node does not speak HTTP/2"));
        }
        // Room for each, so that those that nobody takes hold up no others.
        let window = STREAM_WINDOW * self.streams.min(MOST_STREAMS) as u32;
        let handshake = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(window)
            .max_header_list_size(self.head_size)
            .handshake::<_, Bytes>(link);
        let (sender, mut connection) = handshake.await.map_err(io::Error::other)?;
        let (ping, node) = (connection.ping_pong(), endpoint.target().clone());
        // Is over when nobody holds the connection any more, or the node has closed it.
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                debug!(%node, "connection to the node lost: {e}");
            }
            gone.tell();
        });
        if let Some(ping) = ping {
            answered(ping).await?;
        }
        Ok(sender)
    }

    fn room(conn: &SendRequest<Bytes>) -> usize {
        conn.current_max_send_streams()
    }
}

/// Whoever answers a ping speaks HTTP/2, and has told before how many requests it takes, and of what kind.
async fn answered(mut ping: PingPong) -> io::Result<()> {
    ping.ping(Ping::opaque()).await.map(drop).map_err(io::Error::other)
}
