//! The state of a connection.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::block::Block;
use super::budget::Budget;
use super::frame::{flag, put_goaway, put_ping, put_rst_stream, put_settings, put_window_update};
use super::hpack::{Decoder, Encoder};
use super::receive::DataFrame;
use super::settings::{DEFAULT_WINDOW, id};
use super::stream::{Stream, Streams};
use super::{ConnectionError, ErrorCode, Settings};
use crate::http1::{BodyLength, HeadError, HeadLimits, RequestHead};
use crate::message::Malformed;
use crate::priority::Priority;

/// What a server allows its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Limits on heads.
    pub heads: HeadLimits,
    /// Streams at once, at most.
    pub max_streams: u32,
    /// Bytes of content that a client may send on a stream before they are read: at first,
    pub stream_window: u32,
    /// and when its reader keeps up.
    pub max_stream_window: u32,
    /// Bytes of content on all streams together.
    pub window: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heads: HeadLimits::default(),
            max_streams: 128,
            stream_window: 256 << 10,
            max_stream_window: 1 << 20,
            window: 1 << 20,
        }
    }
}

/// What frames have to say about requests.
#[derive(Debug)]
pub enum Event {
    /// A request, whose head is in the place that was lent.
    Request {
        /// Its stream.
        stream: u32,
    },
    /// A request that is to be answered by this fault's status.
    Refused {
        /// Its stream.
        stream: u32,
        /// The fault.
        error: HeadError,
    },
    /// A request that was malformed. Its stream was reset.
    Malformed(Malformed),
    /// Content, never empty. It counts against the windows until [`Connection::read`] is told.
    Data {
        /// Its stream.
        stream: u32,
        /// The bytes.
        data: Bytes,
    },
    /// The end of the content.
    End {
        /// Its stream.
        stream: u32,
        /// The fields after it.
        trailers: Option<HeaderMap>,
    },
    /// The stream is closed, by the client or for its fault: there is nobody to answer to.
    Reset {
        /// The stream.
        stream: u32,
        /// Why.
        code: ErrorCode,
    },
}

/// How far a connection is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// It is not.
    No,
    /// The client was told not to begin new streams, and may not know yet.
    Announced,
    /// The client knows; no stream after this one is served.
    After(u32),
}

/// A connection, as a server sees it.
#[derive(Debug)]
pub struct Connection {
    pub(super) config: Config,
    pub(super) peer: Settings,
    pub(super) budget: Budget,
    pub(super) streams: Streams,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    /// Memory for strings of fields,
    pub(super) strings: BytesMut,
    /// and for the fields of requests.
    pub(super) fields: BytesMut,
    /// What of the preface is still to come.
    pub(super) preface: &'static [u8],
    /// The first frame has come.
    pub(super) begun: bool,
    /// SETTINGS that the client has not acknowledged yet.
    pub(super) unacknowledged: u32,
    /// A block that is to be continued by the next frame.
    pub(super) block: Option<Box<Block>>,
    /// A frame of DATA that has not come whole.
    pub(super) data: Option<DataFrame>,
    /// The highest id that the client has used.
    pub(super) last: u32,
    /// Bytes that the client may still send.
    pub(super) receive_window: i64,
    /// Bytes that were read, but that the client was not told of yet.
    pub(super) read: u32,
    /// Bytes that the client still takes.
    pub(super) send_window: i64,
    /// Counts turns of streams.
    pub(super) turns: u32,
    pub(super) shutdown: Shutdown,
    /// The client wants no more streams.
    pub(super) peer_leaves: bool,
    pub(super) failed: bool,
}

/// What tells the answer to our PING before the second GOAWAY from others.
pub(super) const LAST_CALL: [u8; 8] = *b"lastcall";

