//! What the access log hears of an exchange.

use std::io::Write;
use std::time::SystemTime;

use hemi_core::logger::Record;
use http::StatusCode;

use crate::Request;

/// An exchange that is over.
pub(crate) struct Exchange<'a> {
    pub(crate) req: &'a Request,
    pub(crate) status: StatusCode,
    /// Bytes of content sent; 0 if the connection was cut under way.
    pub(crate) sent: u64,
    pub(crate) at: SystemTime,
}

impl Record for Exchange<'_> {
    /// The common log format, as Apache and nginx write it.
    fn common(&self, line: &mut Vec<u8>) {
        let req = self.req;
        match req.remote_ip() {
            Some(ip) => push(line, format_args!("{ip}")),
            None => line.extend_from_slice(b"unix:"),
        }
        line.extend_from_slice(b" - - [");
        date(line, self.at);
        line.extend_from_slice(b"] \"");
        push(line, format_args!("{} ", req.method()));
        escape(line, req.path_and_query().as_bytes());
        push(line, format_args!(" {:?}\" {} {}", req.version(), self.status.as_u16(), self.sent));
    }
}

fn push(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = line.write_fmt(text);
}

/// `21/Nov/2026:13:05:09 +0000`, from `Sat, 21 Nov 2026 13:05:09 GMT`.
fn date(line: &mut Vec<u8>, at: SystemTime) {
    let text = hemi_proto::date::format_date(at);
    let [_, _, _, _, _, d1, d2, _, m1, m2, m3, _, y1, y2, y3, y4, _, time @ ..] = text;
    line.extend_from_slice(&[d1, d2, b'/', m1, m2, m3, b'/', y1, y2, y3, y4, b':']);
    line.extend_from_slice(&time[..8]);
    line.extend_from_slice(b" +0000");
}

/// Appends what may come from a stranger; what could end the line or deceive a terminal as `\xHH`.
fn escape(line: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b' '..=b'~' if byte != b'"' && byte != b'\\' => line.push(byte),
            _ => push(line, format_args!("\\x{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_the_line_is_escaped() {
        let mut line = Vec::new();
        escape(&mut line, b"/a\"\n\x1b[2J\\\xff b");
        assert_eq!(line, b"/a\\x22\\x0A\\x1B[2J\\x5C\\xFF b");
    }

    #[test]
    fn dates_are_as_others_write_them() {
        let mut line = Vec::new();
        date(&mut line, SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_795_266_309));
        assert_eq!(String::from_utf8(line).unwrap(), "21/Nov/2026:13:05:09 +0000");
    }
}
