//! A connection that speaks HRPC: what callers and its task share.

mod driver;

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hemi_core::clock::{self, Moment};
use hemi_core::io::pool;
use hemi_proto::hrpc::{
    self, Asked, Code, Event, Flags, Hello, Message, Mux, NoStream, Open, PREFACE, Replied, Rest,
};
use hemi_proto::rpcx::{CodecId, Compression, ERROR_KEY, Metadata, Pairs};
use slab::Slab;
use tokio::time::timeout;

pub(super) use self::driver::Driver;
use super::ClientConfig;
use super::conn::{Answer, wake};
use crate::hrpc::{Bell, NAMES, Pipe, Sends, fits_metadata, is_full};
use crate::{CodecError, Compressions, Payload, RpcError};

pub(super) struct Conn {
    state: Mutex<State>,
    max_unsent: usize,
    max_decompressed: usize,
    compressions: Compressions,
    /// How long a stream may wait for room to begin, if it does not say so itself.
    usual_limit: Duration,
}

struct State {
    /// What is to be sent before pieces of long messages.
    out: BytesMut,
    mux: Mux<Key>,
    /// Rung by those who read and write streams.
    bell: Bell,
    calls: Slab<Waiting>,
    driver: Option<Waker>,
    /// Callers who wait for room.
    blocked: Vec<Waker>,
    /// No call's time is over before.
    earliest: Moment,
    ended: Option<RpcError>,
    /// Nobody will call any more.
    closing: bool,
}

/// What is done with what comes on a stream.
#[derive(Default)]
enum Key {
    /// Its end comes, and nothing else.
    #[default]
    OneWay,
    /// It is for the call in this place.
    Call(usize),
    /// It is for who reads this; the code is what the answer has said so far.
    Stream(Pipe, Code),
}

/// A call that waits for its answer.
struct Waiting {
    stream: u32,
    until: Moment,
    codec: CodecId,
    /// What has come of the answer.
    code: Code,
    metadata: Metadata,
    message: (u8, Bytes),
    waker: Option<Waker>,
    /// That all has come, or why not.
    done: Option<Result<(), RpcError>>,
}

/// A call that is written, but for the number of its stream.
pub(super) struct Written {
    codec: CodecId,
    one_way: bool,
    frame: BytesMut,
    rest: Option<Rest>,
}

/// What is said of a call.
pub(super) struct Saying<'a> {
    pub(super) service: &'a str,
    pub(super) method: &'a str,
    pub(super) metadata: &'a Metadata,
    pub(super) codec: CodecId,
    pub(super) compression: Compression,
    pub(super) limit: Option<Duration>,
    pub(super) one_way: bool,
}

impl Written {
    pub(super) fn new<A: Payload>(
        saying: &Saying<'_>,
        args: &A,
        compressions: &Compressions,
    ) -> Result<Self, CodecError> {
        let &Saying { codec, compression, one_way, .. } = saying;
        saying.check()?;
        let mut frame = pool::take();
        let open = saying.open(&mut frame);
        args.encode(codec, &mut frame)?;
        let flags = Flags::MESSAGE.and(Flags::END);
        let flags = if one_way { flags.and(Flags::ONE_WAY) } else { flags };
        let compress = |message: &[u8]| compressions.pack(compression, message);
        open.end_by(&mut frame, flags, compression, compress);
        let rest = Rest::of(&mut frame, 0);
        Ok(Self { codec, one_way, frame, rest })
    }
}

impl Saying<'_> {
    /// Whether a CALL has room for it.
    fn check(&self) -> Result<(), CodecError> {
        fits_metadata(self.metadata.pairs())?;
        match self.service.len() + self.method.len() {
            0..=NAMES => Ok(()),
            len => Err(CodecError::Unwritable(format!(
                "names of {len} bytes, of which HRPC has room for {NAMES}"
            ))),
        }
    }

    fn open(&self, out: &mut BytesMut) -> Open {
        let millis = |limit: Duration| u32::try_from(limit.as_millis().max(1)).unwrap_or(0);
        let asked = Asked {
            codec: self.codec,
            timeout: self.limit.map_or(0, millis),
            service: self.service.as_bytes(),
            method: self.method.as_bytes(),
            metadata: self.metadata.pairs(),
        };
        Open::call(out, 0, &asked)
    }
}

