//! Requests that wait, and answers that take their time.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use hemi_core::BoxFuture;
use hemi_core::clock::Moment;
use hemi_core::gate::Phase;
use hemi_core::panics::{Panicked, catch};
use hemi_proto::http2::{End, ErrorCode, Turn};
use http::HeaderMap;
use tracing::debug;

use super::Line;
use super::content::{Broken, Content, Next};
use super::respond::put_early_hints;
use super::tunnel::Portal;
use super::upload::Upload;
use crate::conn::exchange::Moved;
use crate::conn::watch::Pace;
use crate::http_config::{HttpConfig, Limit};
use crate::httpx::Shared;
use crate::response::Until;
use crate::webapp::{Answered, Position, Webapp};
use crate::{Interim, Request};

/// A request that is not answered, or not wholly so.
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) waker: Waker,
    pub(super) webapp: Option<Arc<Webapp>>,
    pub(super) began: Option<Instant>,
    pub(super) upload: Option<Upload>,
    /// What the client has sent of another protocol before it was agreed on.
    pub(super) early: BytesMut,
    pub(super) work: Work,
    /// When all must be over.
    pub(super) total: Moment,
    /// When the next deadline is.
    pub(super) due: Moment,
}

#[expect(clippy::large_enum_variant, reason = "it is in the box of its stream")]
pub(super) enum Work {
    /// Somebody is asked for the answer.
    Asking(BoxFuture<'static, (Request, Answered)>, Option<Interim>),
    /// The answer is sent.
    Sending(Sending),
    /// The stream has left HTTP.
    Tunnel(Option<BoxFuture<'static, Result<(), Panicked>>>, Portal),
    Over,
}

/// An answer whose head was sent.
pub(super) struct Sending {
    pub(super) req: Request,
    pub(super) answered: Answered,
    pub(super) content: Content,
    pub(super) sent: u64,
    pub(super) pace: Pace,
}

/// Asks on, where somebody has to wait.
pub(super) fn ask_on(
    server: Arc<Shared>,
    webapp: Arc<Webapp>,
    mut req: Request,
    at: Position,
) -> BoxFuture<'static, (Request, Answered)> {
    Box::pin(async move {
        let answered = server.ask_on(&webapp, &mut req, at).await;
        (req, answered)
    })
}

/// Goes on after HTTP.
pub(super) fn go_on(
    work: BoxFuture<'static, ()>,
) -> Option<BoxFuture<'static, Result<(), Panicked>>> {
    Some(Box::pin(async move { catch(pin!(work)).await }))
}

impl Stream {
    /// Does what can be done without waiting; ready when the stream is over.
    pub(super) fn poll(&mut self, line: &mut Line<'_>) -> Poll<()> {
        let waker = self.waker.clone();
        let mut cx = Context::from_waker(&waker);
        loop {
            let polled = match &mut self.work {
                Work::Asking(..) => self.poll_asking(&mut cx, line),
                Work::Sending(_) => self.poll_sending(&mut cx, line),
                Work::Tunnel(..) => return self.poll_tunnel(&mut cx, line),
                Work::Over => return Poll::Ready(()),
            };
            let fed = polled.is_pending()
                && self.upload.as_mut().is_some_and(|upload| upload.pump(&cx, self.id, line));
            if polled.is_pending() && !fed {
                return Poll::Pending;
            }
        }
    }

    fn poll_asking(&mut self, cx: &mut Context<'_>, line: &mut Line<'_>) -> Poll<()> {
        let Work::Asking(answer, interim) = &mut self.work else { return Poll::Ready(()) };
        let polled = answer.as_mut().poll(cx);
        for fields in interim.iter().flat_map(Interim::take) {
            put_early_hints(self.id, &fields, line);
        }
        let Poll::Ready((req, answered)) = polled else { return Poll::Pending };
        self.work = Work::Over;
        self.answer(req, answered, line);
        Poll::Ready(())
    }

