//! The task of a connection: moves its bytes, keeps its time, and runs the handle.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hemi_core::clock::{self, Moment};
use hemi_core::deadline::Deadline;
use hemi_core::gate::Phase;
use hemi_core::io::{Io, pool};
use hemi_proto::websocket::{Close, CloseCode};

use super::state::{Shared, State};
use super::times::{Late, Times};
use super::{Outcome, SocketError, WebSocketConfig};
use crate::Upgraded;

/// Times that a connection is looked after in a row, before others of the core get their turn.
const TURNS: usize = 16;

/// Bytes that there is room for when something is received: small ones, and while a long frame comes.
const SMALL: usize = 4 << 10;
const LARGE: usize = 64 << 10;

pub(super) struct Driver {
    shared: Arc<Shared>,
    line: Line,
    /// What to close with, once the handle has ended.
    outcome: Option<Close>,
}

/// The connection.
struct Line {
    /// None once it has ended.
    conn: Option<Upgraded>,
    times: Times,
    deadline: Option<Deadline>,
    /// The connection was given bytes that it may still hold.
    sending: bool,
    /// The client was told that nothing more comes, by the end of the stream.
    shut: bool,
}

/// What there was to do.
#[derive(PartialEq, Eq)]
enum Done {
    /// Something that the handle may wait for.
    Woken,
    /// Something else: there may be more.
    Moved,
    Nothing,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, conn: Upgraded, config: &WebSocketConfig) -> Self {
        let line = Line {
            conn: Some(conn),
            times: Times::new(config),
            deadline: None,
            sending: false,
            shut: false,
        };
        Self { shared, line, outcome: None }
    }

    /// Runs the handle, and the connection to its end.
    pub(super) fn run<W>(mut self, work: W) -> impl Future<Output = ()> + Send
    where
        W: Future<Output: Outcome> + Send,
    {
        // In a box: else there would be room for it twice, before the first poll and after it.
        let mut work = Box::pin(work);
        poll_fn(move |cx| self.poll(cx, work.as_mut()))
    }

    fn poll<W>(&mut self, cx: &mut Context<'_>, mut work: Pin<&mut W>) -> Poll<()>
    where
        W: Future<Output: Outcome>,
    {
        for turn in 0..TURNS {
            let done = self.look_after(cx);
            if self.outcome.is_none() && (turn == 0 || done == Done::Woken) {
                if let Poll::Ready(outcome) = work.as_mut().poll(cx) {
                    self.outcome = Some(outcome.close());
                }
            } else if self.outcome.is_some() && self.line.conn.is_none() {
                return Poll::Ready(());
            } else if done == Done::Nothing && !self.line.wait(cx, &mut self.shared.lock()) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends, receives, and tells those who wait for either.
    fn look_after(&mut self, cx: &mut Context<'_>) -> Done {
        let mut state = self.shared.lock();
        state.begin(cx);
        if self.line.is_draining() {
            state.close(Some(&Close::new(CloseCode::GOING_AWAY, "the server goes down")));
        }
        if state.handles == 0 {
            let close = self.outcome.clone().unwrap_or_else(|| CloseCode::NORMAL.into());
            state.close(Some(&close));
        }
        let moved = self.line.transfer(cx, &mut state).unwrap_or_else(|e| {
            state.lose(e);
            self.line.conn = None;
            false
        });
        if state.wake() {
            Done::Woken
        } else if moved {
            Done::Moved
        } else {
            Done::Nothing
        }
    }
}

impl Line {
    fn is_draining(&self) -> bool {
        self.conn.as_ref().is_some_and(|conn| conn.outlook().phase() != Phase::Serving)
    }

    /// Sends what can be sent, and receives once; true if something came.
    fn transfer(&mut self, cx: &mut Context<'_>, state: &mut State) -> Result<bool, SocketError> {
        self.send(cx, state)?;
        state.decode();
        let received = state.wants_more() && self.receive(cx, state)?;
        if received {
            state.decode();
            self.send(cx, state)?;
        }
        if state.has_sent_close() && state.out.is_empty() && !self.sending {
            if state.has_client_closed() {
                // The server ends the connection first (RFC 6455, 7.1.1).
                self.shut();
                self.conn = None;
            } else if state.has_failed() {
                self.shut();
            }
        }
        Ok(received)
    }

    fn send(&mut self, cx: &mut Context<'_>, state: &mut State) -> Result<(), SocketError> {
        let Some(conn) = &mut self.conn else { return Ok(()) };
        if state.out.is_empty() && !self.sending {
            return Ok(());
        }
        let before = state.out.len();
        match conn.poll_send(cx, &mut state.out) {
            Poll::Ready(sent) => {
                sent?;
                self.sending = false;
                self.times.sent();
            }
            Poll::Pending => {
                self.sending = true;
                if state.out.len() < before {
                    self.times.sent();
                }
                self.times.stalled();
            }
        }
        Ok(())
    }

    fn receive(&mut self, cx: &mut Context<'_>, state: &mut State) -> Result<bool, SocketError> {
        let Some(conn) = &mut self.conn else { return Ok(false) };
        let room = if state.awaits() > pool::BUFFER as u64 { LARGE } else { SMALL };
        let buf = &mut state.received;
        if buf.capacity() == 0 {
            *buf = pool::take();
        }
        buf.reserve(room);
        match conn.poll_recv(cx, buf) {
            Poll::Ready(Ok(0)) => Err(SocketError::Lost(io::ErrorKind::UnexpectedEof)),
            Poll::Ready(Ok(_)) => {
                self.times.heard();
                Ok(true)
            }
            Poll::Ready(Err(e)) => Err(e.into()),
            Poll::Pending => Ok(false),
        }
    }

    /// Sees to being woken in time; true if it is late already, and something was done about it.
    fn wait(&mut self, cx: &Context<'_>, state: &mut State) -> bool {
        let Some(conn) = &mut self.conn else {
            state.wait();
            return false;
        };
        if state.has_sent_close() {
            self.times.closing();
        }
        let now = clock::now();
        let due = match self.times.late(now) {
            Ok(due) => due,
            Err(Late::Ping) => {
                // Behind a message that nobody takes no pong is seen.
                if state.is_behind() {
                    self.times.excuse();
                } else {
                    state.ping();
                }
                return true;
            }
            Err(Late::Ended(e)) => {
                if e == SocketError::Stalled {
                    // Else the kernel would keep what the client does not take.
                    conn.reset();
                }
                state.lose(e);
                self.conn = None;
                return true;
            }
        };
        state.wait();
        let group = conn.outlook().group();
        if self.deadline.is_some() || due != Moment::NEVER {
            self.deadline.get_or_insert_with(|| Deadline::new(group, cx.waker())).set(due);
        }
        false
    }

    fn shut(&mut self) {
        if let Some(conn) = &mut self.conn
            && !std::mem::replace(&mut self.shut, true)
        {
            // Who is gone already need not be told.
            let _ = conn.shutdown();
        }
    }
}

impl Drop for Driver {
    /// Those who still have halves of the socket hear of it.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.lose(SocketError::Closed);
        state.wait();
        state.wake();
    }
}
