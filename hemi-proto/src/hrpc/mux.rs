//! The streams of one connection: what may be sent on them, and what has come.

mod receive;
mod send;
mod window;

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use bytes::BytesMut;

pub use self::send::{Chunk, Rest};
use self::window::Window;
use super::parts::reset;
use super::{Asked, CONN_CREDIT, Code, FIRST_STREAMS, Hello, Limits, Replied, STREAM_CREDIT};

/// Which side of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It calls.
    Client,
    /// It is called.
    Server,
}

/// What breaks a connection: it can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub &'static str);

/// Why there can be no further call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoStream {
    /// As many are under way as the server takes at once.
    Busy,
    /// All numbers of this connection have been used.
    Spent,
}

/// A message that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The number of its compression.
    pub compression: u8,
    /// It, compressed or not.
    pub bytes: Cow<'a, [u8]>,
    /// Bytes of credit that it holds until [`Mux::consumed`] is told of them.
    pub weight: usize,
}

/// What a frame means for others.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a, T> {
    /// Nothing.
    None,
    /// The other side has said what it can do.
    Hello(Hello),
    /// A call begins. Nothing is kept of it if `end` is set: see [`Mux::keep`].
    Call {
        /// Its stream.
        stream: u32,
        /// What is asked for.
        asked: Asked<'a>,
        /// Whether nothing is to be answered.
        one_way: bool,
        /// A message, if one is whole already.
        message: Option<Message<'a>>,
        /// Whether the caller sends no more.
        end: bool,
    },
    /// An answer begins.
    Reply {
        /// Its stream.
        stream: u32,
        /// How the call went, so far.
        replied: Replied<'a>,
        /// A message, if one is whole already.
        message: Option<Message<'a>>,
        /// Whether it is over: then the stream is to be closed.
        end: bool,
    },
    /// A message has come, or the end.
    Message {
        /// The stream.
        stream: u32,
        /// The message, if it is not only the end.
        message: Option<Message<'a>>,
        /// Whether its sender sends no more.
        end: bool,
    },
    /// An answer is over: the stream is to be closed.
    Trailers {
        /// The stream.
        stream: u32,
        /// How the call went.
        replied: Replied<'a>,
    },
    /// A stream was given up.
    Reset {
        /// The stream.
        stream: u32,
        /// What was kept with it.
        own: T,
        /// Why.
        code: Code,
        /// The same in words.
        text: &'a [u8],
    },
    /// A stream was given up by this side, for a message on it was too long.
    TooLong {
        /// The stream.
        stream: u32,
        /// What was kept with it.
        own: T,
    },
    /// A message that nobody has asked for.
    Push {
        /// Whom it is for.
        asked: Asked<'a>,
        /// It, and its compression.
        message: (u8, &'a [u8]),
    },
    /// No calls after this stream are looked at.
    Goaway {
        /// The last stream.
        last: u32,
        /// Why.
        code: Code,
        /// The same in words.
        text: &'a [u8],
    },
}

/// The streams of one connection, each with something of its user's.
#[derive(Debug)]
pub struct Mux<T> {
    side: Side,
    limits: Limits,
    /// Streams that the other side may have.
    most: usize,
    peer: Option<Hello>,
    /// The stream that was begun last.
    last: u32,
    streams: HashMap<u32, Stream<T>, BuildHasherDefault<Numbers>>,
    /// Those that something may be sent on, in turn.
    ready: VecDeque<u32>,
    /// Those that a long message comes on. The first is given credit until it is whole.
    long: VecDeque<u32>,
    window: Window,
    /// Bytes of whole messages that were not consumed, beyond what their streams may have anyway.
    held: u64,
    /// Bytes that may be sent.
    credit: u64,
    /// Bytes of what CALLs and REPLYs had no room for, and the streams they are on.
    rests: (usize, usize),
}

#[derive(Debug)]
struct Stream<T> {
    own: T,
    inbound: receive::Inbound,
    outbound: send::Outbound,
}

impl<T> Mux<T> {
    /// The side of a server, which has this many calls under way at most.
    #[must_use]
    pub fn server(limits: Limits, streams: usize) -> Self {
        Self::new(Side::Server, limits, streams)
    }

