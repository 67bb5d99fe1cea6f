//! What the tasks of one connection share. They run on one core: its lock is never waited for.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use hemi_core::gate::{Outlook, Ticket};
use hemi_core::listen::Peer;
use hemi_core::quic::quinn::Connection;
use hemi_core::tls::TlsInfo;
use hemi_proto::http3::qpack::{Decoded, Decoder, Encoder};
use hemi_proto::http3::{Code, Incoming, Settings, UniKind, datagram};
use hemi_proto::message::FieldName;
use hemi_proto::priority::Priority;

use super::flow::Inbound;
use crate::http_config::Limit;
use crate::httpx::Shared;

/// Bytes of the table that a client may build here, and requests that may wait for it at once.
pub(super) const QPACK_CAPACITY: usize = 4 << 10;
pub(super) const QPACK_BLOCKED: usize = 16;

/// Priorities that came before their requests, at most.
const PRIORITIES: usize = 128;

/// A connection, as its tasks know it.
pub(super) struct Link {
    pub(super) quic: Connection,
    pub(super) server: Arc<Shared>,
    pub(super) outlook: Outlook,
    pub(super) tls: Arc<TlsInfo>,
    state: Mutex<State>,
}

struct State {
    encoder: Encoder,
    decoder: Decoder,
    /// Streams that the client has opened in its direction only.
    incoming: Incoming,
    /// Tasks of requests that wait for the decoder's table: as many as it lets wait.
    waiting: Vec<Waker>,
    /// Of requests that have not come yet.
    priorities: HashMap<u64, Priority>,
    /// Datagrams of requests that take some.
    flows: HashMap<u64, Inbound>,
    /// The client takes datagrams.
    takes_datagrams: bool,
    /// Requests that have a task.
    tasks: usize,
    /// The connection's own task.
    task: Option<Waker>,
    /// What the connection is to be closed with.
    fault: Option<Code>,
}

/// A request that has a task.
pub(super) struct UnderWay(Arc<Link>);

