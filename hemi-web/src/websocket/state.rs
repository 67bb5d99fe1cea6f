//! What the halves of a socket share with the connection's task: what was received and not taken, what is
//! to be sent, and who waits for either. Only the task moves bytes.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use hemi_core::io::Outbox;
use hemi_proto::websocket::{
    Close, Decoder, Deflater, Header, Incoming, Message, Opcode, Role, WebSocketError,
};

use super::SocketError;
use super::masks::Masks;

/// With this many bytes waiting to be sent, who sends more has to wait.
const FULL: usize = 64 << 10;

/// Payloads up to this many bytes are copied behind their heads.
const COPIED: usize = 4 << 10;

#[derive(Debug)]
pub(super) struct Shared(Mutex<State>);

#[derive(Debug)]
pub(super) struct State {
    pub(super) received: BytesMut,
    pub(super) out: Outbox,
    decoder: Decoder,
    deflater: Option<Deflater>,
    /// Messages with fewer bytes are not compressed.
    compress_from: usize,
    /// For a client's end: all that it sends is masked.
    masks: Option<Box<Masks>>,
    /// The next message, until somebody asks for it.
    next: Option<Message>,
    /// How it has ended, or is about to: the client sends no more.
    end: Option<Result<(), SocketError>>,
    sent_close: bool,
    client_close: Option<Option<Close>>,
    /// The halves that are left; when there are none, the connection is to be closed.
    pub(super) handles: usize,
    has_receiver: bool,
    reader: Option<Waker>,
    writers: Vec<Waker>,
    /// The connection's task.
    task: Option<Waker>,
    /// The task is running, and looks here again before it waits.
    runs: bool,
}

