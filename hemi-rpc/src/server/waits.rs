//! What a connection waits for, whatever is spoken, and since when.

use std::task::{Context, Poll};

use bytes::BytesMut;
use hemi_core::clock::{self, Moment};
use hemi_core::io::{Io, pool};

use super::RpcxLimits;
use super::conn::End;

/// Bytes that room is made for when more of a long message is expected.
const ROOM: usize = 64 << 10;

/// Since when what is waited for.
pub(super) struct Waits {
    /// About now.
    pub(super) now: Moment,
    /// When something was last received, or a sign of life was asked for.
    pub(super) heard: Moment,
    /// A sign of life was asked for, and nothing has come since.
    asked: bool,
    /// Since when the rest of a message is waited for.
    pub(super) midway: Option<Moment>,
    /// Since when the caller takes nothing, and what waits for it.
    stalled: Option<(Moment, u64)>,
}

impl Waits {
    pub(super) fn new(now: Moment) -> Self {
        Self { now, heard: now, asked: false, midway: None, stalled: None }
    }

    /// The rest of a message is waited for.
    pub(super) fn is_midway(&mut self) {
        self.midway.get_or_insert(self.now);
    }

    /// All was taken by the caller.
    pub(super) fn is_sent(&mut self) {
        self.stalled = None;
    }

    /// So much waits for the caller to take it.
    pub(super) fn is_unsent(&mut self, waiting: u64) {
        if self.stalled.is_none_or(|(_, before)| waiting != before) {
            self.stalled = Some((self.now, waiting));
        }
    }

    /// Whether the caller does not take what there is for it.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// Receives, where more is wanted: how many bytes, or none at the end.
    pub(super) fn receive<I: Io>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut I,
        rbuf: &mut BytesMut,
    ) -> Result<Poll<usize>, End> {
        if rbuf.capacity() == 0 {
            *rbuf = pool::take();
        } else if rbuf.capacity() - rbuf.len() < pool::BUFFER / 4 {
            rbuf.reserve(if rbuf.len() < pool::BUFFER { pool::BUFFER } else { ROOM });
        }
        let received = io.poll_recv(cx, rbuf)?;
        if let Poll::Ready(1..) = received {
            self.now = clock::now();
            (self.heard, self.asked) = (self.now, false);
        }
        Ok(received)
    }

    /// When the connection is to be closed, and why; nothing is done for one that is idle.
    pub(super) fn due(&self, limits: &RpcxLimits, idle: bool) -> (Moment, &'static str) {
        match (self.stalled, self.midway) {
            (Some((since, _)), _) => (since.after(limits.send_timeout), "it takes no answers"),
            (None, Some(since)) => {
                (since.after(limits.message_timeout), "a message does not become whole")
            }
            (None, None) if idle => (self.heard.after(limits.idle_timeout), "it is idle"),
            (None, None) => (Moment::NEVER, ""),
        }
    }

    /// When one for which something is done is asked for a sign of life, or is closed as it has given none.
    pub(super) fn life_due(&self, limits: &RpcxLimits) -> Moment {
        if limits.ping_interval.is_zero() {
            return Moment::NEVER;
        }
        self.heard.after(limits.ping_interval)
    }

    /// Whether a sign of life is to be asked for now: then it has been.
    pub(super) fn wants_life(&mut self, limits: &RpcxLimits) -> bool {
        if self.asked || self.now < self.life_due(limits) {
            return false;
        }
        (self.heard, self.asked) = (self.now, true);
        true
    }
}
