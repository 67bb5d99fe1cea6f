//! What is said by HRPC.

use std::collections::HashMap;

use hemi_proto::hrpc::{Decoded, Flags, Frame, Kind, Limits, METADATA, Seen, decode};
use hemi_proto::rpcx::CodecId;

use super::line::{Line, codec_name};

/// Streams that are known at once, at most.
const STREAMS: usize = 10_000;

/// What is known of streams: in which codec their messages are.
#[derive(Default)]
pub(super) struct Streams(HashMap<u32, CodecId>);

const LIMITS: Limits = Limits { message: usize::MAX, metadata: METADATA };

/// Tells the frames that are whole, and how many bytes they are.
pub(super) fn follow(
    buf: &[u8],
    streams: &mut Streams,
    tell: &mut dyn FnMut(Line),
) -> Result<usize, String> {
    let mut at = 0;
    loop {
        match decode(buf.get(at..).unwrap_or_default(), LIMITS) {
            Ok(Decoded::Needs(_)) => return Ok(at),
            Ok(Decoded::Frame(frame, length)) => {
                if let Some(line) = line(&frame, streams).map_err(|e| e.to_string())? {
                    tell(line);
                }
                at += length;
            }
            Err(e) => return Err(e.to_string()),
        }
    }
}

fn line(
    frame: &Frame<'_>,
    Streams(streams): &mut Streams,
) -> Result<Option<Line>, hemi_proto::hrpc::Broken> {
    let head = frame.head;
    let (flags, stream) = (head.flags, head.stream);
    let begin = |kind| match stream {
        0 => Line::new("hrpc", kind),
        stream => Line::new("hrpc", kind).fact("stream", stream),
    };
    let code = |line: Line| line.fact("code", hemi_proto::hrpc::Code(head.value).to_string());
    let line = match frame.see()? {
        Seen::Hello(hello) => begin("hello")
            .fact("streams", hello.streams)
            .fact("message", hello.message)
            .fact("compressions", hello.compressions),
        Seen::Asked(asked, message) => {
            if head.kind == Kind::CALL {
                if streams.len() >= STREAMS {
                    streams.clear();
                }
                streams.insert(stream, asked.codec);
            }
            let kind = match head.kind {
                Kind::PUSH => "push",
                _ if flags.has(Flags::ONE_WAY) => "one-way",
                _ => "call",
            };
            let line = begin(kind).text("service", asked.service).text("method", asked.method);
            let line = match asked.timeout {
                0 => line,
                millis => line.fact("timeoutMillis", millis),
            };
            let line = line.metadata(asked.metadata).fact("codec", codec_name(asked.codec));
            with_message(line, flags, asked.codec, message)
        }
        Seen::Replied(replied, message) => {
            let codec = streams.get(&stream).copied().unwrap_or(CodecId::RAW);
            if flags.has(Flags::END) {
                streams.remove(&stream);
            }
            let kind = if head.kind == Kind::REPLY { "reply" } else { "trailers" };
            let line = code(begin(kind)).metadata(replied.metadata);
            with_message(line, flags, codec, message)
        }
        Seen::Data(message) => {
            let codec = streams.get(&stream).copied().unwrap_or(CodecId::RAW);
            with_message(begin("data"), flags, codec, message)
        }
        Seen::Reset(text) => code(begin("reset")).text("text", text),
        Seen::Goaway(last, text) => {
            code(begin("goaway")).fact("lastStream", last).text("text", text)
        }
        // There would be little else to see.
        Seen::Credit(_) => return Ok(None),
        Seen::Other if head.kind == Kind::PING => {
            begin(if flags.has(Flags::ACK) { "pong" } else { "ping" })
        }
        Seen::Other => begin("unknown").fact("number", head.kind.0),
    };
    let ends = flags.has(Flags::END)
        && matches!(head.kind, Kind::CALL | Kind::REPLY | Kind::DATA | Kind::TRAILERS);
    Ok(Some(if ends { line.fact("end", true) } else { line }))
}

/// A message, or a piece of one, which says nothing by itself.
fn with_message(line: Line, flags: Flags, codec: CodecId, message: &[u8]) -> Line {
    if !flags.has(Flags::MESSAGE) {
        return line;
    }
    if flags.has(Flags::MORE) {
        return line.fact("bytes", message.len()).fact("more", true);
    }
    line.message(codec, flags.compression(), message)
}
