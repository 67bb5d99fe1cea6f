//! What the access log hears of an exchange.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use hemi_core::clock;
use hemi_core::config::Lookup;
use hemi_core::logger::{Level, Record, escape_text};
use hemi_proto::ascii::push_decimal;
use hemi_proto::date::format_date;
use http::Method;
use http::header::{REFERER, USER_AGENT};

use crate::vars::{self, WebVar};
use crate::{Request, Response};

/// An exchange that is over.
pub(crate) struct Exchange<'a> {
    pub(crate) req: &'a Request,
    /// The name of the webapp.
    pub(crate) webapp: &'a str,
    pub(crate) response: &'a Response,
    /// Bytes of content sent; 0 if the connection was cut under way.
    pub(crate) sent: u64,
    /// When it was over.
    pub(crate) at: SystemTime,
    /// How long it took, if that was measured.
    pub(crate) took: Option<Duration>,
}

impl Exchange<'_> {
    /// Whether it is not known what was asked for: the head could not be read.
    fn is_nameless(&self) -> bool {
        self.req.sent_uri().is_empty() && self.req.method() != Method::CONNECT
    }
}

impl Record<WebVar> for Exchange<'_> {
    fn level(&self) -> Level {
        match self.response.status() {
            status if status.is_server_error() => Level::Error,
            status if status.is_client_error() => Level::Warning,
            _ => Level::Info,
        }
    }

    /// The common log format, as Apache and nginx write it.
    fn common(&self, line: &mut Vec<u8>) {
        let req = self.req;
        match req.remote_ip() {
            None => line.extend_from_slice(b"unix:"),
            ip => put_ip(line, ip),
        }
        line.extend_from_slice(b" - ");
        put_or_dash(line, req.user().unwrap_or_default().as_bytes());
        line.extend_from_slice(b" [");
        line.extend_from_slice(&common_date(self.at));
        line.extend_from_slice(b"] \"");
        if self.is_nameless() {
            line.push(b'-');
        } else {
            line.extend_from_slice(req.method().as_str().as_bytes());
            line.push(b' ');
            let target = match req.sent_uri() {
                // CONNECT names nothing else.
                "" => req.authority().map_or("", |host| host.as_str()),
                uri => uri,
            };
            put_escaped(line, target.as_bytes());
            line.push(b' ');
            line.extend_from_slice(vars::version(req.version()).as_bytes());
        }
        line.extend_from_slice(b"\" ");
        line.extend_from_slice(self.response.status().as_str().as_bytes());
        line.push(b' ');
        push_decimal(line, self.sent);
    }

    /// The combined log format: also what Apache and nginx write.
    fn combined(&self, line: &mut Vec<u8>) {
        self.common(line);
        for field in [REFERER, USER_AGENT] {
            line.extend_from_slice(b" \"");
            put_or_dash(line, &vars::field(self.req, &field));
            line.push(b'"');
        }
    }
}

impl Lookup<WebVar> for Exchange<'_> {
    fn lookup<'a>(&'a self, var: &'a WebVar) -> Cow<'a, [u8]> {
        match var {
            WebVar::Method | WebVar::Version if self.is_nameless() => Cow::default(),
            WebVar::Webapp => self.webapp.as_bytes().into(),
            WebVar::Status => self.response.status().as_str().as_bytes().to_vec().into(),
            WebVar::Sent(name) => self
                .response
                .headers()
                .get(name)
                .map_or(Cow::default(), |value| value.as_bytes().into()),
            WebVar::BytesSent
            | WebVar::RequestTime
            | WebVar::Time
            | WebVar::TimeCommon
            | WebVar::Msec => {
                let mut text = Vec::new();
                self.put(var, &mut text);
                text.into()
            }
            _ => self.req.lookup(var),
        }
    }

    fn put(&self, var: &WebVar, text: &mut Vec<u8>) {
        match var {
            WebVar::RemoteAddr => put_ip(text, self.req.remote_ip()),
            WebVar::RequestId => self.req.put_id(text),
            WebVar::Status => text.extend_from_slice(self.response.status().as_str().as_bytes()),
            WebVar::BytesSent => push_decimal(text, self.sent),
            WebVar::RequestTime => {
                if let Some(took) = self.took {
                    put_seconds(text, took);
                }
            }
            WebVar::Time => text.extend_from_slice(&clock::iso8601(self.at)),
            WebVar::TimeCommon => text.extend_from_slice(&common_date(self.at)),
            WebVar::Msec => put_seconds(text, since_1970(self.at)),
            _ => text.extend_from_slice(&self.lookup(var)),
        }
    }
}

/// `21/Nov/2026:13:05:09 +0000`, made once a second on each core.
fn common_date(at: SystemTime) -> [u8; 26] {
    thread_local! {
        static LAST: Cell<(u64, [u8; 26])> = const { Cell::new((u64::MAX, [0; 26])) };
    }
    let second = since_1970(at).as_secs();
    let (kept, text) = LAST.get();
    if kept == second {
        return text;
    }
    // `Sat, 21 Nov 2026 13:05:09 GMT`
    let [_, _, _, _, _, d1, d2, _, m1, m2, m3, _, y1, y2, y3, y4, _, time @ ..] = format_date(at);
    let mut text = *b"dd/mmm/yyyy:hh:mm:ss +0000";
    text[..12].copy_from_slice(&[d1, d2, b'/', m1, m2, m3, b'/', y1, y2, y3, y4, b':']);
    text[12..20].copy_from_slice(&time[..8]);
    LAST.set((second, text));
    text
}

fn since_1970(at: SystemTime) -> Duration {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// `12.345`
fn put_seconds(text: &mut Vec<u8>, time: Duration) {
    push_decimal(text, time.as_secs());
    let millis = time.subsec_millis();
    let digit = |n: u32| b'0' + (n % 10) as u8;
    text.extend_from_slice(&[b'.', digit(millis / 100), digit(millis / 10), digit(millis)]);
}

/// An address; nothing for none.
pub(crate) fn put_ip(text: &mut Vec<u8>, ip: Option<IpAddr>) {
    match ip {
        Some(IpAddr::V4(ip)) => {
            for (n, byte) in ip.octets().into_iter().enumerate() {
                if n > 0 {
                    text.push(b'.');
                }
                push_decimal(text, byte.into());
            }
        }
        // Writing to memory does not fail.
        Some(IpAddr::V6(ip)) => drop(write!(text, "{ip}")),
        None => {}
    }
}

/// What may come from a stranger.
fn put_escaped(line: &mut Vec<u8>, value: &[u8]) {
    let start = line.len();
    line.extend_from_slice(value);
    escape_text(line, start);
}

fn put_or_dash(line: &mut Vec<u8>, value: &[u8]) {
    put_escaped(line, if value.is_empty() { b"-" } else { value });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_as_others_write_them() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_266_309_123);
        assert_eq!(&common_date(at), b"21/Nov/2026:13:05:09 +0000");
        assert_eq!(&common_date(at + Duration::from_secs(1)), b"21/Nov/2026:13:05:10 +0000");
    }

    #[test]
    fn numbers_are_as_others_write_them() {
        for (millis, expected) in [(0, "0.000"), (1, "0.001"), (61_234, "61.234")] {
            let mut text = Vec::new();
            put_seconds(&mut text, Duration::from_millis(millis));
            assert_eq!(text, expected.as_bytes());
        }
        for ip in ["0.0.0.0", "192.0.2.255", "::", "2001:db8::1"] {
            let mut text = Vec::new();
            put_ip(&mut text, ip.parse().ok());
            assert_eq!(text, ip.as_bytes());
        }
    }
}