    fn poll_sending(&mut self, cx: &mut Context<'_>, line: &mut Line<'_>) -> Poll<()> {
        let Work::Sending(sending) = &mut self.work else { return Poll::Ready(()) };
        let drains = line.watch.phase() != Phase::Serving;
        let next = if drains && sending.answered.response.until() == Until::Drain {
            Poll::Ready(Ok(Next::End(None)))
        } else {
            sending.content.poll(cx)
        };
        match next {
            Poll::Pending => {
                line.proto.set_ready(self.id, false);
                return Poll::Pending;
            }
            Poll::Ready(Ok(Next::Bytes)) => {
                line.proto.set_ready(self.id, true);
                return Poll::Pending;
            }
            Poll::Ready(Ok(Next::End(None))) => {
                line.proto.data(self.id, 0, End::Stream, line.out.small());
            }
            Poll::Ready(Ok(Next::End(Some(trailers)))) => {
                if let Some(head) = line.proto.head(self.id, line.out.small()) {
                    head.fields(&trailers).finish(End::Stream);
                }
            }
            Poll::Ready(Err(broken)) => self.break_off(broken, line),
        }
        self.finish(line.server);
        Poll::Ready(())
    }

    /// Sends a frame, for it is the stream's turn; ready when the stream is over.
    pub(super) fn send(&mut self, turn: Turn, line: &mut Line<'_>) -> Poll<()> {
        match &mut self.work {
            Work::Sending(sending) => match sending.content.send(turn, line) {
                Ok((sent, end)) => {
                    sending.sent += sent;
                    sending.pace.progress(sent);
                    if end == End::Stream {
                        self.finish(line.server);
                    }
                }
                Err(broken) => {
                    self.break_off(broken, line);
                    self.finish(line.server);
                }
            },
            Work::Tunnel(_, portal) => {
                let bytes = portal.take(turn.most);
                let head = line.proto.begin_data(self.id, bytes.len(), End::No);
                line.out.push_framed(&head, bytes);
            }
            Work::Asking(..) | Work::Over => {}
        }
        self.poll(line)
    }

    fn poll_tunnel(&mut self, cx: &mut Context<'_>, line: &mut Line<'_>) -> Poll<()> {
        let Work::Tunnel(work, portal) = &mut self.work else { return Poll::Ready(()) };
        if let Some(running) = work
            && let Poll::Ready(done) = running.as_mut().poll(cx)
        {
            *work = None;
            if let Err(panic) = done {
                line.server.counters.panics.add(1);
                tracing::error!("upgraded stream panicked: {panic}");
                line.proto.reset(self.id, ErrorCode::INTERNAL_ERROR, line.out.small());
                return Poll::Ready(());
            }
        }
        let read = portal.take_read();
        if read > 0 {
            line.proto.read(self.id, read, line.out.small());
        }
        if portal.tells_end() {
            line.proto.data(self.id, 0, End::Stream, line.out.small());
        }
        if work.is_none() && portal.is_over() {
            // If the client has not ended its side, there is nobody to read it.
            line.proto.reset(self.id, ErrorCode::NO_ERROR, line.out.small());
            return Poll::Ready(());
        }
        line.proto.set_ready(self.id, portal.has_data());
        Poll::Pending
    }

    /// The client has sent this.
    pub(super) fn receive(&mut self, data: Bytes, line: &mut Line<'_>) {
        match (&self.work, &mut self.upload) {
            (Work::Tunnel(_, portal), _) => portal.receive(&data),
            (_, Some(upload)) => upload.receive(data, self.id, line),
            // Which is bounded by the window.
            (Work::Asking(..), None) => self.early.extend_from_slice(&data),
            (_, None) => line.proto.read(self.id, data.len(), line.out.small()),
        }
    }

    /// The client has sent all.
    pub(super) fn received_all(&mut self, trailers: Option<HeaderMap>) {
        match (&self.work, &mut self.upload) {
            (Work::Tunnel(_, portal), _) => portal.received_all(),
            (_, Some(upload)) => upload.received_all(trailers),
            (_, None) => {}
        }
    }

