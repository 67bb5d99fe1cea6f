//! Passes on what is said on connections of QUIC: streams of both kinds and datagrams to another connection, or each
//! stream to a connection of TCP.
//!
//! What one side sends is read only as fast as the other takes it. The end of a stream is passed on as what it is, and so
//! are a reset and a request to stop, with their codes; when one connection has ended, what it has brought is passed on
//! before the other ends, with the same code. What is cut off for other reasons ends with the router's own code.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::io::{Foreign, Io, Outbox, Relay, Relayed};
use hemi_core::quic::quinn::{
    Connection, ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError,
};
use tokio::io::{Join, join};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::Dialed;

/// Bytes that are passed on in one go, at most.
const PIECE: usize = 64 << 10;

/// How long what a connection has brought may take to be passed on once it has ended.
const FLUSH: Duration = Duration::from_secs(5);

/// How many bytes have passed so far.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// From the client.
    pub(super) there: AtomicU64,
    /// To the client.
    pub(super) back: AtomicU64,
}

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

impl Way {
    fn other(self) -> Self {
        match self {
            Self::There => Self::Back,
            Self::Back => Self::There,
        }
    }

    fn count(self, passed: &Passed, bytes: usize) {
        let counter = match self {
            Self::There => &passed.there,
            Self::Back => &passed.back,
        };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A connection that is closed with this code, if it still stands, when this is dropped.
struct Closing<'a>(&'a Connection, VarInt);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close(self.1, b"");
    }
}

/// Work that ends when nobody waits for it any more.
struct Task(JoinHandle<()>);

impl Task {
    fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Passes on what a client and a node say, until one of them has ended; tells why that was. What breaks ends with the
/// code `lost` on the other side.
pub(super) async fn relay(
    client: &Connection,
    node: &Connection,
    passed: &Arc<Passed>,
    lost: VarInt,
) -> &'static str {
    let closing = (Closing(client, lost), Closing(node, lost));
    let pass = |from: &Connection, to: &Connection, way| {
        let of = Pair { from: from.clone(), to: to.clone(), passed: passed.clone(), way, lost };
        Task::spawn(of.pass())
    };
    let (mut there, mut back) = (pass(client, node, Way::There), pass(node, client, Way::Back));
    let (error, other) = tokio::select! {
        error = client.closed() => (error, node),
        error = node.closed() => (error, client),
    };
    let _ = timeout(FLUSH, async { (&mut there.0).await.and((&mut back.0).await) }).await;
    if let ConnectionError::ApplicationClosed(close) = &error {
        other.close(close.error_code, &close.reason);
    }
    drop(closing);
    reason(&error)
}

/// Passes on each stream that a client opens to a connection of TCP that `dial` makes, until the client has ended; tells
/// why that was. Streams that can't be passed on, or break, end with the code `lost`.
pub(super) async fn relay_streams<F, Fut>(
    client: &Connection,
    dial: F,
    relay: Relay,
    passed: &Arc<Passed>,
    lost: VarInt,
) -> &'static str
where
    F: Fn() -> Fut,
    Fut: Future<Output = Option<Dialed>> + Send + 'static,
{
    let closing = Closing(client, lost);
    let mut streams = JoinSet::new();
    let accepting = async {
        while let Ok((send, recv)) = client.accept_bi().await {
            reap(&mut streams);
            let stream = Stream { io: Foreign(join(recv, send)), lost, whole: false };
            streams.spawn(pass_stream(stream, dial(), relay, passed.clone()));
        }
    };
    // TCP has nothing like the others.
    let refusing = async {
        while let Ok(mut recv) = client.accept_uni().await {
            let _ = recv.stop(lost);
        }
    };
    let dropping = async { while client.read_datagram().await.is_ok() {} };
    tokio::join!(accepting, refusing, dropping);
    let error = client.closed().await;
    let _ = timeout(FLUSH, all(&mut streams)).await;
    drop(closing);
    reason(&error)
}

/// Why a connection has ended, for the log.
fn reason(error: &ConnectionError) -> &'static str {
    match error {
        ConnectionError::ApplicationClosed(_) => "done",
        ConnectionError::TimedOut => "timeout",
        _ => "broken",
    }
}

/// Lets go of what is over.
fn reap(streams: &mut JoinSet<()>) {
    while streams.try_join_next().is_some() {}
}

/// Waits until all are over.
async fn all(streams: &mut JoinSet<()>) {
    while streams.join_next().await.is_some() {}
}

/// A connection whose streams and datagrams are passed on to another.
#[derive(Clone)]
struct Pair {
    from: Connection,
    to: Connection,
    passed: Arc<Passed>,
    way: Way,
    lost: VarInt,
}

impl Pair {
    /// Until one of the two has ended, and all that was brought is passed on.
    async fn pass(self) {
        tokio::join!(self.both_ways(), self.one_way(), self.datagrams());
    }

    async fn both_ways(&self) {
        let mut streams = JoinSet::new();
        // They are opened in the order in which they were on the other side, so that they have the same ids.
        while let Some((send, recv)) = self.opened(self.from.accept_bi(), self.to.open_bi()).await {
            reap(&mut streams);
            let ((send_back, recv), (send, recv_back)) = (send, recv);
            streams.spawn(self.pump(self.way, recv, send).run());
            streams.spawn(self.pump(self.way.other(), recv_back, send_back).run());
        }
        all(&mut streams).await;
    }

