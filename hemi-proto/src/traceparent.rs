//! The field `traceparent`, by which traces go on from one service to the next (W3C Trace Context).

/// Which trace a request belongs to, and which span of it made the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent<'a> {
    /// 32 lower-case hexadecimal digits, not all zero.
    pub trace_id: &'a str,
    /// 16 of them, not all zero.
    pub span_id: &'a str,
    /// Whether that span may have been recorded.
    pub sampled: bool,
}

/// Reads the value of the field, of this version or a later one; `None` if it is to be ignored.
#[must_use]
pub fn parse_traceparent(value: &[u8]) -> Option<TraceParent<'_>> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.splitn(5, '-');
    let (version, trace_id, span_id) = (parts.next()?, parts.next()?, parts.next()?);
    let (flags, rest) = (parts.next()?, parts.next());
    // What a later version adds comes after another dash.
    let known = match version {
        "ff" => false,
        "00" => rest.is_none(),
        _ => true,
    };
    let good = known
        && is_hex(version, 2)
        && is_hex(trace_id, 32)
        && is_hex(span_id, 16)
        && is_hex(flags, 2)
        && [trace_id, span_id].iter().all(|id| id.bytes().any(|b| b != b'0'));
    // The lowest of the flags (section 3.2.2.5).
    let sampled = flags.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']);
    good.then_some(TraceParent { trace_id, span_id, sampled })
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn good_ones_are_read() {
        for (value, sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), true),
            (format!("00-{TRACE}-{SPAN}-00"), false),
            (format!("cc-{TRACE}-{SPAN}-ff"), true),
            (format!("cc-{TRACE}-{SPAN}-02-what-the-future-will-be-like"), false),
        ] {
            let expected = TraceParent { trace_id: TRACE, span_id: SPAN, sampled };
            assert_eq!(parse_traceparent(value.as_bytes()), Some(expected), "{value}");
        }
    }

    #[test]
    fn bad_ones_are_not() {
        for value in [
            String::new(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("0g-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-+1"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}0-{SPAN}-01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01\u{e9}"),
        ] {
            assert_eq!(parse_traceparent(value.as_bytes()), None, "{value}");
        }
        assert_eq!(parse_traceparent(b"\xff"), None);
    }
}
