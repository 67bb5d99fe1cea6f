//! What a method may know of the call that it answers, and what it can say to its caller besides.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::clock::{self, Moment};
use hemi_core::listen::Peer;
use hemi_proto::rpcx::{CodecId, Compression, Head, Metadata, Mode, Open};

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
    /// The message can't be written.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// What is to be pushed on one connection.
#[derive(Debug, Default)]
pub(crate) struct Pushes {
    pub(crate) frames: BytesMut,
    pub(crate) waker: Option<Waker>,
    pub(crate) gone: bool,
    seq: u64,
}

impl Pusher {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
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
        let mut pushes = self.lock();
        if pushes.gone {
            return Err(PushError::Gone);
        }
        if pushes.frames.len() >= PUSHES {
            return Err(PushError::Full);
        }
        pushes.seq += 1;
        let (mode, seq, compression) = (Mode::OneWay, pushes.seq, Compression::NONE);
        let head = Head { version: 0, mode, compression, codec, seq };
        let none = Metadata::new();
        let out = &mut pushes.frames;
        let open = Open::begin(out, &head, service.as_bytes(), method.as_bytes(), none.pairs());
        if let Err(e) = message.encode(codec, out) {
            open.cancel(out);
            return Err(e.into());
        }
        open.end(out, Compression::NONE);
        if let Some(waker) = pushes.waker.take() {
            waker.wake();
        }
        Ok(())
    }
}
