//! A node that was chosen for a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::balancer::By;
use super::endpoint::Endpoint;
use super::seat::Seat;
use crate::clock::{self, Moment};

/// A node that was chosen for a request, which counts as under way until this is dropped.
#[derive(Debug)]
pub struct Pick {
    seat: Arc<Seat>,
    peer: Option<SocketAddr>,
    since: Moment,
    /// Whether its answer is still waited for.
    waits: AtomicBool,
}

impl Pick {
    pub(super) fn of(seat: Arc<Seat>, by: &By<'_>, now: Moment) -> Self {
        seat.begin();
        Self { seat, peer: by.peer, since: now, waits: AtomicBool::new(true) }
    }

    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }

    pub(super) fn is_of(&self, seat: &Seat) -> bool {
        std::ptr::eq(&raw const *self.seat, seat)
    }

    /// Another hold of the same node, which counts as under way too.
    #[must_use]
    pub fn twin(&self) -> Self {
        self.seat.hold();
        Self { seat: self.seat.clone(), waits: AtomicBool::new(false), ..*self }
    }

    /// The node.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.seat.endpoint
    }

    /// Where the client is, for whom it was chosen.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Tells that the node has begun to say that it can't answer (5xx): however soon that was, it is no reason to
    /// send it more.
    pub fn answered_badly(&self) {
        self.seat.answered_badly();
        self.stop_waiting();
    }

    /// Tells that the node has begun to answer, after this time.
    pub fn answered(&self, after: Duration) {
        self.seat.failures.none();
        self.seat.answered(after);
        self.stop_waiting();
    }

    fn stop_waiting(&self) {
        if self.waits.swap(false, Ordering::Relaxed) {
            self.seat.stop_waiting();
        }
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        if *self.waits.get_mut() {
            self.seat.given_up(clock::now().since(self.since));
            self.stop_waiting();
        }
        self.seat.end();
    }
}
