//! The calls of a connection: from what comes of them to their answers.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::{AbortHandle, Abortable};
use hemi_core::BoxFuture;
use hemi_core::clock::Moment;
use hemi_core::io::Io;
use hemi_proto::hrpc::{Asked, Code, Event, Flags, Message, Open, Replied, Rest};
use hemi_proto::rpcx::{CodecId, Compression, Frame, Head, Metadata, Mode, Pairs};

use super::Conn;
use crate::exchange::{Done, Exchange, Outcome, Pending, Wire, write_end, write_fault};
use crate::grpc::StreamedCall;
use crate::hrpc::{Pipe, Sends, ending, fits_metadata};
use crate::{Asking, CodecError, Fault, GrpcService, Refusal};

/// What is done on a stream.
#[derive(Default)]
pub(super) enum Running {
    /// It has just begun.
    #[default]
    New,
    /// More of the call is to come.
    Gathering(Box<Gathered>),
    /// It is whole, and has to wait for others.
    Waiting,
    /// Its method is at work.
    Working(#[expect(dead_code, reason = "it ends the work when it is dropped")] Abort),
    /// The rest of its answer is to be sent.
    Answered,
    /// Messages go both ways.
    Streaming(Ours, #[expect(dead_code, reason = "it ends the work, too")] Abort),
}

/// Ends the work when it is dropped: nobody wants the answer any more, or it is there.
pub(super) struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Our end of a stream. When it is dropped, those who still read or write the stream hear of it.
pub(super) struct Ours(pub(super) Pipe);

impl Drop for Ours {
    fn drop(&mut self) {
        self.0.broken(Code::CANCELLED, "the caller is gone");
    }
}

/// A method at work: ends with the frame of its answer, if it was not given up.
pub(super) struct Working {
    stream: u32,
    work: Abortable<Work>,
}

enum Work {
    Plain(Box<Pending>),
    Streamed(BoxFuture<'static, ()>),
}

impl Future for Work {
    type Output = Option<BytesMut>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Plain(pending) => Pin::new(pending).poll(cx).map(Some),
            Self::Streamed(work) => work.as_mut().poll(cx).map(|()| None),
        }
    }
}

impl Future for Working {
    type Output = (u32, Option<BytesMut>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stream = self.stream;
        Pin::new(&mut self.work).poll(cx).map(|frame| (stream, frame.ok().flatten()))
    }
}

/// A call that has come, as a view.
pub(super) struct Arrived<'a> {
    codec: CodecId,
    one_way: bool,
    deadline: Moment,
    /// What the caller itself will wait.
    timeout: Option<Duration>,
    service: &'a [u8],
    method: &'a [u8],
    metadata: Pairs<'a>,
    compression: u8,
    message: Cow<'a, [u8]>,
}

/// A call, or what has come of it.
pub(super) struct Gathered {
    codec: CodecId,
    one_way: bool,
    deadline: Moment,
    service: Box<[u8]>,
    method: Box<[u8]>,
    metadata: Metadata,
    message: Option<(u8, Vec<u8>)>,
    /// The credit that it holds until the call is begun.
    weight: usize,
}

impl Gathered {
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    fn as_arrived(&self) -> Arrived<'_> {
        let (compression, message) = match &self.message {
            Some((compression, message)) => (*compression, &message[..]),
            None => (0, &[][..]),
        };
        Arrived {
            codec: self.codec,
            one_way: self.one_way,
            deadline: self.deadline,
            timeout: None,
            service: &self.service,
            method: &self.method,
            metadata: self.metadata.pairs(),
            compression,
            message: Cow::Borrowed(message),
        }
    }
}

impl Arrived<'_> {
    fn gathered(self, message: Option<(u8, Vec<u8>)>) -> Gathered {
        Gathered {
            codec: self.codec,
            one_way: self.one_way,
            deadline: self.deadline,
            service: self.service.into(),
            method: self.method.into(),
            metadata: self.metadata.into(),
            message,
            weight: 0,
        }
    }

    fn mode(&self) -> Mode {
        if self.one_way { Mode::OneWay } else { Mode::Call }
    }
}

