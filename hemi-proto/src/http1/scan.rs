//! Looks through a head once: where its parts are, and whether each byte may be there.

use std::ops::Range;

use http::Version;

use super::HeadLimits;
use super::fields::ControlFields;
use super::request::MAX_METHOD;
use crate::ascii::{is_forbidden_control, is_token, trim_ows};
use crate::fields::Names;

/// The parts of a request head that has come whole. Of the target it is known only where it ends.
pub(super) struct Scanned<'buf> {
    pub(super) method: &'buf [u8],
    pub(super) target: Range<usize>,
    pub(super) version: Version,
    pub(super) fields: ScannedFields<'buf>,
}

/// The parts of a response head that has come whole.
pub(super) struct ScannedResponse<'buf> {
    pub(super) version: Version,
    /// Three digits.
    pub(super) status: &'buf [u8],
    pub(super) reason: Range<usize>,
    pub(super) fields: ScannedFields<'buf>,
}

/// The fields of a head that has come whole.
pub(super) struct ScannedFields<'buf> {
    pub(super) control: ControlFields<'buf>,
    pub(super) names: Names,
    /// Where the field lines are.
    pub(super) lines: Range<usize>,
    pub(super) count: usize,
    /// Where the head ends.
    pub(super) end: usize,
}

/// A map has room for no more (24,576), nor for longer names.
const MAX_FIELDS: usize = 24 << 10;
const MAX_NAME: usize = 32 << 10;

/// Scans the head that `buf` starts with; `None` if it is not whole, or has a fault that is then to be named
/// by those who take their time.
pub(super) fn scan<'buf>(buf: &'buf [u8], limits: &HeadLimits) -> Option<Scanned<'buf>> {
    let method = buf.get(..end_of(buf, 0, &TOKEN)?)?;
    let start = method.len() + 1;
    let target = start..end_of(buf, start, &VISIBLE)?;
    let (version, at) = match buf.get(target.end..)?.first_chunk()? {
        b" HTTP/1.1\r\n" => (Version::HTTP_11, target.end + 11),
        b" HTTP/1.0\r\n" => (Version::HTTP_10, target.end + 11),
        _ => return None,
    };
    if buf.get(method.len()) != Some(&b' ')
        || !(1..=MAX_METHOD).contains(&method.len())
        || !(1..=limits.target_size).contains(&target.len())
    {
        return None;
    }
    Some(Scanned { method, target, version, fields: scan_fields(buf, at, limits)? })
}

/// The same for the head of a response.
pub(super) fn scan_response<'buf>(
    buf: &'buf [u8],
    limits: &HeadLimits,
) -> Option<ScannedResponse<'buf>> {
    let version = match buf.first_chunk()? {
        b"HTTP/1.1 " => Version::HTTP_11,
        b"HTTP/1.0 " => Version::HTTP_10,
        _ => return None,
    };
    let status = buf.get(9..12)?;
    let reason = match buf.get(12)? {
        b' ' => 13..end_of_value(buf, 13)?,
        _ => 12..12,
    };
    if !status.iter().all(u8::is_ascii_digit) || !ends_line(buf, reason.end) {
        return None;
    }
    let fields = scan_fields(buf, reason.end + 2, limits)?;
    Some(ScannedResponse { version, status, reason, fields })
}

/// Scans the lines from here to the empty one.
fn scan_fields<'buf>(
    buf: &'buf [u8],
    mut at: usize,
    limits: &HeadLimits,
) -> Option<ScannedFields<'buf>> {
    let (mut control, mut names) = (ControlFields::default(), Names::default());
    let (lines, mut count) = (at, 0);
    while *buf.get(at)? != b'\r' {
        let colon = end_of(buf, at, &TOKEN)?;
        let name = buf.get(at..colon)?;
        let value = colon + 1;
        let end = end_of_value(buf, value)?;
        count += 1;
        let is_field = buf.get(colon) == Some(&b':') && (1..=MAX_NAME).contains(&name.len());
        if !is_field || !ends_line(buf, end) || count > limits.fields.min(MAX_FIELDS) {
            return None;
        }
        names.note(name);
        control.note(name, trim_ows(buf.get(value..end)?)).ok()?;
        at = end + 2;
    }
    let end = at + 2;
    (ends_line(buf, at) && end <= limits.head_size).then_some(ScannedFields {
        control,
        names,
        lines: lines..at,
        count,
        end,
    })
}

