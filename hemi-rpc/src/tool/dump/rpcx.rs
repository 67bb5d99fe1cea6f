//! What is said by rpcx.

use hemi_proto::rpcx::{Decoded, Frame, Limits, Mode, decode};

use super::line::{Line, codec_name, number};

/// Tells the messages that are whole, and how many bytes they are.
pub(super) fn follow(buf: &[u8], most: usize, tell: &mut dyn FnMut(Line)) -> Result<usize, String> {
    let mut at = 0;
    loop {
        let rest = buf.get(at..).unwrap_or_default();
        match decode(rest, Limits { message: most, metadata: most }) {
            Ok(Decoded::Needs(_)) => return Ok(at),
            Ok(Decoded::Frame(frame, length)) => {
                tell(line(&frame));
                at += length;
            }
            Err(e) => return Err(e.to_string()),
        }
    }
}

fn line(frame: &Frame<'_>) -> Line {
    let Frame { head, service, method, metadata, payload } = *frame;
    let kind = match head.mode {
        Mode::Call => "call",
        Mode::OneWay => "one-way",
        Mode::Answer => "answer",
        Mode::Failure => "failure",
        Mode::Heartbeat => "heartbeat",
        Mode::Echo => "echo",
    };
    let line = Line::new("rpcx", kind).fact("seq", head.seq);
    let line = line.text("service", service).text("method", method).metadata(metadata);
    if matches!(head.mode, Mode::Heartbeat | Mode::Echo) {
        return line.fact("bytes", payload.len());
    }
    line.fact("codec", codec_name(head.codec)).message(
        head.codec,
        number(head.compression),
        payload,
    )
}