impl Link {
    pub(super) fn new(quic: Connection, ticket: &Ticket, server: Arc<Shared>) -> Self {
        let state = State {
            encoder: Encoder::default(),
            decoder: Decoder::new(QPACK_CAPACITY, QPACK_BLOCKED),
            incoming: Incoming::default(),
            waiting: Vec::new(),
            priorities: HashMap::new(),
            flows: HashMap::new(),
            takes_datagrams: false,
            tasks: 0,
            task: None,
            fault: None,
        };
        let tls = Arc::new(TlsInfo::of_quic(&quic, &*server));
        Self { quic, server, outlook: ticket.outlook(), tls, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the client is now.
    pub(super) fn peer(&self) -> Peer {
        let mut address = self.quic.remote_address();
        address.set_ip(address.ip().to_canonical());
        Peer::Tcp(address)
    }

    pub(super) fn hit(&self, limit: Limit) {
        self.server.hit(&self.peer(), limit);
    }

    /// Closes the connection at once.
    pub(super) fn close(&self, code: Code) {
        if code != Code::NoError {
            tracing::debug!(peer = %self.peer(), "connection closed: {code}");
        }
        self.quic.close(code.value().into(), b"");
    }

    /// Has the connection's task close it.
    pub(super) fn fail(&self, code: Code) {
        let mut state = self.state();
        state.fault.get_or_insert(code);
        state.poke();
    }

    /// Counts a task in.
    pub(super) fn under_way(self: &Arc<Self>) -> UnderWay {
        self.state().tasks += 1;
        UnderWay(self.clone())
    }

    /// Whether tasks are under way, and what the connection is to be closed with, if it is; its task is woken
    /// when that changes, or when there are instructions to send.
    pub(super) fn wake_when_changed(&self, cx: &Context<'_>) -> (bool, Option<Code>) {
        let mut state = self.state();
        if !state.task.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.task = Some(cx.waker().clone());
        }
        (state.tasks > 0, state.fault)
    }

    /// Is over when no task is under way.
    pub(super) async fn all_ended(&self) {
        poll_fn(|cx| match self.wake_when_changed(cx) {
            (true, _) => Poll::Pending,
            (false, _) => Poll::Ready(()),
        })
        .await;
    }

    /// Instructions for the client: of the encoder, and of the decoder.
    pub(super) fn take_instructions(&self) -> (Bytes, Bytes) {
        let mut state = self.state();
        (state.encoder.take_instructions(), state.decoder.take_instructions())
    }

    /// Reads a field section.
    pub(super) fn decode(
        &self,
        stream: u64,
        section: &Bytes,
        line: impl FnMut(&FieldName, Bytes),
        cx: &Context<'_>,
    ) -> Poll<Result<(), Code>> {
        let mut state = self.state();
        let inserted = state.decoder.inserted();
        match state.decoder.decode(stream, section, line) {
            Ok(Decoded::Whole) => {
                if inserted > 0 {
                    // There may be something to acknowledge.
                    state.poke();
                }
                Poll::Ready(Ok(()))
            }
            Ok(Decoded::Blocked(_)) => {
                state.waiting.push(cx.waker().clone());
                Poll::Pending
            }
            Err(code) => Poll::Ready(Err(code)),
        }
    }

    /// Forgets the field sections of a stream.
    pub(super) fn cancel(&self, stream: u64) {
        let mut state = self.state();
        state.decoder.cancel(stream);
        state.poke();
    }

    /// Gives the encoder to `write`, which appends a field section.
    pub(super) fn encode<R>(&self, write: impl FnOnce(&mut Encoder) -> R) -> R {
        let mut state = self.state();
        let written = write(&mut state.encoder);
        if state.encoder.has_instructions() {
            state.poke();
        }
        written
    }

    /// Takes the kind of a stream off its first bytes; none until they have come.
    pub(super) fn kind(&self, buf: &mut BytesMut) -> Result<Option<UniKind>, Code> {
        self.state().incoming.kind(buf)
    }

    /// Changes the decoder by what came on its stream, and wakes who waits for that.
    pub(super) fn build(
        &self,
        change: impl FnOnce(&mut Decoder) -> Result<(), Code>,
    ) -> Result<(), Code> {
        let mut state = self.state();
        change(&mut state.decoder)?;
        let waiting = std::mem::take(&mut state.waiting);
        state.poke();
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Heeds what the client has said about itself.
    pub(super) fn heed(&self, settings: &Settings) -> Result<(), Code> {
        // RFC 9297 section 2.1.1: QUIC has to allow it, too.
        if settings.h3_datagram && self.quic.max_datagram_size().is_none() {
            return Err(Code::SettingsError);
        }
        self.state().takes_datagrams = settings.h3_datagram;
        self.encode(|encoder| encoder.allow(settings.qpack_max_table_capacity));
        Ok(())
    }

    pub(super) fn may_send_datagrams(&self) -> bool {
        self.state().takes_datagrams
    }

    /// Takes datagrams of the request on this stream from now on.
    pub(super) fn open_flow(&self, stream: u64) {
        let mut state = self.state();
        state.flows.insert(stream, Inbound::default());
        // It has not looked for any yet.
        state.poke();
    }

    pub(super) fn end_flow(&self, stream: u64) {
        self.state().flows.remove(&stream);
    }

    /// Whether there is a request that takes datagrams.
    pub(super) fn has_flows(&self) -> bool {
        !self.state().flows.is_empty()
    }

    /// Takes a datagram in; one of a request that takes none is lost.
    pub(super) fn deliver(&self, datagram: Bytes) -> Result<(), Code> {
        let (stream, payload) = datagram::decode(datagram)?;
        if let Some(inbound) = self.state().flows.get_mut(&stream) {
            inbound.put(payload);
        }
        Ok(())
    }

    pub(super) fn poll_datagram(&self, stream: u64, cx: &Context<'_>) -> Poll<Bytes> {
        match self.state().flows.get_mut(&stream) {
            Some(inbound) => inbound.poll_take(cx),
            None => Poll::Pending,
        }
    }

    /// Keeps a priority that the client has told, for a request that may come.
    pub(super) fn prioritize(&self, stream: u64, priority: Priority) {
        let mut state = self.state();
        if state.priorities.len() < PRIORITIES || state.priorities.contains_key(&stream) {
            state.priorities.insert(stream, priority);
        }
    }

    /// Takes what the client has told about a stream.
    pub(super) fn priority(&self, stream: u64) -> Option<Priority> {
        let mut state = self.state();
        if state.priorities.is_empty() { None } else { state.priorities.remove(&stream) }
    }
}

impl State {
    fn poke(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.tasks -= 1;
        if state.tasks == 0 {
            state.poke();
        }
    }
}
