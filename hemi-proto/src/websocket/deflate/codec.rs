//! Compressing messages, and decompressing them within bounds.

use std::cell::RefCell;
use std::fmt;

use bytes::Bytes;
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use super::super::{Role, WebSocketError};
use super::{Agreed, Context, WindowBits};

/// What every compressed message ends with, and is sent without (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Compressors, and decompressors, that a thread keeps for the next message that needs one: each is some
/// hundred KiB.
const KEPT: usize = 4;

thread_local! {
    static DEFLATES: RefCell<Vec<(WindowBits, Deflate)>> = const { RefCell::new(Vec::new()) };
    static INFLATES: RefCell<Vec<Inflate>> = const { RefCell::new(Vec::new()) };
}

/// Compresses the messages of one connection.
pub struct Deflater {
    context: Context,
    window: WindowBits,
    level: i32,
    /// What is remembered, once there was a message.
    kept: Option<Box<Deflate>>,
}

/// Decompresses the messages of one connection.
pub struct Inflater {
    context: Context,
    window: WindowBits,
    /// What is remembered, or the message under way.
    kept: Option<Box<Inflate>>,
}

impl Deflater {
    /// For what this side sends, at a level from 1, the fastest, to 9.
    #[must_use]
    pub fn new(role: Role, agreed: &Agreed, level: i32) -> Self {
        let (context, window) = match role {
            Role::Server => (agreed.server_context, agreed.server_window),
            Role::Client => (agreed.client_context, agreed.client_window),
        };
        // A window of 256 bytes zlib can't do for this kind of stream.
        let window = window.max(WindowBits(9));
        Self { context, window, level: level.clamp(1, 9), kept: None }
    }

    /// Compresses a message; `None` if it is better sent as it is.
    pub fn deflate(&mut self, message: &[u8]) -> Option<Bytes> {
        if message.is_empty() {
            return None;
        }
        match self.context {
            Context::Kept => {
                let (level, window) = (self.level, self.window);
                let deflate = self.kept.get_or_insert_with(|| Box::new(new_deflate(level, window)));
                // What was remembered is what the peer has seen: the message has to go out like this.
                let done = deflate_message(deflate, message);
                if done.is_none() {
                    // The next one begins anew, as it may at any time.
                    self.kept = None;
                }
                done
            }
            Context::None => {
                let mut deflate = self.take();
                let done = deflate_message(&mut deflate, message);
                if done.is_some() {
                    give(self.window, deflate);
                }
                done.filter(|compressed| compressed.len() < message.len())
            }
        }
    }

    /// One that others of the thread have used, or a new one.
    fn take(&self) -> Deflate {
        let kept = DEFLATES.with_borrow_mut(|kept| {
            let at = kept.iter().position(|(window, _)| *window == self.window)?;
            Some(kept.swap_remove(at).1)
        });
        kept.unwrap_or_else(|| new_deflate(self.level, self.window))
    }
}

fn new_deflate(level: i32, window: WindowBits) -> Deflate {
    Deflate::new(level, false, window.0)
}

fn give(window: WindowBits, mut deflate: Deflate) {
    deflate.reset();
    DEFLATES.with_borrow_mut(|kept| {
        if kept.len() < KEPT {
            kept.push((window, deflate));
        }
    });
}

fn deflate_message(deflate: &mut Deflate, mut message: &[u8]) -> Option<Bytes> {
    let mut out = Vec::new();
    loop {
        let start = out.len();
        let room = message.len() / 2 + 64;
        out.resize(start + room, 0);
        let (taken, given) = (deflate.total_in(), deflate.total_out());
        let done = deflate.compress(message, &mut out[start..], DeflateFlush::SyncFlush);
        let taken = (deflate.total_in() - taken) as usize;
        let given = (deflate.total_out() - given) as usize;
        out.truncate(start + given);
        message = message.get(taken..).unwrap_or_default();
        done.ok()?;
        if given < room {
            break;
        }
    }
    out.truncate(out.strip_suffix(&TAIL)?.len());
    Some(out.into())
}

impl Inflater {
    /// For what the peer of this side sends.
    #[must_use]
    pub fn new(role: Role, agreed: &Agreed) -> Self {
        let (context, window) = match role {
            Role::Server => (agreed.client_context, agreed.client_window),
            Role::Client => (agreed.server_context, agreed.server_window),
        };
        // There is a client for which 256 bytes mean 512.
        Self { context, window: window.max(WindowBits(9)), kept: None }
    }

    /// Decompresses a piece of a message, which grows to `most` bytes.
    pub(crate) fn inflate(
        &mut self,
        mut piece: &[u8],
        message: &mut Vec<u8>,
        most: usize,
    ) -> Result<(), WebSocketError> {
        let (context, window) = (self.context, self.window);
        let inflate = self.kept.get_or_insert_with(|| Box::new(take_inflate(context, window)));
        loop {
            let start = message.len();
            // One byte more, to see whether there are more than may be.
            let room = (piece.len() * 4)
                .clamp(256, 64 << 10)
                .min(most.saturating_sub(start).saturating_add(1));
            message.resize(start + room, 0);
            let (taken, given) = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress(piece, &mut message[start..], InflateFlush::SyncFlush);
            let taken = (inflate.total_in() - taken) as usize;
            let given = (inflate.total_out() - given) as usize;
            message.truncate(start + given);
            piece = piece.get(taken..).unwrap_or_default();
            let status = status.map_err(|_| WebSocketError::Deflate)?;
            if message.len() > most {
                return Err(WebSocketError::MessageTooBig);
            }
            match status {
                // A peer may end a stream, and begin another (RFC 7692, 7.2.3.4).
                Status::StreamEnd => **inflate = Inflate::new(false, window.0),
                _ if given == room => continue,
                _ if !piece.is_empty() && taken == 0 => return Err(WebSocketError::Deflate),
                _ => {}
            }
            if piece.is_empty() {
                return Ok(());
            }
        }
    }

    /// Decompresses what the message was sent without.
    pub(crate) fn finish(
        &mut self,
        message: &mut Vec<u8>,
        most: usize,
    ) -> Result<(), WebSocketError> {
        self.inflate(&TAIL, message, most)?;
        if self.context == Context::None
            && let Some(mut inflate) = self.kept.take()
        {
            inflate.reset(false);
            INFLATES.with_borrow_mut(|kept| {
                if kept.len() < KEPT {
                    kept.push(*inflate);
                }
            });
        }
        Ok(())
    }
}

/// One that others of the thread have used, with the largest window there is, or a new one.
fn take_inflate(context: Context, window: WindowBits) -> Inflate {
    match context {
        Context::None => INFLATES
            .with_borrow_mut(Vec::pop)
            .unwrap_or_else(|| Inflate::new(false, WindowBits::MAX.0)),
        Context::Kept => Inflate::new(false, window.0),
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").field("context", &self.context).finish_non_exhaustive()
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("context", &self.context).finish_non_exhaustive()
    }
}
