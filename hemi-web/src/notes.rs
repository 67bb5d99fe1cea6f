//! What is noted about some requests besides what they say.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use hemi_core::clock;
use hemi_core::tracer::Span;
use hemi_proto::ascii::push_hex;
use hemi_proto::http1::Target;
use http::HeaderMap;

use crate::Response;
use crate::session::{Session, Sessions};

/// What only some requests have.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) id: Option<Box<str>>,
    pub(crate) user: Option<Box<str>>,
    pub(crate) hooks: Vec<Hook>,
    /// Those of the webapp that the request is for, if it has any.
    pub(crate) sessions: Option<Sessions>,
    /// The client's, once it was asked for.
    pub(crate) session: Option<Session>,
    /// The target that was sent, if the request was given another since.
    pub(crate) sent: Option<Target>,
    /// Where the handlets are that asked whether it is new to them.
    pub(crate) seen_by: Vec<usize>,
    /// If its webapp has a tracer.
    pub(crate) span: Option<Span>,
    /// A program of ours, and no client, has said what it is for now.
    pub(crate) internal: bool,
    /// How often rules were asked from the start again.
    pub(crate) rounds: u8,
}

/// A change to a response that is still to be made.
pub(crate) struct Hook(pub(crate) Box<dyn FnOnce(&mut Response) + Send>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// Tells a request from all others of all times and processes: when the process began, the connection,
/// and the request's number on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestId {
    conn: u64,
    number: u32,
}

/// Numbers of connections that a thread takes at once, to share nothing while it serves.
const TAKEN: u64 = 1 << 10;

impl RequestId {
    /// For the requests of a new connection.
    pub(crate) fn of_connection() -> Self {
        thread_local! {
            static NEXT: Cell<u64> = const { Cell::new(0) };
        }
        static FREE: AtomicU64 = AtomicU64::new(0);
        let mut conn = NEXT.get();
        if conn.is_multiple_of(TAKEN) {
            conn = FREE.fetch_add(TAKEN, Ordering::Relaxed);
        }
        NEXT.set(conn + 1);
        Self { conn, number: 0 }
    }

    /// Appends the same as `Display`, in less time.
    pub(crate) fn put(self, text: &mut Vec<u8>) {
        text.extend_from_slice(PROCESS.as_bytes());
        text.push(b'-');
        push_hex(text, self.conn);
        text.push(b'-');
        push_hex(text, self.number.into());
    }

    /// Moves on to the next request.
    pub(crate) fn next(&mut self) {
        self.number = self.number.wrapping_add(1);
    }
}

/// When this process began, in microseconds, mixed with its number: in 16 hexadecimal digits.
static PROCESS: LazyLock<String> = LazyLock::new(|| {
    let since = clock::calendar().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{:016x}", (since.as_micros() as u64) << 8 ^ u64::from(std::process::id()))
});

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}-{:x}", *PROCESS, self.conn, self.number)
    }
}

/// Where early hints go on their way from a handlet to its connection.
#[derive(Clone, Debug, Default)]
pub struct Interim(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Vec<HeaderMap>>,
    /// How many there were for this request.
    count: AtomicU32,
}

/// What tells a request from all others, to be shown.
#[derive(Clone, Copy, Debug)]
pub struct ShownId<'a> {
    pub(crate) given: Option<&'a str>,
    pub(crate) own: RequestId,
}

impl fmt::Display for ShownId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.given {
            Some(id) => f.write_str(id),
            None => self.own.fmt(f),
        }
    }
}

/// So many hints a request may be given.
const MOST: u32 = 16;

impl Interim {
    /// Sends a 103 with these fields, as [`Request::early_hints`] does; false if there were too many.
    ///
    /// [`Request::early_hints`]: crate::Request::early_hints
    pub fn push(&self, fields: HeaderMap) -> bool {
        let room = self.0.count.fetch_add(1, Ordering::Relaxed) < MOST;
        if room {
            self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(fields);
        }
        room
    }

    /// Takes what waits.
    pub(crate) fn take(&self) -> Vec<HeaderMap> {
        if self.0.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins another request.
    pub(crate) fn reset(&self) {
        self.0.count.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_between_connections_and_requests() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..TAKEN + 5 {
            let mut id = RequestId::of_connection();
            for _ in 0..2 {
                id.next();
                assert!(seen.insert(id.to_string()), "{id}");
                let mut text = Vec::new();
                id.put(&mut text);
                assert_eq!(text, id.to_string().as_bytes());
            }
        }
    }
}