impl Conn {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let mut out = BytesMut::new();
        out.extend_from_slice(PREFACE);
        let compressions = config.compressions.by_hrpc();
        let message = u32::try_from(config.max_message_size).unwrap_or(u32::MAX);
        hrpc::hello(&mut out, &Hello { streams: 0, message, compressions: compressions.bits() });
        let state = State {
            out,
            mux: Mux::client(config.messages()),
            bell: Bell::default(),
            calls: Slab::new(),
            driver: None,
            blocked: Vec::new(),
            earliest: Moment::NEVER,
            ended: None,
            closing: false,
        };
        Self {
            state: Mutex::new(state),
            max_unsent: config.max_unsent,
            max_decompressed: config.max_decompressed_size,
            compressions,
            usual_limit: config.call_timeout,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there can be no more calls.
    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.ended.is_some() || state.closing
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        wake(state.driver.take());
    }

    /// Makes a call, and waits for its answer.
    pub(super) async fn call(
        &self,
        mut written: Written,
        until: Moment,
    ) -> Result<Answer, RpcError> {
        let codec = written.codec;
        let begun = self.begin(&mut written, until, |state, stream| {
            state.earliest = state.earliest.min(until);
            let key = state.calls.insert(Waiting::new(stream, until, codec));
            (Key::Call(key), key)
        });
        let key = begun.await?;
        let mut waiting = Forgets { conn: self, key: Some(key) };
        let answer = poll_fn(|cx| self.poll_answer(cx, key)).await;
        waiting.key = None;
        let (code, Reply { codec, mut metadata, compression, payload }) = answer?;
        let (message, most) = (Cow::Borrowed(&*payload), self.max_decompressed);
        let payload = match self.compressions.unpack(compression, message, most) {
            Ok(Cow::Owned(unpacked)) => unpacked.into(),
            Ok(Cow::Borrowed(_)) => payload,
            Err(e) => {
                let e = CodecError::Malformed(e.to_string());
                return Err(RpcError::Unreadable(e));
            }
        };
        let failed = code != Code::OK;
        if failed && metadata.text(ERROR_KEY).is_none() {
            metadata.set(ERROR_KEY, code.to_string());
        }
        Ok(Answer { failed, code, codec, metadata, payload })
    }

    /// Sends a call that is not answered.
    pub(super) async fn send(&self, mut written: Written, until: Moment) -> Result<(), RpcError> {
        self.begin(&mut written, until, |_, _| (Key::OneWay, ())).await
    }

    /// Begins a call whose messages go both ways.
    pub(super) async fn open(&self, saying: &Saying<'_>) -> Result<Pipe, RpcError> {
        saying.check().map_err(RpcError::Unwritable)?;
        let mut frame = pool::take();
        saying.open(&mut frame).end(&mut frame, Flags::NONE, Compression::NONE);
        let mut written = Written { codec: saying.codec, one_way: false, frame, rest: None };
        let limit = saying.limit.unwrap_or(self.usual_limit);
        let begun = self.begin(&mut written, clock::now().after(limit), |state, stream| {
            let pipe = Pipe::new(stream, state.bell.clone(), self.compressions.clone());
            (Key::Stream(pipe.clone(), Code::OK), pipe)
        });
        begun.await
    }

    async fn begin<K>(
        &self,
        written: &mut Written,
        until: Moment,
        mut begin: impl FnMut(&mut State, u32) -> (Key, K),
    ) -> Result<K, RpcError> {
        let begun = poll_fn(|cx| Poll::Ready(self.poll_begin(cx, written, &mut begin))).await;
        if let Poll::Ready(begun) = begun {
            return begun;
        }
        let limit = until.since(clock::now());
        let begun = timeout(limit, poll_fn(|cx| self.poll_begin(cx, written, &mut begin))).await;
        begun.unwrap_or(Err(RpcError::TimedOut))
    }

