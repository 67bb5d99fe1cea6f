//! Dates: in fields (RFC 9110 section 5.6.7), and in logs.

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

/// The length of a time as [`format_iso8601`] writes it.
pub const ISO8601_LEN: usize = 24;

/// Formats `time` as ISO 8601, RFC 3339 and RFC 5424 have it, in UTC: `1994-11-06T08:49:37.123Z`.
///
/// The same years apply as for [`format_date`].
pub fn format_iso8601(time: SystemTime) -> [u8; ISO8601_LEN] {
    const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_millis();
    let [_, _, _, _, _, d1, d2, _, m1, m2, m3, _, y1, y2, y3, y4, _, clock @ ..] =
        format_date(time);
    let month = MONTHS.chunks(3).position(|name| name == [m1, m2, m3]).unwrap_or_default() + 1;
    let digit = |n: usize| b'0' + (n % 10) as u8;
    let millis = millis as usize;
    let mut text = *b"yyyy-mm-ddThh:mm:ss.000Z";
    let parts: [&[u8]; 3] = [&[y1, y2, y3, y4], &[digit(month / 10), digit(month)], &[d1, d2]];
    for (part, at) in parts.into_iter().zip([0, 5, 8]) {
        text[at..at + part.len()].copy_from_slice(part);
    }
    text[11..19].copy_from_slice(&clock[..8]);
    text[20..23].copy_from_slice(&[digit(millis / 100), digit(millis / 10), digit(millis)]);
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
    fn iso8601() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (784_111_777_123, "1994-11-06T08:49:37.123Z"),
            (951_782_400_009, "2000-02-29T00:00:00.009Z"),
            (1_798_761_599_999, "2026-12-31T23:59:59.999Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(std::str::from_utf8(&format_iso8601(time)), Ok(text));
        }
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
