//! Frames about streams and the connection as such (RFC 9113 sections 6.3 to 6.9, RFC 9218 section 7.1).

use bytes::BytesMut;

use super::budget::cost;
use super::connection::{LAST_CALL, put_pong};
use super::frame::{FrameHead, flag, put_settings_ack};
use super::receive::Result;
use super::settings::MAX_WINDOW;
use super::{Connection, ConnectionError, ErrorCode, Event, Shutdown};
use crate::priority::Priority;

impl Connection {
    pub(super) fn rst_stream(&mut self, frame: FrameHead, payload: &[u8]) -> Result<Option<Event>> {
        on_stream(frame)?;
        let code = *four(payload)?;
        if frame.stream > self.last {
            return Err(ConnectionError::protocol("RST_STREAM on an idle stream"));
        }
        if self.streams.find(frame.stream).is_none() {
            return self.budget.spend(cost::LATE_RESET).map(|()| None);
        }
        self.streams.remove(frame.stream);
        self.budget.spend(cost::RESET)?;
        let code = ErrorCode(u32::from_be_bytes(code));
        Ok(Some(Event::Reset { stream: frame.stream, code }))
    }

    pub(super) fn window_update(
        &mut self,
        frame: FrameHead,
        payload: &[u8],
        out: &mut BytesMut,
    ) -> Result<Option<Event>> {
        let [i0, i1, i2, i3] = *four(payload)?;
        let increment = i64::from(u32::from_be_bytes([i0 & 0x7f, i1, i2, i3]));
        self.budget.spend(cost::FRAME)?;
        if frame.stream == 0 {
            if increment == 0 {
                return Err(ConnectionError::protocol("WINDOW_UPDATE by nothing"));
            }
            self.send_window += increment;
            if self.send_window > MAX_WINDOW {
                return Err(ConnectionError::flow_control("window is too large"));
            }
            return Ok(None);
        }
        if frame.stream > self.last {
            return Err(ConnectionError::protocol("WINDOW_UPDATE on an idle stream"));
        }
        let Some(stream) = self.streams.find(frame.stream) else { return Ok(None) };
        stream.send_window += increment;
        let code = match increment {
            0 => ErrorCode::PROTOCOL_ERROR,
            _ if stream.send_window > MAX_WINDOW => ErrorCode::FLOW_CONTROL_ERROR,
            _ => return Ok(None),
        };
        self.stream_error(frame.stream, code, out).map(Some)
    }

    pub(super) fn settings(
        &mut self,
        frame: FrameHead,
        payload: &[u8],
        out: &mut BytesMut,
    ) -> Result<()> {
        on_connection(frame)?;
        if frame.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(ConnectionError::frame_size("acknowledgement with settings"));
            }
            match self.unacknowledged.checked_sub(1) {
                Some(left) => self.unacknowledged = left,
                None => self.budget.spend(cost::SETTINGS)?,
            }
            return Ok(());
        }
        self.budget.spend(cost::SETTINGS)?;
        let mut settings = self.peer;
        settings.update(payload)?;
        self.apply_settings(settings);
        if self.streams.iter().any(|stream| stream.send_window > MAX_WINDOW) {
            return Err(ConnectionError::flow_control("window is too large"));
        }
        put_settings_ack(out);
        Ok(())
    }

    pub(super) fn ping(
        &mut self,
        frame: FrameHead,
        payload: &[u8],
        out: &mut BytesMut,
    ) -> Result<()> {
        on_connection(frame)?;
        let opaque =
            payload.try_into().map_err(|_| ConnectionError::frame_size("PING not of 8 bytes"))?;
        self.budget.spend(cost::ANSWER)?;
        if !frame.has(flag::ACK) {
            put_pong(out, opaque);
        } else if opaque == LAST_CALL && self.shutdown == Shutdown::Announced {
            self.last_call(out);
        }
        Ok(())
    }

    /// RFC 9113 section 5.3.2: read, but not followed.
    pub(super) fn priority(
        &mut self,
        frame: FrameHead,
        payload: &[u8],
        out: &mut BytesMut,
    ) -> Result<Option<Event>> {
        on_stream(frame)?;
        self.budget.spend(cost::FRAME)?;
        let code = match payload {
            &[d0, d1, d2, d3, _] => {
                let depends_on = u32::from_be_bytes([d0 & 0x7f, d1, d2, d3]);
                (depends_on == frame.stream).then_some(ErrorCode::PROTOCOL_ERROR)
            }
            _ => Some(ErrorCode::FRAME_SIZE_ERROR),
        };
        match code {
            None => Ok(None),
            Some(code) if self.streams.find(frame.stream).is_some() => {
                self.stream_error(frame.stream, code, out).map(Some)
            }
            // A stream that is idle can't be reset.
            Some(code) => Err(ConnectionError::new(code, "malformed PRIORITY")),
        }
    }

    /// RFC 9218 section 7.1; for streams that are still to come it is not kept.
    pub(super) fn priority_update(&mut self, frame: FrameHead, payload: &[u8]) -> Result<()> {
        on_connection(frame)?;
        let wrong = ConnectionError::frame_size("PRIORITY_UPDATE is too short");
        let (&[s0, s1, s2, s3], value) = payload.split_first_chunk().ok_or(wrong)?;
        let id = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        if id.is_multiple_of(2) {
            return Err(ConnectionError::protocol("PRIORITY_UPDATE of no request"));
        }
        self.budget.spend(cost::FRAME)?;
        if let Some(stream) = self.streams.find(id) {
            stream.priority = Priority::parse(value);
        }
        Ok(())
    }

    pub(super) fn goaway(&mut self, frame: FrameHead, payload: &[u8]) -> Result<()> {
        on_connection(frame)?;
        if payload.len() < 8 {
            return Err(ConnectionError::frame_size("GOAWAY is too short"));
        }
        self.peer_leaves = true;
        self.budget.spend(cost::IDLE)
    }
}

pub(super) fn on_stream(frame: FrameHead) -> Result<()> {
    match frame.stream {
        0 => Err(ConnectionError::protocol("frame needs a stream")),
        _ => Ok(()),
    }
}

fn on_connection(frame: FrameHead) -> Result<()> {
    match frame.stream {
        0 => Ok(()),
        _ => Err(ConnectionError::protocol("frame is not about a stream")),
    }
}

fn four(payload: &[u8]) -> Result<&[u8; 4]> {
    payload.try_into().map_err(|_| ConnectionError::frame_size("frame is not of 4 bytes"))
}
