//! One call under way: its argument is read, the method runs, and the answer is written.

use std::borrow::Cow;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use hemi_core::BoxFuture;
use hemi_core::clock::{self, Moment};
use hemi_core::deadline::{Deadline, Group};
use hemi_core::io::pool;
use hemi_core::listen::Peer;
use hemi_core::panics::{Panicked, catch, catch_call};
use hemi_proto::hrpc::{self, Code, Flags, Replied};
use hemi_proto::rpcx::{Compression, ERROR_KEY, Frame, Head, Metadata, Mode, Open, Pairs};
use tracing::error;

use crate::hrpc::{failure_metadata, fits_metadata};
use crate::server::Shared;
use crate::{Call, CodecError, DynService, Fault, Payload, Pusher};

/// Bytes of a payload that a frame has room for, whatever stands before it.
const MOST: usize = u32::MAX as usize - (1 << 20);

/// In what frames an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Rpcx,
    /// The number of a call is that of its stream; frames may be longer than they may be there.
    Hrpc,
}

/// A service, as one connection knows it.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: String,
    pub(crate) service: Arc<dyn DynService>,
}

/// A call that a service is to answer.
pub struct Exchange<'a> {
    pub(crate) frame: Frame<'a>,
    /// Decompressed, if it came compressed.
    pub(crate) payload: Cow<'a, [u8]>,
    pub(crate) deadline: Moment,
    pub(crate) peer: Peer,
    pub(crate) route: &'a Arc<Route>,
    pub(crate) pusher: &'a Pusher,
    pub(crate) server: &'a Arc<Shared>,
    pub(crate) wire: Wire,
    pub(crate) out: &'a mut BytesMut,
}

/// What has become of a call.
#[must_use = "the server has to know"]
pub struct Outcome(pub(crate) Done);

pub(crate) enum Done {
    /// The answer is written, if there is to be one.
    Now,
    /// It is still to come.
    Later(Box<Pending>),
}

/// What an answer needs to know of its call.
#[derive(Clone)]
pub(crate) struct Asked {
    wire: Wire,
    head: Head,
    route: Arc<Route>,
    method: &'static str,
    server: Arc<Shared>,
}

/// A call that waits, and is part of its connection's task.
pub(crate) struct Pending {
    /// Ends with the frame of the answer.
    work: BoxFuture<'static, BytesMut>,
    asked: Asked,
    deadline: Moment,
    alarm: Option<Deadline>,
}

/// What an answer is made of, but for the reply.
struct Answer<'a> {
    wire: Wire,
    head: Head,
    service: &'a str,
    method: &'a [u8],
    compression: Compression,
}

