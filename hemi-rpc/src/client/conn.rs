//! What callers and the task of a connection share: calls that wait to be sent, and calls that wait for an answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use hemi_core::clock::Moment;
use hemi_proto::hrpc::Code;
use hemi_proto::rpcx::{CodecId, Metadata};
use slab::Slab;

use crate::{CodecError, RpcError};

pub(super) struct Conn {
    state: Mutex<State>,
    max_unsent: usize,
}

pub(super) struct State {
    /// What is to be sent.
    pub(super) out: BytesMut,
    calls: Slab<Waiting>,
    /// Tells the calls that have had the same place from each other.
    generation: u32,
    /// The connection's task, while it waits.
    pub(super) driver: Option<Waker>,
    /// Callers who wait for room.
    pub(super) blocked: Vec<Waker>,
    /// No call's time is over before.
    pub(super) earliest: Moment,
    ended: Option<RpcError>,
    /// Nobody will call any more.
    pub(super) closing: bool,
}

/// A call that waits for its answer.
struct Waiting {
    generation: u32,
    until: Moment,
    waker: Option<Waker>,
    answer: Option<Result<Answer, RpcError>>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) failed: bool,
    /// Of a failure, where that is told.
    pub(super) code: Code,
    pub(super) codec: CodecId,
    pub(super) metadata: Metadata,
    pub(super) payload: Bytes,
}

/// Which call it is, as the server sends it back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Seq(pub(super) u64);

impl Seq {
    /// Of calls and signs of life that are not waited for.
    pub(super) const NONE: Self = Self(u32::MAX as u64);

    fn new(index: usize, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | index as u64)
    }

    fn index(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What is done with a call that is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Its answer is waited for, until then.
    Wait(Moment),
    Forget,
}

impl Conn {
    pub(super) fn new(max_unsent: usize) -> Self {
        let state = State {
            out: BytesMut::new(),
            calls: Slab::new(),
            generation: 0,
            driver: None,
            blocked: Vec::new(),
            earliest: Moment::NEVER,
            ended: None,
            closing: false,
        };
        Self { state: Mutex::new(state), max_unsent }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        wake(state.driver.take());
    }

    /// Writes a call, as soon as there is room.
    pub(super) fn poll_begin(
        &self,
        cx: &Context<'_>,
        then: Then,
        write: &mut dyn FnMut(Seq, &mut BytesMut) -> Result<(), CodecError>,
    ) -> Poll<Result<Seq, RpcError>> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(e) = &state.ended {
            return Poll::Ready(Err(e.clone()));
        }
        if state.out.len() >= self.max_unsent {
            state.blocked.push(cx.waker().clone());
            return Poll::Pending;
        }
        let seq = match then {
            Then::Wait(_) => {
                state.generation = state.generation.wrapping_add(1);
                Seq::new(state.calls.vacant_key(), state.generation)
            }
            Then::Forget => Seq::NONE,
        };
        if let Err(e) = write(seq, &mut state.out) {
            return Poll::Ready(Err(RpcError::Unwritable(e)));
        }
        let mut driver = state.driver.take();
        if let Then::Wait(until) = then {
            let (generation, waker, answer) = (state.generation, None, None);
            state.calls.insert(Waiting { generation, until, waker, answer });
            state.earliest = state.earliest.min(until);
        }
        drop(guard);
        wake(driver.take());
        Poll::Ready(Ok(seq))
    }

    /// Takes the answer, if it is there.
    pub(super) fn poll_answer(&self, cx: &Context<'_>, seq: Seq) -> Poll<Result<Answer, RpcError>> {
        let mut state = self.lock();
        let Some(waiting) = state.find(seq) else {
            return Poll::Ready(Err(RpcError::lost("the call was forgotten")));
        };
        let Some(answer) = waiting.answer.take() else {
            match &mut waiting.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => waiting.waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        state.calls.remove(seq.index());
        Poll::Ready(answer)
    }

    /// Nobody waits for the answer any more.
    pub(super) fn forget(&self, seq: Seq) {
        let mut state = self.lock();
        if state.find(seq).is_some() {
            state.calls.remove(seq.index());
        }
    }
}

impl State {
    fn find(&mut self, seq: Seq) -> Option<&mut Waiting> {
        let waiting = self.calls.get_mut(seq.index())?;
        (waiting.generation == seq.generation()).then_some(waiting)
    }

    pub(super) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Gives an answer to who waits for it; he is to be woken.
    pub(super) fn answer(&mut self, seq: Seq, answer: Result<Answer, RpcError>) -> Option<Waker> {
        let waiting = self.find(seq).filter(|waiting| waiting.answer.is_none())?;
        waiting.answer = Some(answer);
        waiting.waker.take()
    }

    /// Tells those whose time is over; they are to be woken.
    pub(super) fn expire(&mut self, now: Moment) -> Vec<Waker> {
        let (mut wakers, mut earliest) = (Vec::new(), Moment::NEVER);
        for (_, waiting) in &mut self.calls {
            if waiting.answer.is_some() {
                continue;
            }
            if waiting.until <= now {
                waiting.answer = Some(Err(RpcError::TimedOut));
                wakers.extend(waiting.waker.take());
            } else {
                earliest = earliest.min(waiting.until);
            }
        }
        self.earliest = earliest;
        wakers
    }

    /// Tells all that the connection has ended; they are to be woken.
    pub(super) fn end(&mut self, e: &RpcError) -> Vec<Waker> {
        self.ended.get_or_insert_with(|| e.clone());
        let mut wakers = std::mem::take(&mut self.blocked);
        for (_, waiting) in &mut self.calls {
            waiting.answer.get_or_insert_with(|| Err(e.clone()));
            wakers.extend(waiting.waker.take());
        }
        self.out = BytesMut::new();
        wakers
    }
}

pub(super) fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}
