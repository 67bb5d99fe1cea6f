//! Datagrams of a request that has left HTTP (RFC 9297).

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hemi_core::io::{Io as _, Outbox};
use hemi_proto::capsule::{self, CapsuleReader};

use crate::Upgraded;
use crate::conn::Flow;

/// Bytes that are read in one go.
const PIECE: usize = 4 << 10;

/// Bytes of a datagram, at most: those of UDP, and room for what says whose they are.
const MOST: usize = (64 << 10) + 16;

/// What a connection carries once both ends have agreed on a protocol of datagrams, such as `connect-udp`: over HTTP/3
/// datagrams of QUIC, which may be lost or come in another order; else, and where the client does not
/// take those, capsules.
pub struct Datagrams {
    conn: Upgraded,
    flow: Option<Flow>,
    capsules: CapsuleReader,
    rbuf: BytesMut,
    out: Outbox,
}

impl Datagrams {
    pub(crate) fn new(conn: Upgraded, flow: Option<Flow>) -> Self {
        let (rbuf, out) = (BytesMut::new(), Outbox::default());
        Self { conn, flow, capsules: CapsuleReader::default(), rbuf, out }
    }

    /// The next datagram of the client; none when it has ended the request. Nothing is lost when the future is
    /// dropped.
    ///
    /// # Errors
    /// When the connection is lost, or its last capsule is cut off.
    pub async fn recv(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The same, to be polled.
    ///
    /// # Errors
    /// As [`Datagrams::recv`] has them.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if let Some(flow) = &self.flow
            && let Poll::Ready(datagram) = flow.poll_recv(cx)
        {
            return Poll::Ready(Ok(Some(datagram)));
        }
        loop {
            match self.capsules.read(&mut self.rbuf, MOST) {
                Some((capsule::DATAGRAM, datagram)) => return Poll::Ready(Ok(Some(datagram))),
                // Others are skipped that nobody knows (RFC 9297 section 3.2).
                Some(_) => continue,
                None => {}
            }
            self.rbuf.reserve(PIECE);
            if ready!(self.conn.poll_recv(cx, &mut self.rbuf))? == 0 {
                let whole = self.capsules.may_end(&self.rbuf);
                let end = if whole { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
                return Poll::Ready(end);
            }
        }
    }

    /// Sends a datagram to the client; what is too large for a packet of QUIC, or more than waits to be sent
    /// already, is lost. Bytes of a capsule that was begun follow with the next one when the future is dropped.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if let Some(flow) = self.flow.as_ref().filter(|flow| flow.goes_both_ways()) {
            return flow.send(datagram);
        }
        capsule::put(capsule::DATAGRAM, datagram, self.out.small());
        poll_fn(|cx| self.conn.poll_send(cx, &mut self.out)).await
    }

    /// Is over when the server drains.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        self.conn.draining()
    }
}

impl std::fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datagrams").field("conn", &self.conn).finish_non_exhaustive()
    }
}