    async fn one_way(&self) {
        let mut streams = JoinSet::new();
        while let Some((recv, send)) = self.opened(self.from.accept_uni(), self.to.open_uni()).await
        {
            reap(&mut streams);
            streams.spawn(self.pump(self.way, recv, send).run());
        }
        all(&mut streams).await;
    }

    /// The next stream of one side, and what goes with it on the other, as soon as that lets it be opened.
    async fn opened<A, O>(
        &self,
        accept: impl Future<Output = Result<A, ConnectionError>>,
        open: impl Future<Output = Result<O, ConnectionError>>,
    ) -> Option<(A, O)> {
        let accepted = tokio::select! {
            biased;
            accepted = accept => accepted.ok()?,
            _ = self.to.closed() => return None,
        };
        Some((accepted, open.await.ok()?))
    }

    async fn datagrams(&self) {
        loop {
            let datagram = tokio::select! {
                biased;
                datagram = self.from.read_datagram() => datagram,
                _ = self.to.closed() => return,
            };
            let Ok(datagram) = datagram else { return };
            let len = datagram.len();
            // What is too long for the other side, or more than it takes, is lost, as datagrams may be.
            if self.to.send_datagram(datagram).is_ok() {
                self.way.count(&self.passed, len);
            }
        }
    }

    fn pump(&self, way: Way, recv: RecvStream, send: SendStream) -> Pump {
        Pump { recv, send, passed: self.passed.clone(), way, lost: self.lost, whole: false }
    }
}

/// One direction of a stream.
struct Pump {
    recv: RecvStream,
    send: SendStream,
    passed: Arc<Passed>,
    way: Way,
    lost: VarInt,
    /// Whether the other side was told how it ended.
    whole: bool,
}

impl Pump {
    /// Until it has ended, and the other side has acknowledged that.
    async fn run(mut self) {
        let mut stopped = pin!(self.send.stopped());
        loop {
            let read = tokio::select! {
                biased;
                stopped = &mut stopped => return self.stop(stopped.ok().flatten()),
                read = self.recv.read_chunk(PIECE, true) => read,
            };
            let bytes = match read {
                Ok(Some(chunk)) => chunk.bytes,
                Ok(None) => {
                    self.whole = self.send.finish().is_ok();
                    let _ = stopped.await;
                    return;
                }
                Err(ReadError::Reset(code)) => return self.reset(code),
                Err(_) => return,
            };
            let len = bytes.len();
            // Who does not take it must not keep a reset from being seen.
            let written = tokio::select! {
                biased;
                written = self.send.write_chunk(bytes) => written,
                Ok(Some(code)) = self.recv.received_reset() => return self.reset(code),
            };
            match written {
                Ok(()) => self.way.count(&self.passed, len),
                Err(WriteError::Stopped(code)) => return self.stop(Some(code)),
                Err(_) => return,
            }
        }
    }

    fn reset(&mut self, code: VarInt) {
        self.whole = true;
        let _ = self.send.reset(code);
    }

    /// The other side wants no more of it, if there is a code.
    fn stop(&mut self, code: Option<VarInt>) {
        if let Some(code) = code {
            self.whole = true;
            // It is to be reset by the same code (RFC 9000, 3.5).
            let _ = (self.recv.stop(code), self.send.reset(code));
        }
    }
}

impl Drop for Pump {
    /// A stream that is only let go of would look whole.
    fn drop(&mut self) {
        if !self.whole {
            let _ = (self.recv.stop(self.lost), self.send.reset(self.lost));
        }
    }
}

/// A stream that is relayed as connections of TCP are.
struct Stream {
    io: Foreign<Join<RecvStream, SendStream>>,
    lost: VarInt,
    /// Whether it has ended well.
    whole: bool,
}

async fn pass_stream(
    mut stream: Stream,
    dialing: impl Future<Output = Option<Dialed>>,
    relay: Relay,
    passed: Arc<Passed>,
) {
    // In a box: else streams would hold its room to their end.
    let Some(Dialed { mut link, pick: _pick, .. }) = Box::pin(dialing).await else { return };
    let mut of_stream = Relayed::default();
    let ended = relay.run(&mut stream, &mut link, bytes::Bytes::new(), &mut of_stream).await;
    Way::There.count(&passed, usize::try_from(of_stream.there).unwrap_or(usize::MAX));
    Way::Back.count(&passed, usize::try_from(of_stream.back).unwrap_or(usize::MAX));
    match ended {
        Ok(()) => stream.whole = true,
        // What is cut off must not look whole.
        Err(_) => link.reset(),
    }
}

impl Io for Stream {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.io.poll_recv(cx, buf)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<io::Result<()>> {
        self.io.poll_send(cx, out)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown()
    }

    fn reset(&mut self) {
        let _ = (self.io.0.reader_mut().stop(self.lost), self.io.0.writer_mut().reset(self.lost));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.whole {
            self.reset();
        }
    }
}