impl<'a> Exchange<'a> {
    /// What is asked for.
    #[must_use]
    pub fn method(&self) -> &'a [u8] {
        self.frame.method
    }

    /// Answers at once.
    pub fn now<A, R, E, F>(self, method: &'static str, work: F) -> Outcome
    where
        A: Payload,
        R: Payload,
        E: Into<Fault>,
        F: FnOnce(A) -> Result<R, E>,
    {
        let answer = self.answer(method);
        let read = A::decode(self.frame.head.codec, &self.payload);
        let result = read.map_err(unreadable).and_then(|args| {
            let done = catch_call(|| work(args).map_err(Into::into));
            done.unwrap_or_else(|panic| Err(self.server.panicked(&panic)))
        });
        answer.write(self.out, result, Pairs::NONE, self.server);
        Outcome(Done::Now)
    }

    /// The same for a method that wants to know of the call.
    pub fn now_with<A, R, E, F>(self, method: &'static str, work: F) -> Outcome
    where
        A: Payload,
        R: Payload,
        E: Into<Fault>,
        F: FnOnce(&mut Call, A) -> Result<R, E>,
    {
        let mut call = self.call();
        let answer = self.answer(method);
        let read = A::decode(self.frame.head.codec, &self.payload);
        let result = read.map_err(unreadable).and_then(|args| {
            let done = catch_call(|| work(&mut call, args).map_err(Into::into));
            done.unwrap_or_else(|panic| Err(self.server.panicked(&panic)))
        });
        answer.write(self.out, result, call.reply.pairs(), self.server);
        Outcome(Done::Now)
    }

    /// Answers when the future is done.
    pub fn wait<A, R, E, F, Fut>(self, method: &'static str, work: F) -> Outcome
    where
        A: Payload,
        R: Payload,
        E: Into<Fault>,
        F: FnOnce(A) -> Fut,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
    {
        match A::decode(self.frame.head.codec, &self.payload) {
            Ok(args) => {
                let work = work(args);
                self.later(method, async move { (Metadata::new(), work.await.map_err(Into::into)) })
            }
            Err(e) => self.fail(method.as_bytes(), unreadable(e)),
        }
    }

    /// The same for a method that wants to know of the call.
    pub fn wait_with<A, R, E, F, Fut>(self, method: &'static str, work: F) -> Outcome
    where
        A: Payload,
        R: Payload,
        E: Into<Fault>,
        F: FnOnce(Call, A) -> Fut,
        Fut: Future<Output = (Call, Result<R, E>)> + Send + 'static,
    {
        match A::decode(self.frame.head.codec, &self.payload) {
            Ok(args) => {
                let work = work(self.call(), args);
                self.later(method, async move {
                    let (call, result) = work.await;
                    (call.reply, result.map_err(Into::into))
                })
            }
            Err(e) => self.fail(method.as_bytes(), unreadable(e)),
        }
    }

    /// Says that there is no such method. The text is that of Go.
    pub fn unknown_method(self) -> Outcome {
        let method = String::from_utf8_lossy(self.frame.method);
        let fault = Fault::new(format!("rpcx: can't find method {method}"));
        let fault = fault.with_code(Code::UNIMPLEMENTED);
        let method = self.frame.method;
        self.fail(method, fault)
    }

    pub(crate) fn fail(self, method: &[u8], fault: Fault) -> Outcome {
        let answer = Answer { method, ..self.answer("") };
        answer.write::<()>(self.out, Err(fault), Pairs::NONE, self.server);
        Outcome(Done::Now)
    }

    fn later<R, F>(self, method: &'static str, work: F) -> Outcome
    where
        R: Payload,
        F: Future<Output = (Metadata, Result<R, Fault>)> + Send + 'static,
    {
        let (route, server) = (self.route.clone(), self.server.clone());
        let asked = Asked { wire: self.wire, head: self.frame.head, route, method, server };
        let own = asked.clone();
        let work = Box::pin(async move {
            let (metadata, result) = match catch(pin!(work)).await {
                Ok(done) => done,
                Err(panic) => (Metadata::new(), Err(own.server.panicked(&panic))),
            };
            own.frame(result, &metadata)
        });
        let deadline = self.deadline;
        Outcome(Done::Later(Box::new(Pending { work, asked, deadline, alarm: None })))
    }

    fn call(&self) -> Call {
        Call {
            peer: self.peer,
            metadata: self.frame.metadata.into(),
            deadline: self.deadline,
            reply: Metadata::new(),
            pusher: self.pusher.clone(),
        }
    }

    fn answer(&self, method: &'static str) -> Answer<'a> {
        let head = self.frame.head;
        Answer {
            wire: self.wire,
            head,
            service: &self.route.name,
            method: method.as_bytes(),
            compression: head.compression,
        }
    }
}

impl Asked {
    /// The answer, in a buffer of its own.
    fn frame<R: Payload>(&self, result: Result<R, Fault>, metadata: &Metadata) -> BytesMut {
        if self.head.mode == Mode::OneWay && self.wire == Wire::Rpcx {
            return BytesMut::new();
        }
        let mut out = pool::take();
        let answer = Answer {
            wire: self.wire,
            head: self.head,
            service: &self.route.name,
            method: self.method.as_bytes(),
            compression: self.head.compression,
        };
        answer.write(&mut out, result, metadata.pairs(), &self.server);
        out
    }
}

impl Answer<'_> {
    fn write<R: Payload>(
        &self,
        out: &mut BytesMut,
        result: Result<R, Fault>,
        metadata: Pairs<'_>,
        server: &Shared,
    ) {
        if self.head.mode == Mode::OneWay {
            return write_end(self.wire, out, &self.head);
        }
        let fault = match result {
            Ok(reply) => {
                let Err(e) = self.write_reply(out, &reply, metadata, server) else { return };
                e.into()
            }
            Err(fault) => fault,
        };
        server.counters.faults.add(1);
        let service = self.service.as_bytes();
        write_fault(self.wire, out, &self.head, service, self.method, &fault, metadata);
    }

    fn write_reply<R: Payload>(
        &self,
        out: &mut BytesMut,
        reply: &R,
        metadata: Pairs<'_>,
        server: &Shared,
    ) -> Result<(), CodecError> {
        let head = self.head.answer(Mode::Answer);
        let fits = |written| match written {
            0..=MOST => Ok(()),
            _ => Err(CodecError::Unwritable("a reply of 4 GiB".to_owned())),
        };
        match self.wire {
            Wire::Rpcx => {
                let open = Open::begin(out, &head, self.service.as_bytes(), self.method, metadata);
                let written = reply.encode(head.codec, out).and_then(|()| fits(open.written(out)));
                match written {
                    Ok(()) => {
                        let compress =
                            |payload: &[u8]| server.compressions.pack(self.compression, payload);
                        open.end_by(out, self.compression, compress);
                    }
                    Err(_) => open.cancel(out),
                }
                written
            }
            Wire::Hrpc => {
                fits_metadata(metadata)?;
                let replied = Replied { code: Code::OK, metadata };
                let open = hrpc::Open::reply(out, head.seq as u32, &replied);
                let written = reply.encode(head.codec, out).and_then(|()| fits(open.written(out)));
                match written {
                    Ok(()) => {
                        let flags = Flags::MESSAGE.and(Flags::END);
                        let compress = |message: &[u8]| {
                            server.hrpc_compressions.pack(self.compression, message)
                        };
                        open.end_by(out, flags, self.compression, compress);
                    }
                    Err(_) => open.cancel(out),
                }
                written
            }
        }
    }
}

/// What the caller is told whose argument is not understood.
fn unreadable(e: CodecError) -> Fault {
    let code = match e {
        CodecError::Unknown(_) => Code::UNIMPLEMENTED,
        _ => Code::INVALID_ARGUMENT,
    };
    Fault::from(e).with_code(code)
}

/// Says that a call is over that wants no answer, where that is told.
pub(crate) fn write_end(wire: Wire, out: &mut BytesMut, asked: &Head) {
    if wire == Wire::Hrpc {
        let replied = Replied { code: Code::OK, metadata: Pairs::NONE };
        let open = hrpc::Open::reply(out, asked.seq as u32, &replied);
        open.end(out, Flags::END, Compression::NONE);
    }
}

/// Writes the answer to a call that has failed.
pub(crate) fn write_fault(
    wire: Wire,
    out: &mut BytesMut,
    asked: &Head,
    service: &[u8],
    method: &[u8],
    fault: &Fault,
    metadata: Pairs<'_>,
) {
    match wire {
        Wire::Rpcx => {
            let mut metadata = Metadata::from(metadata);
            metadata.set(ERROR_KEY, fault.text());
            let head = asked.answer(Mode::Failure);
            let open = Open::begin(out, &head, service, method, metadata.pairs());
            out.extend_from_slice(fault.payload());
            open.end(out, asked.compression);
        }
        Wire::Hrpc => {
            let metadata = failure_metadata(metadata, fault.text());
            let replied = Replied { code: fault.code(), metadata: metadata.pairs() };
            let open = hrpc::Open::reply(out, asked.seq as u32, &replied);
            out.extend_from_slice(fault.payload());
            let message = if fault.payload().is_empty() { Flags::NONE } else { Flags::MESSAGE };
            open.end(out, message.and(Flags::END), asked.compression);
        }
    }
}

impl Pending {
    /// Begins the work, which may be done at once.
    pub(crate) fn start(&mut self, cx: &mut Context<'_>) -> Poll<BytesMut> {
        self.work.as_mut().poll(cx)
    }
}

impl Future for Pending {
    type Output = BytesMut;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BytesMut> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = this.work.as_mut().poll(cx) {
            return Poll::Ready(frame);
        }
        if this.deadline == Moment::NEVER {
            return Poll::Pending;
        }
        if clock::now() >= this.deadline {
            this.asked.server.counters.timeouts.add(1);
            let late = Err::<(), _>(Fault::too_late());
            return Poll::Ready(this.asked.frame(late, &Metadata::new()));
        }
        this.alarm.get_or_insert_with(|| Deadline::new(Group::NONE, cx.waker())).set(this.deadline);
        Poll::Pending
    }
}

impl Shared {
    /// What the caller of a method that panicked is told.
    pub(crate) fn panicked(&self, panic: &Panicked) -> Fault {
        self.counters.panics.add(1);
        error!("a method panicked: {panic}");
        match &self.limits.panic_text {
            Some(text) => Fault::new(text.clone()),
            None => Fault::new(panic.to_string()),
        }
        .with_code(Code::INTERNAL)
    }
}