    /// Only a reset tells the client that what it has is not all.
    fn break_off(&mut self, broken: Broken, line: &mut Line<'_>) {
        let Work::Sending(sending) = &self.work else { return };
        match broken {
            Broken::Panicked(panic) => line.server.count_panic(&sending.req, &panic),
            Broken::Body(e) => {
                if let Some((_, limit)) = self.upload.as_ref().and_then(Upload::fault) {
                    line.server.hit(&sending.req.peer(), limit);
                }
                debug!(request = %sending.req.id(), "an answer breaks off: {e}");
            }
        }
        line.proto.reset(self.id, ErrorCode::INTERNAL_ERROR, line.out.small());
    }

    /// The answer is over: who wants to know is told.
    fn finish(&mut self, server: &Shared) {
        if let Work::Sending(mut sending) = std::mem::replace(&mut self.work, Work::Over) {
            let received = self.upload.as_ref().map_or(0, Upload::received);
            let moved = Moved { began: self.began, received, sent: sending.sent };
            server.record(self.webapp.as_deref(), &mut sending.req, &sending.answered, moved);
        }
    }

    /// The stream is over, whole or not: who was cut under way has a line in the log too.
    pub(super) fn end(mut self: Box<Self>, server: &Shared) {
        self.finish(server);
    }

    /// Which of its deadlines has passed. Content that is late fails; nothing else is done yet.
    pub(super) fn expire(&mut self, now: Moment, config: &HttpConfig) -> Limit {
        if self.total <= now {
            return Limit::TotalTimeout;
        }
        if let Some(upload) = &mut self.upload
            && upload.due(config) <= now
        {
            upload.expire();
            return Limit::BodyTimeout;
        }
        Limit::SendTimeout
    }
}

/// The streams of a connection, in the order of their ids.
#[derive(Default)]
pub(super) struct Streams {
    #[expect(clippy::vec_box, reason = "they are moved whenever one before them ends")]
    all: Vec<Box<Stream>>,
    woken: Vec<u32>,
}

impl Streams {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Adds a stream, to be polled.
    pub(super) fn push(&mut self, stream: Box<Stream>) {
        self.wake(stream.id);
        self.all.push(stream);
    }

    fn index(&self, id: u32) -> Option<usize> {
        self.all.binary_search_by_key(&id, |stream| stream.id).ok()
    }

    pub(super) fn find(&mut self, id: u32) -> Option<&mut Stream> {
        let index = self.index(id)?;
        self.all.get_mut(index).map(|stream| &mut **stream)
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Box<Stream>> {
        self.index(id).map(|index| self.all.remove(index))
    }

    /// Takes all.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Box<Stream>> + use<> {
        std::mem::take(&mut self.all).into_iter()
    }

    /// Has a stream be polled.
    pub(super) fn wake(&mut self, id: u32) {
        if !self.woken.contains(&id) {
            self.woken.push(id);
        }
    }

    pub(super) fn wake_all(&mut self) {
        self.woken = self.all.iter().map(|stream| stream.id).collect();
    }

    pub(super) fn take_woken(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.woken)
    }

    /// The first deadline of all of them; `blocked` tells who waits for its window to be opened.
    pub(super) fn due(&mut self, config: &HttpConfig, blocked: impl Fn(u32) -> bool) -> Moment {
        let mut first = Moment::NEVER;
        for stream in &mut self.all {
            let mut due = stream.total;
            if let Some(upload) = &mut stream.upload {
                due = due.min(upload.due(config));
            }
            if let Work::Sending(sending) = &mut stream.work
                && blocked(stream.id)
            {
                due = due.min(sending.pace.wait(config.send_timeout, config));
            }
            stream.due = due;
            first = first.min(due);
        }
        first
    }

    /// Those whose deadline has passed.
    pub(super) fn expired(&self, now: Moment) -> Vec<u32> {
        self.all.iter().filter(|stream| stream.due <= now).map(|stream| stream.id).collect()
    }

    pub(super) fn release(&mut self) {
        (self.all, self.woken) = (Vec::new(), Vec::new());
    }
}
