//! When a certificate is to be renewed, and when a CA is to be asked again.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer};

use super::jose::base64url;
use crate::x509::Certificate;

/// When a CA wants a certificate to be renewed (RFC 9773, 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Renewal {
    /// The window, of which a moment is to be chosen at random.
    pub suggested_window: Window,
}

/// A time with a beginning and an end, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Window {
    /// Its beginning.
    #[serde(deserialize_with = "seconds")]
    pub start: i64,
    /// Its end.
    #[serde(deserialize_with = "seconds")]
    pub end: i64,
}

fn seconds<'de, D: Deserializer<'de>>(text: D) -> Result<i64, D::Error> {
    let text = String::deserialize(text)?;
    let time = text.parse::<jiff::Timestamp>().map_err(serde::de::Error::custom)?;
    Ok(time.as_second())
}

impl Window {
    /// The moment at this share of it, from 0 to 1; none if it ends before it begins.
    #[must_use]
    pub fn at(self, share: f64) -> Option<i64> {
        let length = self.end.checked_sub(self.start).filter(|length| *length >= 0)?;
        self.start.checked_add((length as f64 * share) as i64)
    }
}

/// By what a CA is asked about the renewal of a certificate (RFC 9773, 4.1); none if it does not say which
/// key has signed it.
#[must_use]
pub fn certificate_id(certificate: &Certificate<'_>) -> Option<String> {
    let key = certificate.authority_key?;
    Some(format!("{}.{}", base64url(key), base64url(certificate.serial)))
}

/// When a certificate is to be renewed that nobody says more about, in seconds since 1970: with a third of its
/// life left, or half if it lives for less than ten days; `share`, from 0 to 1, spreads that over a twentieth
/// of its life before.
#[must_use]
pub fn renew_at(not_before: i64, not_after: i64, share: f64) -> i64 {
    let life = not_after.saturating_sub(not_before).max(0);
    let left = if life < 10 * 24 * 3600 { life / 2 } else { life / 3 };
    let early = (life as f64 / 20.0 * share.clamp(0.0, 1.0)) as i64;
    not_after.saturating_sub(left).saturating_sub(early)
}

/// How long to wait by a field `retry-after` (RFC 9110, 10.2.3).
#[must_use]
pub fn retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_ahead_of_time() {
        const DAY: i64 = 24 * 3600;
        assert_eq!(renew_at(0, 90 * DAY, 0.0), 60 * DAY);
        assert_eq!(renew_at(0, 90 * DAY, 1.0), 60 * DAY - 90 * DAY / 20);
        assert_eq!(renew_at(0, 6 * DAY, 0.0), 3 * DAY);
        assert_eq!(renew_at(5, 0, 1.0), 0);
        assert!(renew_at(i64::MIN, i64::MAX, 1.0) < i64::MAX);
    }

    #[test]
    fn a_window_is_read_and_chosen_from() {
        let text =
            r#"{"suggestedWindow":{"start":"2025-01-02T04:00:00Z","end":"2025-01-03T04:00:00Z"}}"#;
        let Renewal { suggested_window: window } = serde_json::from_str(text).unwrap();
        assert_eq!(window.at(0.0), Some(1_735_790_400));
        assert_eq!(window.at(0.5), Some(1_735_790_400 + 12 * 3600));
        assert_eq!(Window { start: 1, end: 0 }.at(0.5), None);
    }

    #[test]
    fn fields_tell_how_long_to_wait() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(retry_after(b"120", now), seconds(120));
        assert_eq!(retry_after(b"Sun, 06 Nov 1994 08:49:37 GMT", now), seconds(7));
        assert_eq!(retry_after(b"Sat, 06 Nov 1993 08:49:37 GMT", now), seconds(0));
        assert_eq!(retry_after(b"soon", now), None);
    }
}