fn ends_line(buf: &[u8], at: usize) -> bool {
    buf.get(at..at + 2) == Some(b"\r\n")
}

/// Where the first byte is that is not of this class.
fn end_of(buf: &[u8], start: usize, class: &[bool; 256]) -> Option<usize> {
    let mut at = start;
    while class[usize::from(*buf.get(at)?)] {
        at += 1;
    }
    Some(at)
}

/// Where the first control byte is, but for HTAB; most often the CR after the value.
fn end_of_value(buf: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while let Some(word) = buf.get(at..)?.first_chunk() {
        if may_have_control(u64::from_le_bytes(*word)) {
            let control = word.iter().position(|&b| is_forbidden_control(b));
            if let Some(offset) = control {
                return Some(at + offset);
            }
        }
        at += size_of::<u64>();
    }
    let rest = buf.get(at..)?;
    rest.iter().position(|&b| is_forbidden_control(b)).map(|offset| at + offset)
}

/// Whether a byte is below 0x20 or 0x7f: never false if one is.
fn may_have_control(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    // A byte that borrows has its high bit set then, and had not before.
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let deleted = word ^ (ONES * 0x7f);
    let is_del = deleted.wrapping_sub(ONES) & !deleted;
    (below_space | is_del) & (ONES * 0x80) != 0
}

const TOKEN: [bool; 256] = {
    let mut class = [false; 256];
    let mut b = 0;
    while b < 256 {
        class[b] = is_token(b as u8);
        b += 1;
    }
    class
};

