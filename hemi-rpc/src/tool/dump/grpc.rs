//! What is said by gRPC, and of other HTTP/2 what there is.

use std::collections::HashMap;

use bytes::Bytes;
use hemi_proto::grpc::{FLAG_COMPRESSED, Frames};
use hemi_proto::http2::{Watch, Watched};
use hemi_proto::message::FieldName;
use hemi_proto::rpcx::CodecId;
use serde_json::{Map, Value};

use super::conn::Side;
use super::line::Line;

/// Streams that are known at once, at most.
const STREAMS: usize = 10_000;

/// Bytes of a message, at most, for it to be told.
const MOST: usize = 4 << 20;

/// Messages that come in each direction of streams.
#[derive(Default)]
pub(super) struct Streams(HashMap<(u32, bool), Messages>);

enum Messages {
    Grpc(Frames),
    /// The content of something else, which is not looked at.
    Other,
}

/// Tells the frames that are whole, and how many bytes they are.
pub(super) fn follow(
    buf: &[u8],
    watch: &mut Watch,
    side: Side,
    streams: &mut Streams,
    tell: &mut dyn FnMut(Line),
) -> Result<usize, String> {
    let mut at = 0;
    loop {
        let rest = buf.get(at..).unwrap_or_default();
        let Some((watched, length)) = watch.frame(rest).map_err(|e| e.to_string())? else {
            return Ok(at);
        };
        at += length;
        match watched {
            Watched::Nothing => {}
            Watched::Head(stream, fields, end) => {
                tell(head(streams, (stream, side == Side::One), &fields, end));
            }
            Watched::Data(stream, bytes, end) => {
                data(streams, (stream, side == Side::One), bytes, end, tell);
            }
            Watched::Reset(stream, code) => {
                for one in [true, false] {
                    streams.0.remove(&(stream, one));
                }
                tell(Line::new("http2", "reset").fact("stream", stream).fact("code", code.0));
            }
            Watched::Goaway(last, code, text) => {
                let line = Line::new("http2", "goaway").fact("lastStream", last);
                tell(line.fact("code", code.0).text("text", text));
            }
        }
    }
}

fn head(
    Streams(streams): &mut Streams,
    key: (u32, bool),
    fields: &[(FieldName, Bytes)],
    end: bool,
) -> Line {
    let find = |wanted: &str| fields.iter().find(|(field, _)| name(field) == wanted);
    let is_grpc = find("content-type")
        .is_some_and(|(_, value)| value.starts_with(b"application/grpc"))
        || matches!(streams.get(&key), Some(Messages::Grpc(_)));
    let protocol = if is_grpc { "grpc" } else { "http2" };
    let kind = match (find(":path"), find(":status")) {
        (Some(_), _) => "call",
        (_, Some(_)) if end => "end",
        (_, Some(_)) => "answer",
        _ => "end",
    };
    if end {
        streams.remove(&key);
    } else {
        if streams.len() >= STREAMS {
            streams.clear();
        }
        let grpc = || Messages::Grpc(Frames::new(MOST));
        streams.entry(key).or_insert_with(|| if is_grpc { grpc() } else { Messages::Other });
    }
    let mut line = Line::new(protocol, kind).fact("stream", key.0);
    let mut others = Map::new();
    for (field, value) in fields {
        line = match name(field) {
            ":path" => line.text("path", value),
            ":status" => line.text("status", value),
            "grpc-status" => line.text("code", value),
            "grpc-message" => line.text("error", value),
            name => {
                others.insert(name.to_owned(), String::from_utf8_lossy(value).into());
                line
            }
        };
    }
    let line = if others.is_empty() { line } else { line.fact("fields", Value::Object(others)) };
    if end { line.fact("end", true) } else { line }
}

fn data(
    Streams(streams): &mut Streams,
    key: (u32, bool),
    bytes: &[u8],
    end: bool,
    tell: &mut dyn FnMut(Line),
) {
    let begin = |kind| Line::new("grpc", kind).fact("stream", key.0);
    match streams.get_mut(&key) {
        Some(Messages::Grpc(frames)) => {
            frames.push(Bytes::copy_from_slice(bytes));
            loop {
                match frames.take() {
                    Ok(Some(frame)) => {
                        let compressed = u8::from(frame.flags & FLAG_COMPRESSED != 0);
                        tell(begin("message").message(
                            CodecId::PROTOBUF,
                            compressed,
                            &frame.message,
                        ));
                    }
                    Ok(None) => break,
                    Err(e) => {
                        tell(begin("broken").fact("why", e.to_string()));
                        streams.insert(key, Messages::Other);
                        break;
                    }
                }
            }
            if end {
                tell(begin("end"));
            }
        }
        _ if bytes.is_empty() && !end => {}
        _ => {
            let line = Line::new("http2", "data").fact("stream", key.0).fact("bytes", bytes.len());
            tell(if end { line.fact("end", true) } else { line });
        }
    }
    if end {
        streams.remove(&key);
    }
}

fn name(field: &FieldName) -> &str {
    match field {
        FieldName::Pseudo(name) => name.as_str(),
        FieldName::Field(name) => name.as_str(),
        FieldName::Invalid { .. } => "?",
    }
}
