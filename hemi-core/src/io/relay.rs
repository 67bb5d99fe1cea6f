//! Passes the bytes of two connections on to each other.

use std::future::poll_fn;
use std::io;
use std::num::NonZeroU64;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::pipe::Pipe;
use super::{Io, Outbox, pool};
use crate::clock::{self, Moment};
use crate::deadline::{Deadline, Group, Patience};

/// Who sends so much without a pause, is read in large pieces.
const SMALL: usize = 4 << 10;

/// Room for what is read at once from one that sends much.
const PIECE: usize = 64 << 10;

/// Bytes without an answer after which the rest is passed on inside of the kernel.
const LONG: u64 = 512 << 10;

/// Pieces passed on in a row, before others of the core get their turn.
const TURN: usize = 16;

/// How many bytes have passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// From the first to the second.
    pub there: u64,
    /// From the second to the first.
    pub back: u64,
}

/// How two connections are relayed.
#[derive(Clone, Copy, Debug)]
pub struct Relay {
    /// How long nothing may pass.
    pub idle: Duration,
    /// When it ends at the latest.
    pub until: Moment,
    /// Bytes a second, each way, at most.
    pub rate: Option<NonZeroU64>,
    /// Whose end is that of the relay.
    pub ends: Ends,
}

/// Whose end is that of a relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ends {
    /// That of both.
    #[default]
    Both,
    /// That of the second, whose last bytes still go to the first.
    Second,
}

/// Passes on what each of two connections sends, and its end, until both have ended; `early` is what the
/// first has sent already, and `idle` how long nothing may pass.
///
/// # Errors
/// When one of them breaks, with `TimedOut` if nothing passed for too long. Both are as they were left.
pub async fn relay(
    one: &mut impl Io,
    other: &mut impl Io,
    early: Bytes,
    idle: Duration,
) -> io::Result<Relayed> {
    let mut passed = Relayed::default();
    Relay::new(idle).run(one, other, early, &mut passed).await?;
    Ok(passed)
}

impl Relay {
    /// One that lasts as long as something passes.
    #[must_use]
    pub fn new(idle: Duration) -> Self {
        Self { idle, until: Moment::NEVER, rate: None, ends: Ends::Both }
    }

    /// Passes on what each of two connections sends, and its end, until both have ended; `early` is what
    /// the first has sent already. How much has passed is told in `passed` all the time.
    ///
    /// # Errors
    /// When one of them breaks; with `TimedOut` if nothing passed for too long, or the time is over. Both
    /// are as they were left.
    pub async fn run(
        self,
        one: &mut impl Io,
        other: &mut impl Io,
        early: Bytes,
        passed: &mut Relayed,
    ) -> io::Result<()> {
        let (mut there, mut back) = (Way::new(self.rate), Way::new(self.rate));
        let mut patience = Patience::default();
        there.passed = early.len() as u64;
        there.out.push(early);
        poll_fn(|cx| {
            let before = (there.passed, back.passed);
            let there_polled = there.poll(cx, one, other, back.ended);
            back.cut |= there_polled.is_err();
            let ways = (there_polled, back.poll(cx, other, one, there.ended));
            *passed = Relayed { there: there.passed, back: back.passed };
            let ways = (ways.0?, ways.1?);
            if before.0 != there.passed {
                back.pause();
                patience.renew();
            }
            if before.1 != back.passed {
                there.pause();
                patience.renew();
            }
            let there_too = ways.0.is_ready() || self.ends == Ends::Second;
            if ways.1.is_ready() && there_too {
                return Poll::Ready(Ok(()));
            }
            let left = self.until.since(clock::now());
            if left.is_zero() || patience.is_over(cx, self.idle.min(left)) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            Poll::Pending
        })
        .await
    }
}

/// One way.
#[derive(Default)]
struct Way {
    buf: BytesMut,
    out: Outbox,
    /// Who sends much in a row is read in large pieces.
    large: bool,
    /// Bytes since the other way had something last.
    streak: u64,
    /// There if bytes go through it.
    pipe: Option<Pipe>,
    /// Waits for the next bytes.
    dry: bool,
    ended: bool,
    /// The connection has broken in the other way: an end that follows here is none to be passed on.
    cut: bool,
    shut: bool,
    passed: u64,
    allowance: Option<Box<Allowance>>,
}

impl Way {
    fn new(rate: Option<NonZeroU64>) -> Self {
        let allowance = rate.map(|rate| Box::new(Allowance::new(rate)));
        let mut way = Self::default();
        way.allowance = allowance;
        way
    }

    /// The other way has passed something on: what comes next here is likely an answer to that.
    fn pause(&mut self) {
        if self.dry {
            self.streak = 0;
            if let Some(pipe) = self.pipe.take_if(|pipe| pipe.is_empty()) {
                pipe.give_back();
            }
        }
    }