impl Connection {
    /// A connection whose client has still to send its [`PREFACE`](super::PREFACE). Puts what a server begins
    /// with.
    #[must_use]
    pub fn new(config: Config, out: &mut BytesMut) -> Self {
        let heads = u32::try_from(config.heads.head_size).unwrap_or(u32::MAX);
        put_settings(
            out,
            &[
                (id::MAX_CONCURRENT_STREAMS, config.max_streams),
                (id::INITIAL_WINDOW_SIZE, config.stream_window),
                (id::MAX_HEADER_LIST_SIZE, heads),
                (id::ENABLE_CONNECT_PROTOCOL, 1),
                (id::NO_RFC7540_PRIORITIES, 1),
            ],
        );
        let window = config.window.max(DEFAULT_WINDOW);
        if window > DEFAULT_WINDOW {
            put_window_update(out, 0, window - DEFAULT_WINDOW);
        }
        Self {
            config: Config { window, ..config },
            peer: Settings::default(),
            budget: Budget::default(),
            streams: Streams::default(),
            decoder: Decoder::default(),
            encoder: Encoder::default(),
            strings: BytesMut::new(),
            fields: BytesMut::new(),
            preface: super::PREFACE,
            begun: false,
            unacknowledged: 1,
            block: None,
            data: None,
            last: 0,
            receive_window: window.into(),
            read: 0,
            send_window: DEFAULT_WINDOW.into(),
            turns: 0,
            shutdown: Shutdown::No,
            peer_leaves: false,
            failed: false,
        }
    }

    /// Begins the stream 1 of a client that has upgraded from HTTP/1.1 by a request without content
    /// (RFC 7540 section 3.2).
    pub fn upgraded(&mut self, settings: Settings, head: &RequestHead) {
        self.apply_settings(settings);
        self.last = 1;
        self.begin_stream(1, head, true);
    }

    /// Whether no request is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether a frame, or a block of fields, has come in part.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        !self.begun || self.block.is_some()
    }

    /// Whether the connection has come to its end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let ends = matches!(self.shutdown, Shutdown::After(_)) || self.peer_leaves;
        self.failed || (ends && self.streams.is_empty())
    }

    /// How far it is on its way there.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown
    }

    /// Time has passed: patience with the client is won back.
    pub fn earn(&mut self, gain: u32) {
        self.budget.earn(gain);
    }

    /// Asks the client to begin no more streams. It is given the time of a PING to learn of it, then
    /// [`last_call`](Self::last_call) follows by itself (RFC 9113 section 6.8).
    pub fn shut_down(&mut self, out: &mut BytesMut) {
        if self.shutdown == Shutdown::No {
            self.shutdown = Shutdown::Announced;
            put_goaway(out, u32::MAX >> 1, ErrorCode::NO_ERROR, "");
            put_ping(out, 0, LAST_CALL);
        }
    }

    /// Serves no stream after those that there were.
    pub fn last_call(&mut self, out: &mut BytesMut) {
        if !matches!(self.shutdown, Shutdown::After(_)) {
            self.shutdown = Shutdown::After(self.last);
            put_goaway(out, self.last, ErrorCode::NO_ERROR, "");
        }
    }

    /// Ends the connection at once.
    pub fn fail(&mut self, error: ConnectionError, out: &mut BytesMut) {
        if !self.failed {
            self.failed = true;
            put_goaway(out, self.last, error.code, error.reason);
        }
    }

    /// Resets a stream that is not closed.
    pub fn reset(&mut self, stream: u32, code: ErrorCode, out: &mut BytesMut) {
        if self.streams.find(stream).is_some() {
            put_rst_stream(out, stream, code);
            self.streams.reset(stream);
        }
    }

    /// Lets go of memory that an idle connection needs not.
    pub fn release(&mut self) {
        self.streams.release();
        (self.strings, self.fields) = (BytesMut::new(), BytesMut::new());
    }

    pub(super) fn begin_stream(&mut self, id: u32, head: &RequestHead, received_all: bool) {
        let priority = head.headers.first(PRIORITY).map(Priority::parse);
        let left = match head.framing {
            BodyLength::Sized(length) => Some(length),
            _ => None,
        };
        self.streams.push(Stream {
            id,
            priority: priority.unwrap_or_default(),
            received_all,
            sent_all: false,
            // What a request without content may not have, or has no end of.
            unread: head.framing.is_empty() && !head.upgrade,
            ready: false,
            dropped: 0,
            left,
            receive_window: self.config.stream_window.into(),
            read: 0,
            window_size: self.config.stream_window,
            send_window: self.peer.initial_window.into(),
            served: 0,
        });
    }

    pub(super) fn apply_settings(&mut self, mut settings: Settings) {
        if let Some(size) = settings.header_table_size.take() {
            self.encoder.resize(size);
        }
        let change = i64::from(settings.initial_window) - i64::from(self.peer.initial_window);
        for stream in self.streams.iter_mut() {
            stream.send_window += change;
        }
        self.peer = settings;
    }
}

const PRIORITY: &str = "priority";

pub(super) fn put_pong(out: &mut BytesMut, opaque: [u8; 8]) {
    put_ping(out, flag::ACK, opaque);
}