impl Shared {
    pub(super) fn new(
        role: Role,
        decoder: Decoder,
        deflater: Option<Deflater>,
        compress_from: usize,
    ) -> Self {
        Self(Mutex::new(State {
            received: BytesMut::new(),
            out: Outbox::default(),
            decoder,
            deflater,
            compress_from,
            masks: (role == Role::Client).then(Box::default),
            next: None,
            end: None,
            sent_close: false,
            client_close: None,
            handles: 2,
            has_receiver: true,
            reader: None,
            writers: Vec::new(),
            task: None,
            runs: false,
        }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the halves.
impl State {
    pub(super) fn poll_message(
        &mut self,
        cx: &Context<'_>,
    ) -> Poll<Result<Option<Message>, SocketError>> {
        self.decode();
        if let Some(message) = self.next.take() {
            return Poll::Ready(Ok(Some(message)));
        }
        if let Some(end) = self.end {
            return Poll::Ready(end.map(|()| None));
        }
        keep(&mut self.reader, cx);
        // It may have stopped receiving, because nobody asked.
        self.wake_task();
        Poll::Pending
    }

    pub(super) fn client_close(&self) -> Option<&Close> {
        self.client_close.as_ref()?.as_ref()
    }

    /// Puts a message where it is sent from, once there is room; takes it then.
    pub(super) fn poll_put(
        &mut self,
        cx: &Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), SocketError>> {
        self.is_open()?;
        if self.is_full() {
            self.await_room(cx);
            return Poll::Pending;
        }
        if let Some(message) = message.take() {
            self.put(message);
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_flushed(&mut self, cx: &Context<'_>) -> Poll<Result<(), SocketError>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if let Some(Err(e)) = self.end {
            return Poll::Ready(Err(e));
        }
        self.await_room(cx);
        self.wake_task();
        Poll::Pending
    }

    fn await_room(&mut self, cx: &Context<'_>) {
        if !self.writers.iter().any(|writer| writer.will_wake(cx.waker())) {
            self.writers.push(cx.waker().clone());
        }
    }

    fn put(&mut self, message: Message) {
        self.wake_task_to_send();
        let header = self.header(message.opcode());
        let payload = message.as_bytes();
        if let Some(deflater) = &mut self.deflater
            && payload.len() >= self.compress_from
            && let Some(compressed) = deflater.deflate(payload)
        {
            let header = Header { compressed: true, ..header };
            match header.mask {
                Some(_) => header.put_frame(&compressed, self.out.small()),
                None => {
                    header.put(compressed.len() as u64, self.out.small());
                    self.out.push(compressed);
                }
            }
        } else if payload.len() <= COPIED || header.mask.is_some() {
            header.put_frame(payload, self.out.small());
        } else {
            header.put(payload.len() as u64, self.out.small());
            self.out.push(message.into_bytes());
        }
    }

    /// Puts a whole frame there, if no more than `most` bytes wait then; false if it does not.
    pub(super) fn put_frame(&mut self, frame: &Bytes, most: usize) -> Result<bool, SocketError> {
        self.is_open()?;
        if self.out.in_memory() + frame.len() > most {
            return Ok(false);
        }
        self.wake_task_to_send();
        self.out.push(frame.clone());
        Ok(true)
    }

    /// Has those who receive hear of an error.
    pub(super) fn end_with(&mut self, e: SocketError) {
        self.end.get_or_insert(Err(e));
    }

    /// Sends a close, if there was none.
    pub(super) fn close(&mut self, close: Option<&Close>) {
        if !self.sent_close {
            self.wake_task();
            self.put_control(Opcode::Close, &close.map(Close::payload).unwrap_or_default());
            self.sent_close = true;
        }
    }

    pub(super) fn drop_handle(&mut self) {
        self.handles -= 1;
        if self.handles == 0 {
            self.wake_task();
        }
    }

    pub(super) fn drop_receiver(&mut self) {
        self.has_receiver = false;
        self.next = None;
        self.reader = None;
        self.handles -= 1;
        // What still comes is to be dropped.
        self.wake_task();
    }

    fn is_open(&self) -> Result<(), SocketError> {
        match self.end {
            Some(Err(e)) => Err(e),
            _ if self.sent_close => Err(SocketError::Closed),
            _ => Ok(()),
        }
    }

    fn is_full(&self) -> bool {
        self.out.in_memory() >= FULL
    }

    /// If something waits to be sent already, the task knows.
    fn wake_task_to_send(&self) {
        if self.out.is_empty() {
            self.wake_task();
        }
    }

    fn wake_task(&self) {
        if let Some(task) = &self.task
            && !self.runs
        {
            task.wake_by_ref();
        }
    }
}

/// For the connection's task.
impl State {
    /// The task looks after the connection, and then lets the handle run.
    pub(super) fn begin(&mut self, cx: &Context<'_>) {
        keep(&mut self.task, cx);
        self.runs = true;
    }

    /// The task is about to wait: who holds no bytes needs no buffers.
    pub(super) fn wait(&mut self) {
        self.runs = false;
        if self.received.is_empty() {
            hemi_core::io::pool::give(std::mem::take(&mut self.received));
        }
        self.out.release();
    }

    /// Whether more is to be received now.
    pub(super) fn wants_more(&self) -> bool {
        self.next.is_none() && !self.is_full() && self.client_close.is_none()
    }

    /// Bytes that are known to come still.
    pub(super) fn awaits(&self) -> u64 {
        self.decoder.awaits()
    }

    /// Whether a message waits to be taken: what the client sends behind it is not seen.
    pub(super) fn is_behind(&self) -> bool {
        self.next.is_some()
    }

    /// Reads what was received, up to the next message.
    pub(super) fn decode(&mut self) {
        while self.next.is_none() && !self.is_full() {
            match self.decoder.decode(&mut self.received) {
                Ok(None) => return,
                Ok(Some(Incoming::Message(message))) => {
                    self.next = self.has_receiver.then_some(message);
                }
                Ok(Some(Incoming::Ping(payload))) => {
                    if !self.sent_close {
                        self.put_control(Opcode::Pong, &payload);
                    }
                }
                Ok(Some(Incoming::Pong(_))) => {}
                Ok(Some(Incoming::Close(close))) => {
                    // Answered with the same code.
                    self.close(close.as_ref());
                    self.client_close = Some(close);
                    self.end.get_or_insert(Ok(()));
                }
                Err(e) => self.fail(e),
            }
        }
    }

    fn fail(&mut self, e: WebSocketError) {
        self.close(Some(&e.code().into()));
        self.end.get_or_insert(Err(e.into()));
    }

    /// Wakes those who wait for what there is now; true if there were any.
    pub(super) fn wake(&mut self) -> bool {
        let mut woken = false;
        let mut wake = |waker: Waker| {
            woken = true;
            // The task itself is running.
            if !self.task.as_ref().is_some_and(|task| task.will_wake(&waker)) {
                waker.wake();
            }
        };
        if self.next.is_some() || self.end.is_some() {
            self.reader.take().into_iter().for_each(&mut wake);
        }
        if self.out.is_empty() || self.sent_close {
            self.writers.drain(..).for_each(&mut wake);
        }
        woken
    }

    pub(super) fn ping(&mut self) {
        self.put_control(Opcode::Ping, &[]);
    }

    fn put_control(&mut self, opcode: Opcode, payload: &[u8]) {
        self.header(opcode).put_frame(payload, self.out.small());
    }

    fn header(&mut self, opcode: Opcode) -> Header {
        let mask = self.masks.as_mut().map(|masks| masks.next());
        Header { mask, ..Header::whole(opcode) }
    }

    /// Nothing comes any more, and nothing goes.
    pub(super) fn lose(&mut self, e: SocketError) {
        // After both have closed the end of the connection is no loss.
        let closed = self.sent_close && self.end.is_none_or(|end| end.is_ok());
        let end = if closed { Ok(()) } else { Err(e) };
        self.end.get_or_insert(end);
        self.sent_close = true;
    }

    pub(super) fn has_sent_close(&self) -> bool {
        self.sent_close
    }

    /// The client has broken the protocol, and is to go.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.end, Some(Err(_)))
    }

    pub(super) fn has_client_closed(&self) -> bool {
        self.client_close.is_some()
    }
}

fn keep(slot: &mut Option<Waker>, cx: &Context<'_>) {
    if !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *slot = Some(cx.waker().clone());
    }
}

impl From<io::Error> for SocketError {
    fn from(e: io::Error) -> Self {
        Self::Lost(e.kind())
    }
}
