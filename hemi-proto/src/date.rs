//! Dates in fields (RFC 9110 section 5.6.7).

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The length of an IMF-fixdate, the form in which dates are sent.
pub const DATE_LEN: usize = 29;

/// Formats `time` as an IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
///
/// Parts of a second are dropped. A time outside the years 1970 to 9999, which the form can't
/// express or which no file should have, becomes the nearest one inside.
pub fn format_date(time: SystemTime) -> [u8; DATE_LEN] {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST);
    let mut text = [b' '; DATE_LEN];
    // Writing into the array fails only when it is too small, which the fixed form rules out.
    let _ = write!(&mut text[..], "{}", httpdate::HttpDate::from(UNIX_EPOCH + since_epoch));
    text
}

/// Reads a date in any of the three forms that HTTP has had; `None` when it is in none of them.
pub fn parse_date(text: &[u8]) -> Option<SystemTime> {
    std::str::from_utf8(text).ok().and_then(|text| httpdate::parse_http_date(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms() {
        let time = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse_date(text.as_bytes()), Some(time), "{text}");
        }
        assert_eq!(&format_date(time), b"Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn malformed() {
        for text in [
            "",
            "0",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse_date(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_date(b"\xff"), None);
    }

    #[test]
    fn clamped() {
        assert_eq!(
            &format_date(UNIX_EPOCH - Duration::from_secs(1)),
            b"Thu, 01 Jan 1970 00:00:00 GMT"
        );
        let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(&format_date(far), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
