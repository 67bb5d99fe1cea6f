//! Server-sent events (WHATWG HTML, 9.2): a stream of events to a browser.

use std::convert::Infallible;
use std::fmt::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};

use crate::body::{Body, Unread};
use crate::{Respond, Response};

/// A stream of events. A comment is sent when there has been none for 15 s, so that nobody on the way
/// takes the connection for dead. When the server drains, the stream has its end: browsers come back by
/// themselves, with the id of the last event in `last-event-id`.
///
/// ```
/// use hemi_web::testing::Client;
/// use hemi_web::{Event, Mapper, Sse};
///
/// async fn news() -> Sse {
///     let (events, sse) = Sse::channel(16);
///     tokio::spawn(async move {
///         for number in 1..=2 {
///             // Fails when the client is gone.
///             events.send(Event::data(format!("news {number}")).id(number)).await?;
///         }
///         Ok::<_, hemi_web::Unread>(())
///     });
///     sse
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let client = Client::of(Mapper::new().get("/", news));
/// let answer = client.get("/").send().await;
/// assert_eq!(answer.text(), "data: news 1\nid: 1\n\ndata: news 2\nid: 2\n\n");
/// # }
/// ```
pub struct Sse {
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    keep_alive: Duration,
}

/// An event, as it is sent.
///
/// ```
/// # use hemi_web::Event;
/// let event = Event::data("two\nlines").name("note");
/// assert_eq!(event.to_string(), "data: two\ndata: lines\nevent: note\n\n");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// All lines but the empty one at the end.
    lines: String,
}

impl Event {
    /// An event with this as its data, which may have several lines.
    #[must_use]
    pub fn data(text: impl AsRef<str>) -> Self {
        Self::default().lines("data", text.as_ref())
    }

    /// An event with this as JSON as its data.
    ///
    /// # Errors
    /// When it can't be JSON.
    pub fn json(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(Self::data)
    }

    /// A comment, which the client does not see.
    #[must_use]
    pub fn comment(text: impl AsRef<str>) -> Self {
        Self::default().lines("", text.as_ref())
    }

    /// The same with a name, which scripts listen for instead of `message`.
    #[must_use]
    pub fn name(self, name: impl AsRef<str>) -> Self {
        self.lines("event", &in_one_line(name.as_ref()))
    }

    /// The same with an id, which the client tells when it connects again.
    #[must_use]
    pub fn id(self, id: impl ToString) -> Self {
        self.lines("id", &in_one_line(&id.to_string()))
    }

    /// The same with how long the client is to wait before it connects again.
    #[must_use]
    pub fn retry(self, after: Duration) -> Self {
        self.lines("retry", &after.as_millis().to_string())
    }

    /// Adds a field with a line for each line of its value. All three ends of lines are such for the
    /// client.
    fn lines(mut self, field: &str, value: &str) -> Self {
        for line in value.replace("\r\n", "\n").split(['\r', '\n']) {
            // Writing to memory does not fail.
            let _ = writeln!(self.lines, "{field}: {line}");
        }
        self
    }
}

/// What can't be part of a name or id is a space instead.
fn in_one_line(value: &str) -> String {
    value.replace(['\r', '\n', '\0'], " ")
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.lines)
    }
}

/// Puts events into a stream: see [`Sse::channel`].
#[derive(Clone, Debug)]
pub struct EventSender(mpsc::Sender<Event>);

impl EventSender {
    /// Puts in an event, when there is room.
    ///
    /// # Errors
    /// When the client is gone, or the server has drained.
    pub async fn send(&self, event: Event) -> Result<(), Unread> {
        self.0.send(event).await.map_err(|_| Unread)
    }

    /// Is over when the client is gone, or the server has drained.
    pub async fn unread(&self) {
        self.0.closed().await;
    }
}

const KEEP_ALIVE: Duration = Duration::from_secs(15);

impl Sse {
    /// The events that a stream gives, to its end.
    pub fn new(events: impl Stream<Item = Event> + Send + 'static) -> Self {
        Self { events: Box::pin(events), keep_alive: KEEP_ALIVE }
    }

    /// Events that are put in one by one, of which up to `bound` wait to be sent. The stream has its end
    /// when all senders are dropped.
    ///
    /// # Panics
    /// When the bound is 0.
    #[must_use]
    pub fn channel(bound: usize) -> (EventSender, Self) {
        let (sender, events) = mpsc::channel(bound);
        (EventSender(sender), Self::new(Channel(events)))
    }

    /// The same with another time of silence after which a comment is sent.
    #[must_use]
    pub fn keep_alive(mut self, after: Duration) -> Self {
        self.keep_alive = after;
        self
    }
}

impl Respond for Sse {
    fn respond(self) -> Response {
        let silence = Box::pin(sleep(self.keep_alive));
        let lines = Lines { events: self.events, silence, keep_alive: self.keep_alive };
        Response::typed(HeaderValue::from_static("text/event-stream"), Body::from_stream(lines))
            .field(CACHE_CONTROL, HeaderValue::from_static("no-store"))
            .until_drain()
    }
}

impl std::fmt::Debug for Sse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sse").field("keep_alive", &self.keep_alive).finish_non_exhaustive()
    }
}

struct Channel(mpsc::Receiver<Event>);

impl Stream for Channel {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_recv(cx)
    }
}

/// Events as they are sent, and comments when there are none.
struct Lines {
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    silence: Pin<Box<Sleep>>,
    keep_alive: Duration,
}

impl Stream for Lines {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let line = match self.events.as_mut().poll_next(cx) {
            Poll::Ready(Some(event)) => event.to_string().into(),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => match self.silence.as_mut().poll(cx) {
                Poll::Ready(()) => Bytes::from_static(b":\n\n"),
                Poll::Pending => return Poll::Pending,
            },
        };
        let until = Instant::now() + self.keep_alive;
        self.silence.as_mut().reset(until);
        Poll::Ready(Some(Ok(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_ends_its_line() {
        let all = Event::data("a\rb\r\nc\n").name("n\nid: 7").id("i\0\r").retry(KEEP_ALIVE);
        let lines = "data: a\ndata: b\ndata: c\ndata: \nevent: n id: 7\nid: i  \nretry: 15000\n\n";
        assert_eq!(all.to_string(), lines);
        assert_eq!(Event::comment("a\nb").to_string(), ": a\n: b\n\n");
    }
}
