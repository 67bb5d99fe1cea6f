//! Frames of the client: requests, and their content.

use bytes::{Buf, BytesMut};
use http::Version;

use super::block::{Block, Start};
use super::budget::cost;
use super::control::on_stream;
use super::frame::{FrameHead, HEAD, MAX_PAYLOAD, flag, kind, put_rst_stream, put_window_update};
use super::{Connection, ConnectionError, ErrorCode, Event, Shutdown};
use crate::http1::{BodyLength, RequestHead};
use crate::message::{Content, Malformed, MessageError, RequestReader, TrailerReader};

/// A frame of DATA, of which some has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataFrame {
    stream: u32,
    /// Bytes of content still to come,
    content: usize,
    /// and of padding.
    padding: usize,
    ends_stream: bool,
}

/// Bytes that nobody reads and that are still received, for a client to be able to go on.
const MAX_DROPPED: u32 = 64 << 10;

pub(super) type Result<T, E = ConnectionError> = std::result::Result<T, E>;

impl Connection {
    /// Takes frames off the front of `buf` up to the next that matters to a request; `None` if more bytes are
    /// needed. A request's head is read into `head`. What is to be sent in return is appended to `out`.
    ///
    /// # Errors
    /// When the connection has to end; a GOAWAY frame for the client is in `out` by then.
    pub fn receive(
        &mut self,
        buf: &mut BytesMut,
        head: &mut RequestHead,
        out: &mut BytesMut,
    ) -> Result<Option<Event>> {
        while !self.failed {
            match self.step(buf, head, out) {
                Ok(Step::Event(event)) => return Ok(Some(event)),
                Ok(Step::Go) => {}
                Ok(Step::More) => break,
                Err(error) => {
                    self.fail(error, out);
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Content of a stream was read, or is not going to be: the client may send more.
    pub fn read(&mut self, stream: u32, bytes: usize, out: &mut BytesMut) {
        let bytes = bytes as u32;
        self.read_any(bytes, out);
        let most = self.config.max_stream_window;
        if let Some(stream) = self.streams.find(stream)
            && !stream.received_all
        {
            stream.read += bytes;
            if stream.read >= stream.window_size / 2 {
                let larger = stream.window_size.saturating_mul(2).min(most);
                let growth = larger.saturating_sub(stream.window_size);
                let increment = stream.read + growth;
                stream.window_size += growth;
                stream.receive_window += i64::from(increment);
                stream.read = 0;
                put_window_update(out, stream.id, increment);
            }
        }
    }

    /// Nobody is going to read what the client still sends on this stream.
    pub fn stop_reading(&mut self, stream: u32) {
        if let Some(stream) = self.streams.find(stream) {
            stream.unread = true;
        }
    }

    fn read_any(&mut self, bytes: u32, out: &mut BytesMut) {
        self.read += bytes;
        if self.read >= self.config.window / 2 {
            self.receive_window += i64::from(self.read);
            put_window_update(out, 0, self.read);
            self.read = 0;
        }
    }

    fn step(
        &mut self,
        buf: &mut BytesMut,
        head: &mut RequestHead,
        out: &mut BytesMut,
    ) -> Result<Step> {
        if let Some(data) = self.data.take() {
            return self.content(data, buf, out);
        }
        if !self.preface.is_empty() {
            return self.take_preface(buf);
        }
        let Some(frame) = FrameHead::parse(buf) else { return Ok(Step::More) };
        self.check_order(frame)?;
        if frame.kind == kind::DATA {
            return self.data_head(frame, buf, out);
        }
        let end = HEAD + frame.len;
        let Some(payload) = buf.get(HEAD..end) else { return Ok(Step::More) };
        let event = self.frame(frame, payload, head, out)?;
        buf.advance(end);
        Ok(event.map_or(Step::Go, Step::Event))
    }

    fn take_preface(&mut self, buf: &mut BytesMut) -> Result<Step> {
        let len = buf.len().min(self.preface.len());
        let (expected, rest) = self.preface.split_at(len);
        if buf.get(..len) != Some(expected) {
            return Err(ConnectionError::protocol("wrong preface"));
        }
        self.preface = rest;
        buf.advance(len);
        Ok(if rest.is_empty() { Step::Go } else { Step::More })
    }

    /// What may come at all, and now.
    fn check_order(&mut self, frame: FrameHead) -> Result<()> {
        if frame.len > MAX_PAYLOAD {
            return Err(ConnectionError::frame_size("frame is too large"));
        }
        if !self.begun {
            if frame.kind != kind::SETTINGS || frame.has(flag::ACK) {
                return Err(ConnectionError::protocol("the first frame is not SETTINGS"));
            }
            self.begun = true;
        }
        match &self.block {
            Some(block) if !block.expects(frame) => {
                Err(ConnectionError::protocol("block of fields is interrupted"))
            }
            None if frame.kind == kind::CONTINUATION => {
                Err(ConnectionError::protocol("CONTINUATION of nothing"))
            }
            _ => Ok(()),
        }
    }

    fn frame(
        &mut self,
        frame: FrameHead,
        payload: &[u8],
        head: &mut RequestHead,
        out: &mut BytesMut,
    ) -> Result<Option<Event>> {
        match frame.kind {
            kind::HEADERS => {
                on_stream(frame)?;
                let (start, fragment) = Start::parse(frame, payload)?;
                if frame.has(flag::END_HEADERS) {
                    return self.block(start, fragment, head, out);
                }
                self.block = Some(Box::new(Block::new(start, fragment)));
                Ok(None)
            }
            kind::CONTINUATION => self.continuation(frame, payload, head, out),
            kind::WINDOW_UPDATE => self.window_update(frame, payload, out),
            kind::RST_STREAM => self.rst_stream(frame, payload),
            kind::SETTINGS => self.settings(frame, payload, out).map(|()| None),
            kind::PING => self.ping(frame, payload, out).map(|()| None),
            kind::PRIORITY => self.priority(frame, payload, out),
            kind::PRIORITY_UPDATE => self.priority_update(frame, payload).map(|()| None),
            kind::GOAWAY => self.goaway(frame, payload).map(|()| None),
            kind::PUSH_PROMISE => Err(ConnectionError::protocol("a client does not push")),
            // RFC 9113 section 5.5
            _ => self.budget.spend(cost::IDLE).map(|()| None),
        }
    }

    fn continuation(
        &mut self,
        frame: FrameHead,
        payload: &[u8],
        head: &mut RequestHead,
        out: &mut BytesMut,
    ) -> Result<Option<Event>> {
        let most = self.config.heads.head_size.saturating_mul(2);
        let Some(mut block) = self.block.take() else { return Ok(None) };
        let cost = block.push(payload, most)?;
        self.budget.spend(cost)?;
        if frame.has(flag::END_HEADERS) {
            return self.block(block.start, &block.bytes, head, out);
        }
        self.block = Some(block);
        Ok(None)
    }

    /// A block of fields that has come whole: a request, or trailers.
    fn block(
        &mut self,
        start: Start,
        block: &[u8],
        head: &mut RequestHead,
        out: &mut BytesMut,
    ) -> Result<Option<Event>> {
        let id = start.stream;
        match self.streams.find(id) {
            Some(stream) if !stream.received_all => return self.trailers(start, block, out),
            Some(_) => {
                self.skip(block)?;
                return self.stream_error(id, ErrorCode::STREAM_CLOSED, out).map(Some);
            }
            None => {}
        }
        if id <= self.last {
            self.skip(block)?;
            if !self.streams.was_reset(id) {
                let reason = "HEADERS on a closed stream";
                return Err(ConnectionError::new(ErrorCode::STREAM_CLOSED, reason));
            }
            return self.budget.spend(cost::IDLE).map(|()| None);
        }
        if id.is_multiple_of(2) {
            return Err(ConnectionError::protocol("even stream of a client"));
        }
        self.last = id;
        if matches!(self.shutdown, Shutdown::After(_)) {
            self.skip(block)?;
            return self.budget.spend(cost::REFUSED).map(|()| None);
        }
        if self.streams.len() >= self.config.max_streams as usize {
            self.skip(block)?;
            put_rst_stream(out, id, ErrorCode::REFUSED_STREAM);
            self.streams.reset(id);
            return self.budget.spend(cost::REFUSED).map(|()| None);
        }
        self.request(start, block, head, out)
    }

    fn request(
        &mut self,
        start: Start,
        block: &[u8],
        head: &mut RequestHead,
        out: &mut BytesMut,
    ) -> Result<Option<Event>> {
        let limits = &self.config.heads;
        let mut reader = RequestReader::in_buffer(std::mem::take(&mut self.fields));
        let line = |name: &_, value| reader.line(name, value, limits);
        let decoded = self.decoder.decode(block, &mut self.strings, line);
        decoded.map_err(|_| COMPRESSION)?;
        let content = if start.ends_stream { Content::None } else { Content::Follows };
        let read = if start.depends_on_itself {
            Err(Malformed::Priority.into())
        } else {
            reader.finish(head, limits, Version::HTTP_2, content)
        };
        self.fields = reader.into_buffer();
        let stream = start.stream;
        match read {
            Ok(()) => {
                self.begin_stream(stream, head, start.ends_stream);
                Ok(Some(Event::Request { stream }))
            }
            Err(MessageError::Refused(error)) => {
                head.headers.clear();
                head.framing = BodyLength::Chunked;
                self.begin_stream(stream, head, start.ends_stream);
                self.stop_reading(stream);
                Ok(Some(Event::Refused { stream, error }))
            }
            Err(MessageError::Malformed(fault)) => {
                put_rst_stream(out, stream, ErrorCode::PROTOCOL_ERROR);
                self.streams.reset(stream);
                self.budget.spend(cost::RESET)?;
                Ok(Some(Event::Malformed(fault)))
            }
        }
    }

    fn trailers(
        &mut self,
        start: Start,
        block: &[u8],
        out: &mut BytesMut,
    ) -> Result<Option<Event>> {
        let mut reader = TrailerReader::default();
        let line = |name: &_, value| reader.line(name, value);
        let decoded = self.decoder.decode(block, &mut self.strings, line);
        decoded.map_err(|_| COMPRESSION)?;
        let trailers = reader.finish();
        let Some(stream) = self.streams.find(start.stream) else { return Ok(None) };
        let is_whole = stream.left.unwrap_or_default() == 0 && !start.depends_on_itself;
        match trailers {
            Ok(trailers) if start.ends_stream && is_whole => {
                let trailers = (!trailers.is_empty()).then_some(trailers);
                Ok(self.ended(start.stream, trailers))
            }
            _ => self.stream_error(start.stream, ErrorCode::PROTOCOL_ERROR, out).map(Some),
        }
    }

    /// Decodes a block for the sake of the state alone.
    fn skip(&mut self, block: &[u8]) -> Result<()> {
        self.decoder.decode(block, &mut self.strings, |_, _| ()).map_err(|_| COMPRESSION)
    }

    /// The head of a frame of DATA; its content is taken as it comes.
    fn data_head(
        &mut self,
        frame: FrameHead,
        buf: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Result<Step> {
        on_stream(frame)?;
        let mut padding = 0;
        let mut content = frame.len;
        let mut taken = HEAD;
        if frame.has(flag::PADDED) {
            let wrong = ConnectionError::frame_size("DATA are too short");
            content = content.checked_sub(1).ok_or(wrong)?;
            let Some(&len) = buf.get(HEAD) else { return Ok(Step::More) };
            padding = usize::from(len);
            let wrong = ConnectionError::protocol("more padding than frame");
            content = content.checked_sub(padding).ok_or(wrong)?;
            taken += 1;
        }
        buf.advance(taken);
        self.receive_window -= frame.len as i64;
        if self.receive_window < 0 {
            return Err(ConnectionError::flow_control("window of the connection is exceeded"));
        }
        let id = frame.stream;
        let ends_stream = frame.has(flag::END_STREAM);
        let is_useful = content > 0 || ends_stream;
        if is_useful {
            self.budget.earn(1);
        } else {
            self.budget.spend(cost::EMPTY)?;
        }
        // Padding is never read.
        self.read_any((frame.len - content) as u32, out);
        self.data = Some(DataFrame { stream: id, content, padding, ends_stream });
        let Some(stream) = self.streams.find(id) else {
            if id > self.last {
                return Err(ConnectionError::protocol("DATA on an idle stream"));
            }
            self.budget.spend(cost::IDLE)?;
            if !self.streams.was_reset(id) {
                put_rst_stream(out, id, ErrorCode::STREAM_CLOSED);
                self.streams.reset(id);
                self.budget.spend(cost::RESET)?;
            }
            return Ok(Step::Go);
        };
        stream.receive_window -= frame.len as i64;
        let fault = if stream.received_all {
            Some(ErrorCode::STREAM_CLOSED)
        } else if stream.receive_window < 0 {
            Some(ErrorCode::FLOW_CONTROL_ERROR)
        } else {
            // RFC 9113 section 8.1.1
            let left = stream.left.map(|left| left.checked_sub(content as u64));
            stream.left = left.flatten();
            let wrong = match left {
                Some(None) => true,
                Some(Some(left)) => ends_stream && left > 0,
                None => false,
            };
            wrong.then_some(ErrorCode::PROTOCOL_ERROR)
        };
        match fault {
            Some(code) => self.stream_error(id, code, out).map(Step::Event),
            None => Ok(Step::Go),
        }
    }

    /// What has come of a frame of DATA.
    fn content(
        &mut self,
        mut frame: DataFrame,
        buf: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Result<Step> {
        let len = frame.content.min(buf.len());
        frame.content -= len;
        let mut event = None;
        if len > 0 {
            match self.streams.find(frame.stream) {
                Some(stream) if !stream.unread => {
                    let data = buf.split_to(len).freeze();
                    event = Some(Event::Data { stream: frame.stream, data });
                }
                found => {
                    buf.advance(len);
                    let dropped = found.map(|stream| {
                        stream.dropped = stream.dropped.saturating_add(len as u32);
                        stream.sent_all && stream.dropped > MAX_DROPPED
                    });
                    self.read(frame.stream, len, out);
                    if dropped == Some(true) {
                        // RFC 9113 section 8.1: the answer stands.
                        self.reset(frame.stream, ErrorCode::NO_ERROR, out);
                    }
                }
            }
        }
        let padding = frame.padding.min(buf.len());
        if frame.content == 0 {
            buf.advance(padding);
            frame.padding -= padding;
        }
        let is_whole = frame.content == 0 && frame.padding == 0;
        if !is_whole || (frame.ends_stream && event.is_some()) {
            // The end is an event of its own.
            self.data = Some(frame);
        } else if frame.ends_stream {
            event = self.ended(frame.stream, None);
        }
        Ok(match event {
            Some(event) => Step::Event(event),
            None if is_whole => Step::Go,
            None => Step::More,
        })
    }

    fn ended(&mut self, id: u32, trailers: Option<http::HeaderMap>) -> Option<Event> {
        let stream = self.streams.find(id).filter(|stream| !stream.received_all)?;
        stream.received_all = true;
        let (is_over, is_unread) = (stream.sent_all, stream.unread);
        if is_over {
            self.streams.remove(id);
        }
        (!is_unread).then_some(Event::End { stream: id, trailers })
    }

    /// Resets a stream for a fault of the client.
    pub(super) fn stream_error(
        &mut self,
        stream: u32,
        code: ErrorCode,
        out: &mut BytesMut,
    ) -> Result<Event> {
        put_rst_stream(out, stream, code);
        self.streams.reset(stream);
        self.budget.spend(cost::RESET)?;
        Ok(Event::Reset { stream, code })
    }
}

/// What to do after a step.
enum Step {
    Event(Event),
    /// The next one.
    Go,
    /// Nothing before more bytes have come.
    More,
}

const COMPRESSION: ConnectionError =
    ConnectionError::new(ErrorCode::COMPRESSION_ERROR, "malformed block of fields");
