//! How a client in the clear goes on with HTTP/2: by beginning with it, or by asking (RFC 7540 section 3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hemi_proto::http1::RequestHead;
use hemi_proto::http2::{PREFACE, Settings};
use http::HeaderMap;
use http::header::{CONNECTION, UPGRADE};

/// The answer to a client that asks.
pub(super) const SWITCHING: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";

const HTTP2_SETTINGS: &str = "http2-settings";

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preface {
    /// They are that of HTTP/2.
    Whole,
    /// They may become it.
    Part,
    No,
}

impl Preface {
    pub(super) fn of(bytes: &[u8]) -> Self {
        if bytes.starts_with(PREFACE) {
            Self::Whole
        } else if !bytes.is_empty() && PREFACE.starts_with(bytes) {
            Self::Part
        } else {
            Self::No
        }
    }
}

/// The settings of a client that asks to go on with HTTP/2, whose request then holds nothing of it any more.
pub(super) fn take_offer(head: &mut RequestHead) -> Option<Settings> {
    if !head.upgrade || !head.framing.is_empty() {
        return None;
    }
    let offers = list(&head.headers, UPGRADE.as_str()).any(|protocol| protocol == "h2c");
    let names = list(&head.headers, CONNECTION.as_str());
    let names_settings = names.into_iter().any(|name| name.eq_ignore_ascii_case(HTTP2_SETTINGS));
    let mut lines = head.headers.get_all(HTTP2_SETTINGS).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let payload = URL_SAFE_NO_PAD.decode(line.as_bytes()).ok()?;
    let mut settings = Settings::default();
    settings.update(&payload).ok()?;
    if !offers || !names_settings {
        return None;
    }
    for name in [CONNECTION.as_str(), UPGRADE.as_str(), HTTP2_SETTINGS] {
        head.headers.remove(name);
    }
    head.upgrade = false;
    Some(settings)
}

fn list<'a>(fields: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = fields.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}
