//! What was received, as messages.

use bytes::{Buf, Bytes, BytesMut};

use super::{Close, Header, Inflater, Message, Opcode, Role, WebSocketError, apply_mask};

/// Turns the bytes that a peer has sent into messages and control frames.
///
/// It holds one message at most, the one that is under way, and never more than [`Limits::message`] of it.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    limits: Limits,
    /// The data frame whose payload still comes.
    frame: Option<Frame>,
    /// The message whose fragments still come.
    message: Option<Partial>,
    inflater: Option<Inflater>,
    /// After a close frame, or an error, nothing is read any more.
    ended: bool,
}

/// What a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one frame's payload, as it is sent.
    pub frame: u64,
    /// Bytes of one message, once it is decompressed.
    pub message: usize,
    /// Frames of one message.
    pub fragments: u32,
}

impl Default for Limits {
    /// A message of 1 MiB, in one frame or in up to 16,384.
    fn default() -> Self {
        Self { frame: 1 << 20, message: 1 << 20, fragments: 16 << 10 }
    }
}

/// What has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole message.
    Message(Message),
    /// A ping, to be answered by a pong with the same payload.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
    /// The last of all, to be answered in kind.
    Close(Option<Close>),
}

#[derive(Debug)]
struct Frame {
    fin: bool,
    mask: Option<[u8; 4]>,
    /// Bytes of the payload that were read.
    read: u64,
    /// Those still to come.
    left: u64,
}

/// A message, as far as it has come.
#[derive(Debug)]
struct Partial {
    is_text: bool,
    compressed: bool,
    fragments: u32,
    data: Vec<u8>,
    /// Where the text ends that is known to be UTF-8.
    checked: usize,
}

impl Decoder {
    /// For this side, without compression.
    #[must_use]
    pub fn new(role: Role, limits: Limits) -> Self {
        Self { role, limits, frame: None, message: None, inflater: None, ended: false }
    }

    /// The same, for a peer that may compress.
    #[must_use]
    pub fn with_inflater(mut self, inflater: Option<Inflater>) -> Self {
        self.inflater = inflater;
        self
    }

    /// Bytes that are known to come still: of the frame that is under way.
    #[must_use]
    pub fn awaits(&self) -> u64 {
        self.frame.as_ref().map_or(0, |frame| frame.left)
    }

