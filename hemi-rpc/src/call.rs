//! What a method may know of the call that it answers, and what it can say to its caller besides.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::clock::{self, Moment};
use hemi_core::listen::Peer;
use hemi_proto::hrpc::{self, Asked, CHUNK, Flags};
use hemi_proto::rpcx::{CodecId, Compression, Head, Metadata, Mode, Open, Pairs};

use crate::exchange::Wire;
use crate::{CodecError, Payload};

/// Bytes of pushes that wait for a client to take them, at most.
const PUSHES: usize = 256 << 10;

/// A call, for methods that want to know more than its argument.
#[derive(Debug)]
pub struct Call {
    pub(crate) peer: Peer,
    pub(crate) metadata: Metadata,
    pub(crate) deadline: Moment,
    pub(crate) reply: Metadata,
    pub(crate) pusher: Pusher,
}

impl Call {
    /// Who calls.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What the caller has said besides.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// What is said besides the reply. Keys that begin with `__` are the protocol's.
    pub fn reply_metadata(&mut self) -> &mut Metadata {
        &mut self.reply
    }

    /// How long the caller will wait, or the server has the method wait; none if there is no end.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        (self.deadline != Moment::NEVER).then(|| self.deadline.since(clock::now()))
    }

    /// Sends messages to the caller later on, for as long as the connection is there.
    #[must_use]
    pub fn pusher(&self) -> &Pusher {
        &self.pusher
    }
}

/// Sends messages to one client that it has not asked for. It may be kept.
#[derive(Clone, Debug)]
pub struct Pusher(Arc<Mutex<Pushes>>);

/// Why a message is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The connection has ended.
    #[error("the client is gone")]
    Gone,
    /// The client does not take what was sent before.
    #[error("the client does not take what was pushed before")]
    Full,
    /// The message has more than the 16 KiB that may be pushed by HRPC.
    #[error("the message is too long to be pushed")]
    TooLong,
    /// The message can't be written.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// What is to be pushed on one connection.
#[derive(Debug)]
pub(crate) struct Pushes {
    wire: Wire,
    pub(crate) frames: BytesMut,
    pub(crate) waker: Option<Waker>,
    pub(crate) gone: bool,
    seq: u64,
}

impl Pusher {
    pub(crate) fn new(wire: Wire) -> Self {
        let frames = BytesMut::new();
        Self(Arc::new(Mutex::new(Pushes { wire, frames, waker: None, gone: false, seq: 0 })))
    }

    /// What is to be pushed.
    pub(crate) fn take(&self) -> Option<BytesMut> {
        let frames = &mut self.lock().frames;
        (!frames.is_empty()).then(|| frames.split())
    }

    /// Has the connection's task woken when something is to be pushed that there is room for.
    pub(crate) fn wakes(&self, cx: &Context<'_>, has_room: bool) {
        let mut pushes = self.lock();
        if has_room && !pushes.frames.is_empty() {
            cx.waker().wake_by_ref();
        }
        if !pushes.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            pushes.waker = Some(cx.waker().clone());
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Pushes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.lock().gone
    }

    /// Sends a message. Clients in Go look at it as bytes, whatever it was written in.
    ///
    /// # Errors
    /// When the client is gone or too slow, or the message can't be written.
    pub fn push<T: Payload>(
        &self,
        service: &str,
        method: &str,
        codec: CodecId,
        message: &T,
    ) -> Result<(), PushError> {
        let mut guard = self.lock();
        let pushes = &mut *guard;
        if pushes.gone {
            return Err(PushError::Gone);
        }
        if pushes.frames.len() >= PUSHES {
            return Err(PushError::Full);
        }
        pushes.seq += 1;
        let (seq, compression, metadata) = (pushes.seq, Compression::NONE, Pairs::NONE);
        let (service, method, out) = (service.as_bytes(), method.as_bytes(), &mut pushes.frames);
        let start = out.len();
        let done = match pushes.wire {
            Wire::Rpcx => {
                let head = Head { version: 0, mode: Mode::OneWay, compression, codec, seq };
                let open = Open::begin(out, &head, service, method, metadata);
                let written = message.encode(codec, out);
                open.end(out, compression);
                written.map_err(PushError::from)
            }
            Wire::Hrpc => {
                let asked = Asked { codec, timeout: 0, service, method, metadata };
                let open = hrpc::Open::push(out, &asked);
                let written = message.encode(codec, out);
                let fits = open.written(out) <= CHUNK;
                open.end(out, Flags::MESSAGE, compression);
                written.map_err(PushError::from).and(fits.then_some(()).ok_or(PushError::TooLong))
            }
        };
        if let Err(e) = done {
            out.truncate(start);
            return Err(e);
        }
        if let Some(waker) = pushes.waker.take() {
            waker.wake();
        }
        Ok(())
    }
}