    fn poll_begin<K>(
        &self,
        cx: &Context<'_>,
        written: &mut Written,
        begin: &mut impl FnMut(&mut State, u32) -> (Key, K),
    ) -> Poll<Result<K, RpcError>> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(e) = &state.ended {
            return Poll::Ready(Err(e.clone()));
        }
        if state.closing {
            return Poll::Ready(Err(RpcError::Refused));
        }
        // How many there may be has to be known, for nobody would hear that one was refused.
        let early = written.one_way && state.mux.peer().is_none();
        let full = state.out.len() >= self.max_unsent || early;
        if full || written.rest.is_some() && is_full(state.mux.rests(), self.max_unsent) {
            state.blocked.push(cx.waker().clone());
            return Poll::Pending;
        }
        let stream = match state.mux.next_stream() {
            Ok(stream) => stream,
            Err(NoStream::Busy) => {
                state.blocked.push(cx.waker().clone());
                return Poll::Pending;
            }
            Err(NoStream::Spent) => {
                state.closing = true;
                wake(state.driver.take());
                return Poll::Ready(Err(RpcError::Refused));
            }
        };
        if let Some(number) = written.frame.get_mut(8..12) {
            number.copy_from_slice(&stream.to_be_bytes());
        }
        state.out.extend_from_slice(&written.frame);
        pool::give(std::mem::take(&mut written.frame));
        let (key, own) = begin(state, stream);
        state.mux.begin(stream, key);
        if let Some(mut rest) = written.rest.take() {
            rest.stream = stream;
            state.mux.send_rest(rest);
        }
        let driver = state.driver.take();
        drop(guard);
        wake(driver);
        Poll::Ready(Ok(own))
    }

    fn poll_answer(&self, cx: &Context<'_>, key: usize) -> Poll<Result<(Code, Reply), RpcError>> {
        let mut state = self.lock();
        let Some(waiting) = state.calls.get_mut(key) else {
            return Poll::Ready(Err(RpcError::lost("the call was forgotten")));
        };
        let Some(done) = waiting.done.take() else {
            match &mut waiting.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => waiting.waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        let Waiting { codec, code, metadata, message, .. } = state.calls.remove(key);
        let (compression, payload) = message;
        Poll::Ready(done.map(|()| (code, Reply { codec, metadata, compression, payload })))
    }

    /// Nobody waits for the answer any more: the server is told.
    fn forget(&self, key: usize) {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(Waiting { stream, done: None, .. }) = state.calls.try_remove(key) else { return };
        state.give_up(stream);
        wake(state.driver.take());
    }
}

/// What has come back.
struct Reply {
    codec: CodecId,
    metadata: Metadata,
    compression: u8,
    payload: Bytes,
}

impl Waiting {
    fn new(stream: u32, until: Moment, codec: CodecId) -> Self {
        Self {
            stream,
            until,
            codec,
            code: Code::OK,
            metadata: Metadata::new(),
            message: (0, Bytes::new()),
            waker: None,
            done: None,
        }
    }

    fn replied(&mut self, replied: &Replied<'_>) {
        self.code = replied.code;
        self.metadata = replied.metadata.into();
    }

    fn came(&mut self, message: Message<'_>) {
        let bytes = match message.bytes {
            Cow::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Cow::Owned(bytes) => bytes.into(),
        };
        self.message = (message.compression, bytes);
    }
}

impl State {
    fn has_calls(&self) -> bool {
        !self.mux.is_empty()
    }

    /// A stream is over for this side.
    fn give_up(&mut self, stream: u32) {
        self.mux.reset(stream, Code::CANCELLED, "", &mut self.out);
        self.unblock();
    }

    /// There may be room for others.
    fn unblock(&mut self) {
        wake(std::mem::take(&mut self.blocked));
    }

    /// An answer begins, or ends with this.
    fn replied(&mut self, stream: u32, replied: &Replied<'_>, begins: bool) {
        match self.mux.get(stream) {
            Some(Key::Call(key)) => {
                if let Some(waiting) = self.calls.get_mut(*key) {
                    waiting.replied(replied);
                }
            }
            Some(Key::Stream(pipe, code)) => {
                *code = replied.code;
                if begins {
                    pipe.begun(replied.metadata.into());
                }
            }
            Some(Key::OneWay) | None => {}
        }
    }

    /// Does what those want who read and write streams.
    fn relay(&mut self) {
        for stream in self.bell.take() {
            let Some(Key::Stream(pipe, _)) = self.mux.get(stream) else { continue };
            let Sends { consumed, messages, end, dropped, .. } = pipe.take();
            if dropped {
                self.give_up(stream);
                continue;
            }
            self.mux.consumed(stream, consumed, &mut self.out);
            for (compression, message) in messages {
                self.mux.send(stream, message, Flags::NONE.compressed(compression));
            }
            if end.is_some() {
                self.mux.send_end(stream);
            }
        }
    }