    /// Takes bytes from the front of `buf`, up to the end of the next message or control frame; `None`
    /// when there is no whole one.
    ///
    /// # Errors
    /// When the peer breaks the protocol or a limit: as soon as that is seen, and once.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Incoming>, WebSocketError> {
        let decoded = self.next(buf);
        if matches!(decoded, Err(_) | Ok(Some(Incoming::Close(_)))) {
            self.ended = true;
            (self.frame, self.message) = (None, None);
        }
        decoded
    }

    fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Incoming>, WebSocketError> {
        if self.ended {
            buf.clear();
            return Ok(None);
        }
        loop {
            if self.frame.is_some() {
                if let Some(message) = self.payload(buf)? {
                    return Ok(Some(Incoming::Message(message)));
                }
                if self.frame.is_some() {
                    return Ok(None);
                }
            }
            let Some((header, len, size)) = Header::parse(buf)? else { return Ok(None) };
            self.check(&header)?;
            if !header.opcode.is_control() {
                self.begin(&header, len)?;
                buf.advance(size);
                continue;
            }
            let Some(payload) = buf.get_mut(size..size + len as usize) else { return Ok(None) };
            if let Some(mask) = header.mask {
                apply_mask(payload, mask, 0);
            }
            let incoming = match header.opcode {
                Opcode::Ping => Incoming::Ping(Bytes::copy_from_slice(payload)),
                Opcode::Pong => Incoming::Pong(Bytes::copy_from_slice(payload)),
                _ => Incoming::Close(Close::parse(payload)?),
            };
            buf.advance(size + len as usize);
            return Ok(Some(incoming));
        }
    }

    fn check(&self, header: &Header) -> Result<(), WebSocketError> {
        match (self.role, header.mask) {
            (Role::Server, None) => return Err(WebSocketError::NotMasked),
            (Role::Client, Some(_)) => return Err(WebSocketError::Masked),
            _ => {}
        }
        // Compressed is a message, and its first fragment says so (RFC 7692, 6).
        let may_be_compressed =
            self.inflater.is_some() && matches!(header.opcode, Opcode::Text | Opcode::Binary);
        if header.compressed && !may_be_compressed {
            return Err(WebSocketError::ReservedBit);
        }
        Ok(())
    }

    /// Begins a data frame.
    fn begin(&mut self, header: &Header, len: u64) -> Result<(), WebSocketError> {
        let message = match (&mut self.message, header.opcode) {
            (Some(message), Opcode::Continuation) => {
                message.fragments += 1;
                if message.fragments > self.limits.fragments {
                    return Err(WebSocketError::TooManyFragments);
                }
                message
            }
            (None, Opcode::Continuation) => return Err(WebSocketError::NoMessage),
            (Some(_), _) => return Err(WebSocketError::WithinMessage),
            (none, opcode) => none.insert(Partial {
                is_text: opcode == Opcode::Text,
                compressed: header.compressed,
                fragments: 1,
                data: Vec::new(),
                checked: 0,
            }),
        };
        if len > self.limits.frame {
            return Err(WebSocketError::FrameTooBig);
        }
        let room = self.limits.message.saturating_sub(message.data.len());
        if !message.compressed && len > room as u64 {
            return Err(WebSocketError::MessageTooBig);
        }
        self.frame = Some(Frame { fin: header.fin, mask: header.mask, read: 0, left: len });
        Ok(())
    }

    /// Takes what has come of the payload; gives the message if that completes it.
    fn payload(&mut self, buf: &mut BytesMut) -> Result<Option<Message>, WebSocketError> {
        let (Some(frame), Some(message)) = (&mut self.frame, &mut self.message) else {
            return Ok(None);
        };
        let len = usize::try_from(frame.left).unwrap_or(usize::MAX).min(buf.len());
        let (piece, _) = buf.split_at_mut(len);
        if let Some(mask) = frame.mask {
            apply_mask(piece, mask, frame.read);
        }
        frame.read += len as u64;
        frame.left -= len as u64;
        let ends = frame.left == 0 && frame.fin;
        match &mut self.inflater {
            Some(inflater) if message.compressed => {
                let most = self.limits.message;
                inflater.inflate(piece, &mut message.data, most)?;
                if ends {
                    inflater.finish(&mut message.data, most)?;
                }
            }
            _ => message.data.extend_from_slice(piece),
        }
        buf.advance(len);
        if frame.left == 0 {
            self.frame = None;
        }
        if !ends {
            message.check()?;
            return Ok(None);
        }
        self.message.take().map(Partial::complete).transpose()
    }
}

impl Partial {
    /// Checks text as far as it has come; a character at its end may still be incomplete.
    fn check(&mut self) -> Result<(), WebSocketError> {
        if !self.is_text {
            return Ok(());
        }
        let unchecked = self.data.get(self.checked..).unwrap_or_default();
        match std::str::from_utf8(unchecked) {
            Ok(text) => self.checked += text.len(),
            Err(e) if e.error_len().is_none() => self.checked += e.valid_up_to(),
            Err(_) => return Err(WebSocketError::NotUtf8),
        }
        Ok(())
    }

    fn complete(self) -> Result<Message, WebSocketError> {
        if !self.is_text {
            return Ok(Message::Binary(self.data.into()));
        }
        String::from_utf8(self.data).map(Message::Text).map_err(|_| WebSocketError::NotUtf8)
    }
}

#[cfg(test)]
mod tests;
