//! A connection: what is spoken on it is seen by what its directions begin with.

use hemi_proto::capture::Piece;
use hemi_proto::hrpc::{Begun, PREFACE, begun};
use hemi_proto::http2;
use hemi_proto::rpcx::{MAGIC, read_connect, read_connected};

use super::line::Line;
use super::{grpc, hrpc, rpcx};

/// Bytes that are kept of a direction until it is known what is spoken.
const UNKNOWN: usize = 64 << 10;

/// Bytes of a message that is not whole yet, at most.
const MOST: usize = 64 << 20;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The one who has spoken first.
    One,
    Other,
}

/// A connection that is followed.
#[derive(Default)]
pub(super) struct Conn {
    one: Direction,
    other: Direction,
    /// What both directions of gRPC and HRPC know of streams.
    grpc: grpc::Streams,
    hrpc: hrpc::Streams,
}

#[derive(Default)]
struct Direction {
    speaks: Speaks,
    buf: Vec<u8>,
}

#[derive(Default)]
enum Speaks {
    /// Nothing is known yet.
    #[default]
    Unknown,
    Rpcx,
    Hrpc,
    Http2(Box<http2::Watch>),
    /// Nothing that is followed.
    Other,
}

impl Conn {
    /// Takes what one side sends; what there is to tell is passed on.
    pub(super) fn take(&mut self, side: Side, piece: Piece<'_>, tell: &mut dyn FnMut(Line)) {
        match piece {
            Piece::Bytes(bytes) => {
                let (direction, _) = self.directions(side);
                if !matches!(direction.speaks, Speaks::Other) {
                    direction.buf.extend_from_slice(bytes);
                }
            }
            Piece::Lost(count) => {
                let (direction, _) = self.directions(side);
                if !matches!(direction.speaks, Speaks::Other) {
                    let line = Line::new("tcp", "lost").fact("bytes", count);
                    tell(line);
                    // A message of rpcx may begin with what comes next; of others more would have to be known.
                    let known = matches!(direction.speaks, Speaks::Hrpc | Speaks::Http2(_));
                    direction.speaks = if known { Speaks::Other } else { Speaks::Unknown };
                    direction.buf = Vec::new();
                }
            }
        }
        self.recognize(side);
        self.follow(side, tell);
        // The other side may have been waited with until now.
        let other = if side == Side::One { Side::Other } else { Side::One };
        self.recognize(other);
        self.follow(other, tell);
    }

    fn directions(&mut self, side: Side) -> (&mut Direction, &mut Direction) {
        match side {
            Side::One => (&mut self.one, &mut self.other),
            Side::Other => (&mut self.other, &mut self.one),
        }
    }

    /// Finds out what is spoken.
    fn recognize(&mut self, side: Side) {
        let (direction, opposite) = self.directions(side);
        if !matches!(direction.speaks, Speaks::Unknown) || direction.buf.is_empty() {
            return;
        }
        let buf = &mut direction.buf;
        // rpcx by a way in of HTTP.
        if let Some(length @ 1..) = read_connect(buf).or_else(|| read_connected(buf)) {
            buf.drain(..length);
        }
        let is_preface = buf.starts_with(http2::PREFACE);
        let begins = |whole: &[u8]| whole.starts_with(buf.get(..whole.len()).unwrap_or(buf));
        direction.speaks = match buf.first() {
            Some(&MAGIC) => Speaks::Rpcx,
            Some(_) if begun(buf) == Begun::Hrpc => {
                buf.drain(..PREFACE.len());
                Speaks::Hrpc
            }
            Some(_) if is_preface => {
                buf.drain(..http2::PREFACE.len());
                Speaks::Http2(Box::default())
            }
            // A server's side of it begins with SETTINGS, and has no preface.
            Some(_) if matches!(opposite.speaks, Speaks::Http2(_)) => Speaks::Http2(Box::default()),
            None => return,
            Some(_) if begun(buf) == Begun::Partly || begins(http2::PREFACE) => return,
            Some(_) if read_connect(buf) == Some(0) || read_connected(buf) == Some(0) => return,
            // Maybe the client has not said yet that it is HTTP/2.
            Some(_) if matches!(opposite.speaks, Speaks::Unknown) && buf.len() < UNKNOWN => return,
            Some(_) => Speaks::Other,
        };
        if matches!(direction.speaks, Speaks::Other) {
            direction.buf = Vec::new();
        }
    }

    /// Tells all messages that are whole.
    fn follow(&mut self, side: Side, tell: &mut dyn FnMut(Line)) {
        let Self { one, other, grpc, hrpc } = self;
        let direction = if side == Side::One { one } else { other };
        let buf = &direction.buf[..];
        let followed = match &mut direction.speaks {
            Speaks::Unknown | Speaks::Other => return,
            Speaks::Rpcx => rpcx::follow(buf, MOST, tell).map_err(|e| ("rpcx", e)),
            Speaks::Hrpc => hrpc::follow(buf, hrpc, tell).map_err(|e| ("hrpc", e)),
            Speaks::Http2(watch) => {
                grpc::follow(buf, watch, side, grpc, tell).map_err(|e| ("http2", e))
            }
        };
        match followed {
            Ok(length) => drop(direction.buf.drain(..length)),
            Err((protocol, why)) => {
                tell(Line::new(protocol, "broken").fact("why", why));
                (direction.speaks, direction.buf) = (Speaks::Other, Vec::new());
            }
        }
    }
}