    /// Does what a frame means; those to be woken are added.
    fn take(&mut self, event: Event<'_, Key>, wakers: &mut Vec<Waker>) {
        let mut last = Pairs::NONE;
        let (stream, message, end) = match event {
            Event::Reply { stream, replied, message, end } => {
                let begins = !end || replied.code == Code::OK;
                self.replied(stream, &replied, begins);
                if !begins {
                    last = replied.metadata;
                }
                (stream, message, end)
            }
            Event::Message { stream, message, end } => (stream, message, end),
            Event::Trailers { stream, replied } => {
                self.replied(stream, &replied, false);
                last = replied.metadata;
                (stream, None, true)
            }
            Event::Reset { own, code, text, .. } => {
                let code = if code == Code::OK { Code::UNKNOWN } else { code };
                let result = match code {
                    Code::REFUSED => Err(RpcError::Refused),
                    _ => Ok(()),
                };
                match own {
                    Key::Call(key) => {
                        if let Some(waiting) = self.calls.get_mut(key) {
                            waiting.code = code;
                            if !text.is_empty() {
                                waiting.metadata.set(ERROR_KEY, text);
                            }
                            waiting.message = (0, Bytes::new());
                        }
                        self.done(key, result, wakers);
                    }
                    Key::Stream(pipe, _) => pipe.broken(code, &String::from_utf8_lossy(text)),
                    Key::OneWay => {}
                }
                return self.unblock();
            }
            Event::TooLong { own, .. } => {
                let text = "it is too long";
                let e = CodecError::Malformed(text.to_owned());
                self.fail(own, RpcError::Unreadable(e), (Code::RESOURCE_EXHAUSTED, text), wakers);
                return;
            }
            Event::Goaway { last, code, text } => {
                self.closing = true;
                tracing::debug!("the server takes no more calls: {code} {}", text.escape_ascii());
                self.refused(last, wakers);
                return;
            }
            Event::Hello(_) => return self.unblock(),
            Event::None | Event::Call { .. } | Event::Push { .. } => return,
        };
        if let Some(message) = message {
            let weight = message.weight;
            match self.mux.get(stream) {
                Some(Key::Stream(pipe, _)) => pipe.came(message),
                Some(Key::Call(key)) => {
                    if let Some(waiting) = self.calls.get_mut(*key) {
                        waiting.came(message);
                    }
                    self.mux.consumed(stream, weight, &mut self.out);
                }
                Some(Key::OneWay) | None => {}
            }
        }
        if end {
            match self.mux.close(stream, &mut self.out) {
                Some(Key::Call(key)) => self.done(key, Ok(()), wakers),
                Some(Key::Stream(pipe, code)) => pipe.over(code, last.into()),
                Some(Key::OneWay) | None => {}
            }
            wakers.append(&mut self.blocked);
        }
    }

    /// What is done on a stream comes to nothing.
    fn fail(&mut self, key: Key, e: RpcError, (code, text): (Code, &str), wakers: &mut Vec<Waker>) {
        match key {
            Key::Call(key) => self.done(key, Err(e), wakers),
            Key::Stream(pipe, _) => pipe.broken(code, text),
            Key::OneWay => {}
        }
        wakers.append(&mut self.blocked);
    }

    /// The streams after this one are of calls that were not looked at.
    fn refused(&mut self, last: u32, wakers: &mut Vec<Waker>) {
        let streams: Vec<_> =
            self.mux.iter().map(|(stream, _)| stream).filter(|stream| *stream > last).collect();
        for stream in streams {
            if let Some(key) = self.mux.close(stream, &mut self.out) {
                let why = (Code::REFUSED, "the server is about to end");
                self.fail(key, RpcError::Refused, why, wakers);
            }
        }
    }

    /// A call has come to its end.
    fn done(&mut self, key: usize, result: Result<(), RpcError>, wakers: &mut Vec<Waker>) {
        if let Some(waiting) = self.calls.get_mut(key) {
            waiting.done.get_or_insert(result);
            wakers.extend(waiting.waker.take());
        }
    }

    /// Tells those whose time is over; they are to be woken.
    fn expire(&mut self, now: Moment) -> Vec<Waker> {
        let (mut wakers, mut late, mut earliest) = (Vec::new(), Vec::new(), Moment::NEVER);
        for (_, waiting) in &mut self.calls {
            if waiting.done.is_some() {
                continue;
            }
            if waiting.until <= now {
                waiting.done = Some(Err(RpcError::TimedOut));
                wakers.extend(waiting.waker.take());
                late.push(waiting.stream);
            } else {
                earliest = earliest.min(waiting.until);
            }
        }
        self.earliest = earliest;
        for stream in late {
            self.give_up(stream);
        }
        wakers
    }

    /// Tells all that the connection has ended; they are to be woken.
    fn end(&mut self, e: &RpcError) -> Vec<Waker> {
        self.ended.get_or_insert_with(|| e.clone());
        let mut wakers = std::mem::take(&mut self.blocked);
        for (_, waiting) in &mut self.calls {
            waiting.done.get_or_insert_with(|| Err(e.clone()));
            wakers.extend(waiting.waker.take());
        }
        for (_, key) in self.mux.iter() {
            if let Key::Stream(pipe, _) = key {
                pipe.broken(Code::UNAVAILABLE, &e.to_string());
            }
        }
        self.out = BytesMut::new();
        wakers
    }
}

/// Has a call forgotten that nobody waits for any more.
struct Forgets<'a> {
    conn: &'a Conn,
    key: Option<usize>,
}

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.conn.forget(key);
        }
    }
}