/// What is neither space nor control.
const VISIBLE: [bool; 256] = {
    let mut class = [false; 256];
    let mut b = 0;
    while b < 256 {
        class[b] = b > 0x20 && b != 0x7f;
        b += 1;
    }
    class
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_are_found_wherever_they_are() {
        for b in 0..=255 {
            for at in 0..8 {
                for filler in [b' ', b'~', b'\t', 0x80, 0xff] {
                    let mut word = [filler; 8];
                    word[at] = b;
                    let found = may_have_control(u64::from_le_bytes(word));
                    assert!(found || !word.iter().any(|&b| is_forbidden_control(b)), "{word:?}");
                    let mut bytes = [b"ab".as_slice(), &word, b"cd\r"].concat();
                    let end = if is_forbidden_control(b) { at + 2 } else { 12 };
                    assert_eq!(end_of_value(&bytes, 0), Some(end));
                    assert_eq!(end_of_value(&bytes, 1), Some(end));
                    bytes.pop();
                    assert_eq!(end_of_value(&bytes, 0), is_forbidden_control(b).then_some(end));
                }
            }
        }
    }

    /// httparse is laxer: it takes LF alone for the end of a line, and empty lines before the head.
    fn strict(buf: &[u8]) -> bool {
        let lfs = buf.iter().enumerate().filter(|(_, b)| **b == b'\n');
        buf[0] != b'\r' && lfs.into_iter().all(|(at, _)| at > 0 && buf[at - 1] == b'\r')
    }

    #[test]
    fn what_another_parser_reads_is_read_the_same() {
        let heads: [&[u8]; 4] = [
            b"GET /a?b=%20c HTTP/1.1\r\nHost: a.test:80\r\nAccept:*/*\r\n\r\n",
            b"POST / HTTP/1.0\r\nContent-Length: 3 \r\nX-Y:\t\xff\x80 ~\r\n\r\nabc",
            b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
            b"G / HTTP/1.1\r\n\r\n",
        ];
        let pieces: [&[u8]; 16] = [
            b"\r",
            b"\n",
            b"\r\n",
            b" ",
            b"\t",
            b":",
            b"\0",
            b"\x7f",
            b"\x80",
            b"\x0b",
            b"A",
            b"/",
            b"\r\n ",
            b"HTTP/1.1",
            b"\"",
            b"",
        ];
        let limits = HeadLimits { fields: 128, ..HeadLimits::default() };
        let mut seed = 1_u32;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % below
        };
        let (mut good, mut bad) = (0, 0);
        for _ in 0..200_000 {
            let mut buf = heads[random(heads.len())].to_vec();
            for _ in 0..random(3) {
                let at = random(buf.len());
                let until = (at + random(3)).min(buf.len());
                buf.splice(at..until, pieces[random(pieces.len())].iter().copied());
            }
            let mut slots = [httparse::EMPTY_HEADER; 128];
            let mut other = httparse::Request::new(&mut slots);
            let read = other.parse(&buf);
            let show = String::from_utf8_lossy(&buf).into_owned();
            let Some(scanned) = scan(&buf, &limits) else {
                bad += 1;
                let whole =
                    matches!(read, Ok(httparse::Status::Complete(end)) if strict(&buf[..end]));
                assert!(!whole, "{show:?}");
                continue;
            };
            good += 1;
            let reserved = [b'"', b'<', b'>', b'#', 0x80]
                .iter()
                .any(|b| buf[scanned.target.clone()].contains(b));
            if read.is_err() && reserved {
                // To be refused with the target.
                continue;
            }
            assert_eq!(read, Ok(httparse::Status::Complete(scanned.fields.end)), "{show:?}");
            assert_eq!(other.method.map(str::as_bytes), Some(scanned.method));
            assert_eq!(other.path.map(str::as_bytes), Some(&buf[scanned.target.clone()]));
            let minor = u8::from(scanned.version == Version::HTTP_11);
            assert_eq!(other.version, Some(minor));
            let lines: Vec<_> = crate::fields::lines(&buf[scanned.fields.lines.clone()]).collect();
            let others: Vec<_> =
                other.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
            assert_eq!(lines, others, "{show:?}");
        }
        assert!(good > 10_000 && bad > 10_000, "{good} {bad}");
    }

    #[test]
    fn responses_that_another_parser_reads_are_read_the_same() {
        let heads: [&[u8]; 5] = [
            b"HTTP/1.1 200 OK\r\nServer: a\r\nContent-Length:12\r\n\r\nHello",
            b"HTTP/1.0 404 Not Found\r\nX-Y:\t\xff\x80 ~\r\n\r\n",
            b"HTTP/1.1 204\r\nA:\r\n\r\n",
            b"HTTP/1.1 599 \r\n\r\n",
            b"HTTP/1.1 200 \xe9\r\nA: b\r\n\r\n",
        ];
        let pieces: [&[u8]; 15] = [
            b"\r",
            b"\n",
            b"\r\n",
            b" ",
            b"\t",
            b":",
            b"\0",
            b"\x7f",
            b"\x80",
            b"\x0b",
            b"A",
            b"2",
            b"\r\n ",
            b"HTTP/1.1",
            b"",
        ];
        let limits = HeadLimits { fields: 128, ..HeadLimits::default() };
        let mut seed = 7_u32;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % below
        };
        let (mut good, mut bad) = (0, 0);
        for _ in 0..200_000 {
            let mut buf = heads[random(heads.len())].to_vec();
            for _ in 0..random(3) {
                let at = random(buf.len());
                let until = (at + random(3)).min(buf.len());
                buf.splice(at..until, pieces[random(pieces.len())].iter().copied());
            }
            let mut slots = [httparse::EMPTY_HEADER; 128];
            let mut other = httparse::Response::new(&mut slots);
            let read = other.parse(&buf);
            let show = String::from_utf8_lossy(&buf).into_owned();
            let Some(scanned) = scan_response(&buf, &limits) else {
                bad += 1;
                let whole =
                    matches!(read, Ok(httparse::Status::Complete(end)) if strict(&buf[..end]));
                assert!(!whole, "{show:?}");
                continue;
            };
            good += 1;
            assert_eq!(read, Ok(httparse::Status::Complete(scanned.fields.end)), "{show:?}");
            assert_eq!(
                other.code.map(|code| format!("{code:03}").into_bytes()).as_deref(),
                Some(scanned.status)
            );
            assert_eq!(other.version, Some(u8::from(scanned.version == Version::HTTP_11)));
            let lines: Vec<_> = crate::fields::lines(&buf[scanned.fields.lines.clone()]).collect();
            let others: Vec<_> =
                other.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
            assert_eq!(lines, others, "{show:?}");
        }
        assert!(good > 10_000 && bad > 10_000, "{good} {bad}");
    }
}
