//! Datagrams of QUIC that belong to one request (RFC 9297 section 2.1).

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use hemi_core::quic::quinn::SendDatagramError;
use hemi_proto::http3::datagram;

use super::link::Link;

/// Datagrams that wait to be read, at most; what comes beyond is lost.
const WAITING: usize = 128;

/// The datagrams of one request.
pub(crate) struct Flow {
    link: Arc<Link>,
    id: u64,
}

/// What has come of them.
#[derive(Default)]
pub(super) struct Inbound {
    waiting: VecDeque<Bytes>,
    reader: Option<Waker>,
}

impl Inbound {
    /// Notes one that has come.
    pub(super) fn put(&mut self, datagram: Bytes) {
        if self.waiting.len() < WAITING {
            self.waiting.push_back(datagram);
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(super) fn poll_take(&mut self, cx: &Context<'_>) -> Poll<Bytes> {
        if let Some(datagram) = self.waiting.pop_front() {
            return Poll::Ready(datagram);
        }
        self.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Flow {
    /// That of the request on this stream, from now on.
    pub(super) fn open(link: Arc<Link>, id: u64) -> Self {
        link.open_flow(id);
        Self { link, id }
    }

    pub(crate) fn poll_recv(&self, cx: &Context<'_>) -> Poll<Bytes> {
        self.link.poll_datagram(self.id, cx)
    }

    /// Whether the client takes datagrams, too.
    pub(crate) fn goes_both_ways(&self) -> bool {
        self.link.may_send_datagrams()
    }

    /// Sends one, or loses it.
    pub(crate) fn send(&self, payload: &[u8]) -> io::Result<()> {
        let mut bytes = BytesMut::with_capacity(8 + payload.len());
        datagram::put_head(self.id, &mut bytes);
        bytes.extend_from_slice(payload);
        match self.link.quic.send_datagram(bytes.freeze()) {
            Err(SendDatagramError::ConnectionLost(e)) => Err(e.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.link.end_flow(self.id);
    }
}