    /// The side of a client.
    #[must_use]
    pub fn client(limits: Limits) -> Self {
        Self::new(Side::Client, limits, 0)
    }

    fn new(side: Side, limits: Limits, most: usize) -> Self {
        Self {
            side,
            limits,
            most,
            peer: None,
            last: 0,
            streams: HashMap::default(),
            ready: VecDeque::new(),
            long: VecDeque::new(),
            window: Window::new(CONN_CREDIT),
            held: 0,
            credit: CONN_CREDIT,
            rests: (0, 0),
        }
    }

    /// What the other side can do, once it has said so.
    #[must_use]
    pub fn peer(&self) -> Option<&Hello> {
        self.peer.as_ref()
    }

    /// The stream that was begun last; 0 if there was none.
    #[must_use]
    pub fn last(&self) -> u32 {
        self.last
    }

    /// Streams that there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Bytes that wait to be sent because a CALL or REPLY had no room for them, and the streams that they wait on.
    #[must_use]
    pub fn rests(&self) -> (usize, usize) {
        self.rests
    }

    /// The stream of the next call.
    ///
    /// # Errors
    /// When there may be none now, or no more.
    pub fn next_stream(&self) -> Result<u32, NoStream> {
        let most = self.peer.map_or(FIRST_STREAMS, |peer| peer.streams) as usize;
        if self.streams.len() >= most {
            return Err(NoStream::Busy);
        }
        self.last.checked_add(1).ok_or(NoStream::Spent)
    }

    /// Takes [`Mux::next_stream`] into use.
    pub fn begin(&mut self, stream: u32, own: T) {
        self.last = stream;
        let inbound = receive::Inbound::new(false);
        self.streams.insert(stream, Stream { own, inbound, outbound: send::Outbound::default() });
    }

    /// Keeps a stream on which the caller sends no more.
    pub fn keep(&mut self, stream: u32, own: T) {
        let inbound = receive::Inbound::new(true);
        self.streams.insert(stream, Stream { own, inbound, outbound: send::Outbound::default() });
    }

    /// What is kept with a stream.
    pub fn get(&mut self, stream: u32) -> Option<&mut T> {
        self.streams.get_mut(&stream).map(|stream| &mut stream.own)
    }

    /// All streams, and what is kept with them.
    pub fn iter(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.streams.iter_mut().map(|(stream, kept)| (*stream, &mut kept.own))
    }

    /// A stream is over.
    pub fn close(&mut self, stream: u32, out: &mut BytesMut) -> Option<T> {
        let closed = self.streams.remove(&stream)?;
        if let Some(left) = closed.outbound.rest() {
            self.rests = (self.rests.0 - left, self.rests.1 - 1);
        }
        self.held -= beyond(closed.inbound.window.held);
        self.not_long(stream, out);
        self.advance_long(out);
        self.give(0, out);
        Some(closed.own)
    }

    /// Gives no credit on the connection for this many bytes, until they are [released](Mux::release): they wait for
    /// the other side to take what it is sent.
    pub fn withhold(&mut self, weight: usize) {
        self.window.held += weight as u64;
    }

    /// Gives credit for them again.
    pub fn release(&mut self, weight: usize, out: &mut BytesMut) {
        self.window.held -= self.window.held.min(weight as u64);
        self.give(0, out);
    }

    /// Gives a stream up.
    pub fn reset(&mut self, stream: u32, code: Code, text: &str, out: &mut BytesMut) -> Option<T> {
        let own = self.close(stream, out)?;
        reset(out, stream, code, text);
        Some(own)
    }
}

/// Streams are numbered in order, so that nobody can choose numbers that collide.
#[derive(Debug, Default)]
struct Numbers(u64);

impl Hasher for Numbers {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Credit that a stream is given in advance: more for the one whose long message is taken in.
fn advance(is_long: bool) -> u64 {
    if is_long { CONN_CREDIT / 2 } else { STREAM_CREDIT }
}

/// What a stream holds beyond what it may hold anyway.
fn beyond(held: u64) -> u64 {
    held.saturating_sub(STREAM_CREDIT)
}