/// Whether the connection goes on.
enum Refused {
    Call(Fault),
    Connection(Fault),
}

impl<I: Io> Conn<I> {
    /// Does what is to be done.
    pub(super) fn take(&mut self, cx: &mut Context<'_>, event: Event<'_, Running>) {
        match event {
            Event::Call { stream, asked, one_way, message, end } => {
                self.called(cx, stream, &asked, one_way, message, end);
            }
            Event::Message { stream, message, end } => self.gather(cx, stream, message, end),
            Event::Reset { stream, own, .. } | Event::TooLong { stream, own } => {
                drop(own);
                if let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == stream)
                    && let Some((_, call)) = self.waiting.remove(at)
                {
                    self.mux.release(call.weight, self.out.small());
                }
            }
            Event::None
            | Event::Hello(_)
            | Event::Goaway { .. }
            | Event::Push { .. }
            | Event::Reply { .. }
            | Event::Trailers { .. } => {}
        }
    }

    fn called(
        &mut self,
        cx: &mut Context<'_>,
        stream: u32,
        asked: &Asked<'_>,
        one_way: bool,
        message: Option<Message<'_>>,
        end: bool,
    ) {
        if self.leaving {
            self.mux.close(stream, self.out.small());
            let text = "the server is about to end";
            hemi_proto::hrpc::reset(self.out.small(), stream, Code::REFUSED, text);
            return;
        }
        if self.calls.len() >= self.server.limits.max_calls_per_conn.saturating_mul(2) {
            // As many as may be under way were given up, and are not gone yet.
            self.mux.close(stream, self.out.small());
            let text = "too many calls are under way";
            hemi_proto::hrpc::reset(self.out.small(), stream, Code::REFUSED, text);
            return;
        }
        let &Asked { codec, timeout, service, method, metadata } = asked;
        let limit = self.server.limits.call_timeout;
        let mut deadline =
            if limit.is_zero() { Moment::NEVER } else { self.waits.now.after(limit) };
        let timeout = (timeout > 0).then(|| Duration::from_millis(timeout.into()));
        if let Some(timeout) = timeout {
            deadline = deadline.min(self.waits.now.after(timeout));
        }
        let came = message.map(|Message { compression, bytes, .. }| (compression, bytes));
        let (compression, message) = match (end, &came) {
            (true, Some((compression, message))) => (*compression, Cow::Borrowed(&**message)),
            _ => (0, Cow::Borrowed(&[][..])),
        };
        let call = Arrived {
            codec,
            one_way,
            deadline,
            timeout,
            service,
            method,
            metadata,
            compression,
            message,
        };
        if let Err(refused) = self.admit(&call) {
            let (Refused::Call(fault) | Refused::Connection(fault)) = &refused;
            self.fail(stream, one_way, fault);
            if let Refused::Connection(fault) = refused {
                self.break_off(fault.code(), fault.text());
            }
            return;
        }
        let route = self.server.route(service);
        let streams = route.and_then(|route| route.service.grpc()).cloned();
        if streams.is_none() && end && self.takes_calls() {
            return self.begin(cx, stream, call);
        }
        let message = came.as_ref().map(|(compression, message)| (*compression, message.to_vec()));
        if let Some(service) = streams {
            return self.stream(stream, service, &call, message, end);
        }
        let gathered = call.gathered(message);
        if end {
            self.mux.keep(stream, Running::Waiting);
            self.waiting.push_back((stream, gathered));
        } else if let Some(running) = self.mux.get(stream) {
            self.earliest = self.earliest.min(deadline);
            *running = Running::Gathering(Box::new(gathered));
        }
    }

    /// Whether a call is worth waiting for.
    fn admit(&mut self, call: &Arrived<'_>) -> Result<(), Refused> {
        let counters = &self.server.counters;
        if !self.rate.spend(self.waits.now) {
            counters.refused.add(1);
            let fault = Fault::new("request reached rate limit");
            return Err(Refused::Call(fault.with_code(Code::RESOURCE_EXHAUSTED)));
        }
        let &Arrived { service, method, metadata, .. } = call;
        let asking = Asking { peer: &self.peer, service, method, metadata };
        self.server.admit(&asking).map_err(|refusal| {
            counters.refused.add(1);
            let coded = |fault: Fault| match fault.code() {
                Code::UNKNOWN => fault.with_code(Code::UNAUTHENTICATED),
                _ => fault,
            };
            match refusal {
                Refusal::Call(fault) => Refused::Call(coded(fault)),
                Refusal::Connection(fault) => Refused::Connection(coded(fault)),
            }
        })?;
        counters.calls.add(1);
        if self.server.route(service).is_none() {
            let name = String::from_utf8_lossy(service);
            let fault = Fault::new(format!("rpcx: can't find service {name}"));
            return Err(Refused::Call(fault.with_code(Code::UNIMPLEMENTED)));
        }
        Ok(())
    }

    /// Has a service answer that takes and gives streams.
    fn stream(
        &mut self,
        stream: u32,
        service: GrpcService,
        call: &Arrived<'_>,
        message: Option<(u8, Vec<u8>)>,
        end: bool,
    ) {
        if call.codec != CodecId::PROTOBUF {
            let fault = Fault::from(CodecError::unfit(call.codec));
            return self.fail(stream, call.one_way, &fault.with_code(Code::INVALID_ARGUMENT));
        }
        let compressions = self.server.hrpc_compressions.clone();
        let pipe = Pipe::new(stream, self.bell.clone(), compressions);
        if let Some((compression, bytes)) = message {
            pipe.came(Message { compression, bytes: bytes.into(), weight: 0 });
        }
        if end {
            pipe.ended();
            self.mux.keep(stream, Running::New);
        }
        let streamed = StreamedCall {
            service,
            method: String::from_utf8_lossy(call.method).into_owned(),
            peer: self.peer,
            metadata: call.metadata.into(),
            timeout: call.timeout,
            pipe: pipe.clone(),
            server: self.server.clone(),
        };
        let (handle, registration) = AbortHandle::new_pair();
        let work = Work::Streamed(Box::pin(streamed.answer()));
        self.calls.push(Working { stream, work: Abortable::new(work, registration) });
        if let Some(running) = self.mux.get(stream) {
            *running = Running::Streaming(Ours(pipe), Abort(handle));
        }
    }

    /// Does what those want who read and write streams.
    pub(super) fn relay(&mut self) {
        for stream in self.bell.take() {
            let Some(Running::Streaming(Ours(pipe), _)) = self.mux.get(stream) else { continue };
            let Sends { consumed, head, messages, end, .. } = pipe.take();
            self.mux.consumed(stream, consumed, self.out.small());
            if let Some(metadata) = head {
                if let Err(e) = fits_metadata(metadata.pairs()) {
                    let fault = Fault::from(e).with_code(Code::RESOURCE_EXHAUSTED);
                    self.fail(stream, false, &fault);
                    continue;
                }
                let replied = Replied { code: Code::OK, metadata: metadata.pairs() };
                let out = self.out.small();
                Open::reply(out, stream, &replied).end(out, Flags::NONE, Compression::NONE);
            }
            for (compression, message) in messages {
                self.mux.send(stream, message, Flags::NONE.compressed(compression));
            }
            if let Some((code, metadata)) = end {
                let (code, metadata) = ending(code, metadata);
                self.mux.send_trailers(stream, code, metadata.pairs());
            }
        }
    }

    fn gather(
        &mut self,
        cx: &mut Context<'_>,
        stream: u32,
        message: Option<Message<'_>>,
        end: bool,
    ) {
        if let Some(Running::Streaming(Ours(pipe), _)) = self.mux.get(stream) {
            if let Some(message) = message {
                pipe.came(message);
            }
            if end {
                pipe.ended();
            }
            return;
        }
        let Some(Running::Gathering(call)) = self.mux.get(stream) else { return };
        let one_way = call.one_way;
        if let Some(message) = message {
            if call.message.is_some() {
                let fault = Fault::new("the method takes one message");
                return self.fail(stream, one_way, &fault.with_code(Code::INVALID_ARGUMENT));
            }
            call.weight = message.weight;
            call.message = Some((message.compression, message.bytes.into_owned()));
        }
        if end
            && let Some(running) = self.mux.get(stream)
            && let Running::Gathering(call) = std::mem::replace(running, Running::Waiting)
        {
            if self.takes_calls() {
                self.begin_gathered(cx, stream, &call);
            } else {
                self.mux.withhold(call.weight);
                self.waiting.push_back((stream, *call));
            }
        }
    }

    /// Has the service answer a call that came in pieces: others may come in its place.
    pub(super) fn begin_gathered(&mut self, cx: &mut Context<'_>, stream: u32, call: &Gathered) {
        self.mux.consumed(stream, call.weight, self.out.small());
        self.begin(cx, stream, call.as_arrived());
    }

    /// Has the service answer.
    fn begin(&mut self, cx: &mut Context<'_>, stream: u32, call: Arrived<'_>) {
        let mode = call.mode();
        let Arrived { codec, one_way, deadline, service, method, metadata, .. } = call;
        let most = self.server.limits.decompressed();
        let compressions = &self.server.hrpc_compressions;
        let payload = match compressions.unpack(call.compression, call.message, most) {
            Ok(payload) => payload,
            Err(e) => return self.fail(stream, one_way, &e.fault()),
        };
        let Some(route) = self.server.route(service) else { return };
        let compression = Compression::new(call.compression).unwrap_or_default();
        let head = Head { version: 0, mode, compression, codec, seq: u64::from(stream) };
        let frame = Frame { head, service, method, metadata, payload: &[] };
        let (server, pusher, peer) = (&self.server, &self.pusher.0, self.peer);
        let out = self.out.small();
        let start = out.len();
        let wire = Wire::Hrpc;
        let exchange =
            Exchange { frame, payload, deadline, peer, route, pusher, server, wire, out };
        match route.service.call(exchange) {
            Outcome(Done::Now) => {
                let rest = Rest::of(self.out.small(), start);
                self.answered(stream, rest);
            }
            Outcome(Done::Later(mut pending)) => match pending.start(cx) {
                Poll::Ready(frame) => self.answer(stream, frame),
                Poll::Pending => {
                    let (handle, registration) = AbortHandle::new_pair();
                    let work = Abortable::new(Work::Plain(pending), registration);
                    self.calls.push(Working { stream, work });
                    let working = Running::Working(Abort(handle));
                    match self.mux.get(stream) {
                        Some(running) => *running = working,
                        None => self.mux.keep(stream, working),
                    }
                }
            },
        }
    }

    /// Answers a call that has failed.
    fn fail(&mut self, stream: u32, one_way: bool, fault: &Fault) {
        self.mux.close(stream, self.out.small());
        let (mode, compression, codec) = (Mode::Call, Compression::NONE, CodecId::RAW);
        let head = Head { version: 0, mode, compression, codec, seq: u64::from(stream) };
        let mut frame = hemi_core::io::pool::take();
        if one_way {
            write_end(Wire::Hrpc, &mut frame, &head);
        } else {
            self.server.counters.faults.add(1);
            write_fault(Wire::Hrpc, &mut frame, &head, b"", b"", fault, Pairs::NONE);
        }
        self.answer(stream, frame);
    }

    /// Answers those whose message did not become whole in time.
    pub(super) fn expire(&mut self) {
        let (mut late, mut earliest) = (Vec::new(), Moment::NEVER);
        for (stream, running) in self.mux.iter() {
            if let Running::Gathering(call) = running {
                if call.deadline <= self.waits.now {
                    late.push((stream, call.one_way));
                } else {
                    earliest = earliest.min(call.deadline);
                }
            }
        }
        self.earliest = earliest;
        for (stream, one_way) in late {
            self.server.counters.timeouts.add(1);
            self.fail(stream, one_way, &Fault::too_late());
        }
    }
}