    /// Passes on what there is; ready when the end was passed on.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Io,
        to: &mut impl Io,
        other_ended: bool,
    ) -> io::Result<Poll<()>> {
        for _ in 0..TURN {
            let polled = match &self.pipe {
                Some(pipe) if !pipe.is_empty() => self.poll_empty(cx, to)?,
                _ => to.poll_send(cx, &mut self.out)?,
            };
            if polled.is_pending() {
                return Ok(Poll::Pending);
            }
            if self.ended {
                // If both have ended, the close that follows says so.
                let closes = other_ended && to.socket().is_some();
                if !std::mem::replace(&mut self.shut, true) && !closes && !self.cut {
                    to.shutdown()?;
                }
                return Ok(Poll::Ready(()));
            }
            if self.allowance.as_mut().is_some_and(|allowance| allowance.is_used_up(cx)) {
                return Ok(Poll::Pending);
            }
            let received = match self.poll_fill(cx, from, to) {
                Some(received) => received?,
                None => self.poll_recv(cx, from)?,
            };
            match received {
                Poll::Ready(0) => self.ended = true,
                Poll::Ready(got) => {
                    self.dry = false;
                    self.passed += got as u64;
                    self.streak += got as u64;
                    if let Some(allowance) = &mut self.allowance {
                        allowance.take(got);
                    }
                    // Whose end is known already, sends it with his last bytes.
                    if from.socket().is_some_and(|from| from.has_ended()) {
                        to.last();
                    }
                }
                Poll::Pending => {
                    // Who is idle holds no buffer.
                    self.dry = true;
                    pool::give(std::mem::take(&mut self.buf));
                    self.out.release();
                    return Ok(Poll::Pending);
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(Poll::Pending)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, from: &mut impl Io) -> io::Result<Poll<usize>> {
        if self.buf.capacity() == 0 {
            self.buf = if self.large { pool::take_large() } else { pool::take() };
        }
        // What was read before is sent: its memory is used again.
        self.buf.reserve(if self.large { PIECE } else { SMALL });
        let Poll::Ready(got) = from.poll_recv(cx, &mut self.buf)? else { return Ok(Poll::Pending) };
        self.large = got >= SMALL;
        if got < SMALL {
            self.out.small().extend_from_slice(&self.buf);
            self.buf.clear();
        } else {
            self.out.push(self.buf.split().freeze());
        }
        Ok(Poll::Ready(got))
    }

    /// Receives into the pipe, if it is time for that, and there is one.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Io,
        to: &mut impl Io,
    ) -> Option<io::Result<Poll<usize>>> {
        if self.streak < PIECE as u64 {
            return None;
        }
        let from = from.socket()?;
        if self.streak < LONG {
            // A ring receives in small pieces.
            return match from.poll_spliceable(cx) {
                Poll::Ready(Ok(_)) => None,
                Poll::Ready(Err(e)) => Some(Err(e)),
                Poll::Pending => Some(Ok(Poll::Pending)),
            };
        }
        to.socket()?;
        if self.pipe.is_none() {
            self.pipe = Pipe::take();
            if self.pipe.is_none() {
                // There are no more descriptors: this is asked again after as much.
                self.streak = 0;
                return None;
            }
        }
        match from.poll_spliceable(cx) {
            Poll::Ready(Ok(true)) => {}
            // It has bytes of its own, which come first.
            Poll::Ready(Ok(false)) => return None,
            Poll::Ready(Err(e)) => return Some(Err(e)),
            Poll::Pending => return Some(Ok(Poll::Pending)),
        }
        let pipe = self.pipe.as_mut()?;
        Some(match from.poll_splice_into(cx, pipe, usize::MAX) {
            Poll::Ready(received) => received.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        })
    }

    /// Sends all that is in the pipe.
    fn poll_empty(&mut self, cx: &mut Context<'_>, to: &mut impl Io) -> io::Result<Poll<()>> {
        let (Some(pipe), Some(to)) = (&mut self.pipe, to.socket()) else {
            return Ok(Poll::Ready(()));
        };
        match to.poll_spliceable(cx) {
            Poll::Ready(spliceable) => drop(spliceable?),
            Poll::Pending => return Ok(Poll::Pending),
        }
        while !pipe.is_empty() {
            match to.poll_splice_from(cx, pipe) {
                Poll::Ready(sent) => drop(sent?),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        Ok(Poll::Ready(()))
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        pool::give(std::mem::take(&mut self.buf));
        if let Some(pipe) = self.pipe.take_if(|pipe| pipe.is_empty()) {
            pipe.give_back();
        }
    }
}

/// The bytes that may still pass now, of so many a second.
#[derive(Debug)]
struct Allowance {
    rate: f64,
    left: f64,
    at: Moment,
    /// Wakes the task when there is more.
    deadline: Option<Deadline>,
}

impl Allowance {
    /// How much of a second's bytes may pass at once.
    const BURST: f64 = 0.25;

    fn new(rate: NonZeroU64) -> Self {
        let rate = rate.get() as f64;
        Self { rate, left: rate * Self::BURST, at: clock::now(), deadline: None }
    }

    fn take(&mut self, bytes: usize) {
        self.left -= bytes as f64;
    }

    /// Whether nothing may pass; then the task is polled again when something may.
    fn is_used_up(&mut self, cx: &Context<'_>) -> bool {
        let now = clock::now();
        let more = self.rate * now.since(self.at).as_secs_f64();
        (self.left, self.at) = ((self.left + more).min(self.rate * Self::BURST), now);
        if self.left > 0.0 {
            return false;
        }
        let wait = Duration::from_secs_f64((1.0 - self.left) / self.rate);
        // Another task may poll by now.
        let deadline = self.deadline.insert(Deadline::new(Group::NONE, cx.waker()));
        deadline.set(now.after(wait));
        true
    }
}
