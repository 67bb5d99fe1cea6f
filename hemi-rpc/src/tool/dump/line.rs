//! What is told of a message: a line.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use hemi_proto::date::format_iso8601;
use hemi_proto::rpcx::{CodecId, Compression, ERROR_KEY, Pairs, gunzip};
use serde_json::{Map, Value, json};

use crate::Payload;

/// Characters of a value that are told, about.
const SHOWN: usize = 512;

/// Bytes that a compressed message may become.
const UNPACKED: usize = 1 << 20;

/// For whom lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Text,
    Json,
}

/// Who speaks to whom, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// Since 1970.
    pub(super) time: Duration,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

/// What is told of a message.
pub(super) struct Line {
    protocol: &'static str,
    kind: &'static str,
    facts: Vec<(&'static str, Value)>,
}

impl Line {
    pub(super) fn new(protocol: &'static str, kind: &'static str) -> Self {
        Self { protocol, kind, facts: Vec::new() }
    }

    /// What there is to know of it.
    pub(super) fn fact(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.facts.push((name, value.into()));
        self
    }

    /// Bytes that are a text, most likely.
    pub(super) fn text(self, name: &'static str, bytes: &[u8]) -> Self {
        if bytes.is_empty() { self } else { self.fact(name, text(bytes)) }
    }

    /// What is said besides; the text of an error by itself.
    pub(super) fn metadata(mut self, pairs: Pairs<'_>) -> Self {
        let mut others = Map::new();
        for (key, value) in pairs.iter() {
            if key == ERROR_KEY.as_bytes() {
                self = self.text("error", value);
            } else {
                others.insert(cut(&String::from_utf8_lossy(key)), text(value).into());
            }
        }
        if others.is_empty() { self } else { self.fact("metadata", others) }
    }

    /// A message: its length, and what it says.
    pub(super) fn message(self, codec: CodecId, compression: u8, bytes: &[u8]) -> Self {
        let line = self.fact("bytes", bytes.len());
        let unpacked;
        let bytes = match compression {
            0 => bytes,
            1 => match gunzip(bytes, UNPACKED) {
                Ok(message) => {
                    unpacked = message;
                    &unpacked[..]
                }
                Err(e) => return line.fact("compressed", e.to_string()),
            },
            other => return line.fact("compressed", format!("by {other}")),
        };
        if bytes.is_empty() {
            return line;
        }
        let value = match codec {
            CodecId::JSON | CodecId::MSGPACK => Value::decode(codec, bytes).ok(),
            _ => None,
        };
        let value = value.filter(|value| value.to_string().len() <= SHOWN);
        line.fact("message", value.unwrap_or_else(|| text(bytes).into()))
    }

    /// As it is written.
    pub(super) fn written(&self, stamp: &Stamp, style: Style) -> String {
        let Stamp { time, from, to } = stamp;
        let at = UNIX_EPOCH.checked_add(*time).unwrap_or(UNIX_EPOCH);
        let text = String::from_utf8_lossy(&format_iso8601(at)).into_owned();
        let micros = format!("{:03}Z", time.subsec_micros() % 1000);
        let time = text.trim_end_matches('Z').to_owned() + &micros;
        if style == Style::Json {
            let mut all = Map::new();
            for (name, value) in [
                ("time", json!(time)),
                ("from", json!(from.to_string())),
                ("to", json!(to.to_string())),
                ("protocol", json!(self.protocol)),
                ("kind", json!(self.kind)),
            ] {
                all.insert(name.to_owned(), value);
            }
            all.extend(self.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            return Value::Object(all).to_string();
        }
        let mut line = format!("{time} {from} > {to} {} {}", self.protocol, self.kind);
        for (name, value) in &self.facts {
            line += &match value {
                Value::String(text) if is_word(text) => format!(" {name}={text}"),
                other => format!(" {name}={other}"),
            };
        }
        line
    }
}

/// How a codec is named.
pub(super) fn codec_name(codec: CodecId) -> Value {
    match codec {
        CodecId::RAW => "raw".into(),
        CodecId::JSON => "json".into(),
        CodecId::PROTOBUF => "protobuf".into(),
        CodecId::MSGPACK => "msgpack".into(),
        CodecId::THRIFT => "thrift".into(),
        other => other.number().into(),
    }
}

pub(super) fn number(compression: Compression) -> u8 {
    compression.number()
}

/// Whether a text can stand without quotes.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "._-/:@<>*".contains(c))
}

/// Bytes as a text; those that are none as Rust would write them.
fn text(bytes: &[u8]) -> String {
    let is_shown = |c: char| !c.is_control() || c == '\n' || c == '\t';
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_shown) => cut(text),
        _ => {
            let shown = bytes.get(..SHOWN / 4).unwrap_or(bytes);
            let more = if shown.len() < bytes.len() { "…" } else { "" };
            format!("{}{more}", shown.escape_ascii())
        }
    }
}

fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(SHOWN);
    let more = if end < text.len() { "…" } else { "" };
    format!("{}{more}", text.get(..end).unwrap_or_default())
}
