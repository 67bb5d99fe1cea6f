//! What the connection of a stream shares with those who read and write its messages.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hemi_proto::hrpc::{Code, Message};
use hemi_proto::rpcx::{ERROR_KEY, Metadata};

use crate::{Compressions, Fault};

/// Bytes of messages that wait to be sent on a stream, about: who writes waits for room.
const ROOM: usize = 64 << 10;

/// One end of a stream: clones are of the same.
#[derive(Clone, Debug)]
pub(crate) struct Pipe(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: u32,
    bell: Bell,
    compressions: Compressions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the answer says at its start, once it has begun.
    head: Option<Metadata>,
    came: VecDeque<(u8, Bytes, usize)>,
    ended: Option<Ended>,
    /// What is written is nobody's any more.
    deaf: bool,
    reader: Option<Waker>,
    sends: Sends,
    /// Bytes that were not sent yet.
    unsent: usize,
    writer: Option<Waker>,
}

/// How a stream has ended, for who reads it.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) code: Code,
    pub(crate) metadata: Metadata,
    /// Whether it has ended before its time: with its connection, or by a reset.
    pub(crate) broken: bool,
}

/// What a connection is to do for a stream.
#[derive(Debug, Default)]
pub(crate) struct Sends {
    /// The weight of what was read.
    pub(crate) consumed: usize,
    /// What the answer begins with.
    pub(crate) head: Option<Metadata>,
    /// Messages, and the numbers of their compressions.
    pub(crate) messages: VecDeque<(u8, Bytes)>,
    /// The end.
    pub(crate) end: Option<(Code, Metadata)>,
    /// Nobody wants the stream any more.
    pub(crate) dropped: bool,
}

/// Tells a connection on which of its streams something is to be done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bell(Arc<Mutex<Rung>>);

#[derive(Debug, Default)]
struct Rung {
    streams: Vec<u32>,
    waker: Option<Waker>,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Rung> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, stream: u32) {
        let mut rung = self.lock();
        if !rung.streams.contains(&stream) {
            rung.streams.push(stream);
        }
        let waker = rung.waker.take();
        drop(rung);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The streams for which it was rung.
    pub(crate) fn take(&self) -> Vec<u32> {
        std::mem::take(&mut self.lock().streams)
    }

    /// Has the connection's task woken when it is rung, or now if it was.
    pub(crate) fn wakes(&self, cx: &Context<'_>) {
        let mut rung = self.lock();
        if !rung.streams.is_empty() {
            cx.waker().wake_by_ref();
        }
        rung.waker = Some(cx.waker().clone());
    }
}

impl Pipe {
    pub(crate) fn new(stream: u32, bell: Bell, compressions: Compressions) -> Self {
        Self(Arc::new(Shared { stream, bell, compressions, state: Mutex::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        self.0.bell.ring(self.0.stream);
    }

    // For those who read and write.

    /// Waits for the start of the answer, or its end, if that comes first.
    pub(crate) fn poll_head(&self, cx: &Context<'_>) -> Poll<Result<Metadata, Ended>> {
        let mut state = self.lock();
        if let Some(head) = state.head.take() {
            return Poll::Ready(Ok(head));
        }
        if let Some(ended) = &state.ended {
            return Poll::Ready(Err(ended.clone()));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes the next message as it was before it was compressed, to at most `most` bytes; or the end.
    pub(crate) fn poll_message(
        &self,
        cx: &Context<'_>,
        most: usize,
    ) -> Poll<Result<Result<Bytes, Fault>, Ended>> {
        let mut state = self.lock();
        let Some((compression, bytes, weight)) = state.came.pop_front() else {
            if let Some(ended) = &state.ended {
                return Poll::Ready(Err(ended.clone()));
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        state.sends.consumed += weight;
        drop(state);
        if weight > 0 {
            self.ring();
        }
        let compressions = &self.0.compressions;
        let unpacked = match compressions.unpack(compression, Cow::Borrowed(&bytes), most) {
            Ok(Cow::Borrowed(_)) => Ok(bytes),
            Ok(Cow::Owned(unpacked)) => Ok(unpacked.into()),
            Err(e) => Err(e.fault()),
        };
        Poll::Ready(Ok(unpacked))
    }

    /// Waits for room for a message; ready with `false` if nobody wants it any more.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<bool> {
        let mut state = self.lock();
        if state.deaf {
            return Poll::Ready(false);
        }
        if state.unsent < ROOM {
            return Poll::Ready(true);
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Begins the answer.
    pub(crate) fn say(&self, metadata: Metadata) {
        self.lock().sends.head = Some(metadata);
        self.ring();
    }

    /// Sends a message.
    pub(crate) fn send(&self, compression: u8, message: Bytes) {
        let mut state = self.lock();
        state.unsent += message.len();
        state.sends.messages.push_back((compression, message));
        drop(state);
        self.ring();
    }

    /// Sends the end.
    pub(crate) fn finish(&self, code: Code, metadata: Metadata) {
        self.lock().sends.end.get_or_insert((code, metadata));
        self.ring();
    }

    /// Nobody wants the stream any more.
    pub(crate) fn give_up(&self) {
        self.lock().sends.dropped = true;
        self.ring();
    }

    // For the connection.

    /// The answer begins.
    pub(crate) fn begun(&self, metadata: Metadata) {
        self.wake(|state| state.head = Some(metadata));
    }

    /// A message has come.
    pub(crate) fn came(&self, message: Message<'_>) {
        let Message { compression, bytes, weight } = message;
        let bytes = Bytes::from(bytes.into_owned());
        self.wake(|state| state.came.push_back((compression, bytes, weight)));
    }

    /// Nothing more comes.
    pub(crate) fn ended(&self) {
        let ended = Ended { code: Code::OK, metadata: Metadata::new(), broken: false };
        self.wake(|state| {
            state.ended.get_or_insert(ended);
        });
    }

    /// The answer is over, and the call with it.
    pub(crate) fn over(&self, code: Code, metadata: Metadata) {
        self.close(Ended { code, metadata, broken: false });
    }

    /// The stream is no more.
    pub(crate) fn broken(&self, code: Code, text: &str) {
        let mut metadata = Metadata::new();
        metadata.set(ERROR_KEY, text);
        self.close(Ended { code, metadata, broken: true });
    }

    fn close(&self, ended: Ended) {
        self.wake(|state| {
            state.deaf = true;
            state.ended.get_or_insert(ended);
        });
    }

    /// So many bytes were sent.
    pub(crate) fn sent(&self, bytes: usize) {
        let mut state = self.lock();
        state.unsent = state.unsent.saturating_sub(bytes);
        let waker = if state.unsent < ROOM { state.writer.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What is to be done.
    pub(crate) fn take(&self) -> Sends {
        std::mem::take(&mut self.lock().sends)
    }

    fn wake(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let reader = state.reader.take();
        let writer = if state.deaf { state.writer.take() } else { None };
        drop(state);
        for waker in [reader, writer].into_iter().flatten() {
            waker.wake();
        }
    }
}
