//! Byte ranges (RFC 9110 section 14).

use std::fmt::Write;

use http::header::{HeaderMap, HeaderValue, RANGE};

use crate::ascii::{list_elements, trim_ows};

/// A range of bytes that lies inside its representation and is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    first: u64,
    last: u64,
}

impl ByteRange {
    /// Position of the first byte.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Position of the last byte, which belongs to the range.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// How many bytes there are, at least one.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(&self) -> u64 {
        self.last - self.first + 1
    }

    /// The value of Content-Range for this part of `total` bytes: `bytes 0-499/1234`.
    pub fn content_range(&self, total: u64) -> HeaderValue {
        ascii_value(format_args!("bytes {}-{}/{total}", self.first, self.last))
    }

    fn touches(&self, other: &Self) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// The value of Content-Range in a 416 answer: `bytes */1234`.
pub fn unsatisfied_content_range(total: u64) -> HeaderValue {
    ascii_value(format_args!("bytes */{total}"))
}

/// What a Range field asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeOutcome {
    /// Answer with the whole representation, as if there were no Range field.
    Whole,
    /// Answer 206 with these parts, of which there is at least one.
    Partial(Ranges),
    /// Answer 416.
    Unsatisfiable,
}

/// Ranges in the order they were asked for; no two of them overlap or touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    ranges: Vec<ByteRange>,
}

/// More ranges than any client needs are an attempt to amplify work.
const MAX_RANGES: usize = 16;

/// RFC 9110 section 14.2 suspects "more than two overlapping ranges".
const MAX_OVERLAPS: usize = 2;

impl Ranges {
    /// Resolves the Range field of a GET request for a representation of `total` bytes.
    ///
    /// The field is to be ignored (`Whole`) when it is sent more than once. Other methods have no
    /// ranges, and If-Range goes first: see
    /// [`if_range_holds`](crate::conditional::if_range_holds).
    pub fn from_headers(headers: &HeaderMap, total: u64) -> RangeOutcome {
        let mut lines = headers.get_all(RANGE).iter();
        match (lines.next(), lines.next()) {
            (Some(line), None) => Self::parse(line.as_bytes(), total),
            _ => RangeOutcome::Whole,
        }
    }

    /// Resolves the value of a Range field against `total` bytes.
    ///
    /// A malformed value, an unknown unit, more than 16 ranges or more than two overlaps give
    /// `Whole`. Ranges beyond the end are left out; if none remains, the field is unsatisfiable.
    /// Ranges that overlap or touch are joined.
    pub fn parse(value: &[u8], total: u64) -> RangeOutcome {
        let Some(specs) = byte_specs(value) else { return RangeOutcome::Whole };
        let mut ranges: Vec<ByteRange> = Vec::new();
        let (mut count, mut overlaps) = (0, 0);
        for spec in list_elements(specs) {
            count += 1;
            let Some(spec) = Spec::parse(spec) else { return RangeOutcome::Whole };
            if count > MAX_RANGES {
                return RangeOutcome::Whole;
            }
            let range = match spec.resolve(total) {
                Resolved::Range(range) => range,
                Resolved::Beyond => continue,
                Resolved::Inexpressible => return RangeOutcome::Whole,
            };
            overlaps += usize::from(ranges.iter().any(|other| other.overlaps(&range)));
            if overlaps > MAX_OVERLAPS {
                return RangeOutcome::Whole;
            }
            join(&mut ranges, range);
        }
        match (count, ranges.is_empty()) {
            (0, _) => RangeOutcome::Whole,
            (_, true) => RangeOutcome::Unsatisfiable,
            (_, false) => RangeOutcome::Partial(Self { ranges }),
        }
    }

    /// The ranges, at least one.
    pub fn as_slice(&self) -> &[ByteRange] {
        &self.ranges
    }

    /// The range, if there is just one, so that no multipart content is needed.
    pub fn single(&self) -> Option<ByteRange> {
        match self.ranges.as_slice() {
            [range] => Some(*range),
            _ => None,
        }
    }
}

/// Adds `range`, joined with those that it overlaps or touches, at the place of the first of them.
fn join(ranges: &mut Vec<ByteRange>, mut range: ByteRange) {
    let mut place = ranges.len();
    // A joined range may touch ranges that neither of its parts did.
    while let Some(at) = ranges.iter().position(|other| other.touches(&range)) {
        let other = ranges.remove(at);
        range.first = range.first.min(other.first);
        range.last = range.last.max(other.last);
        place = place.min(at);
    }
    ranges.insert(place.min(ranges.len()), range);
}

/// What follows `bytes=`; units are case-insensitive (RFC 9110 section 14.1).
fn byte_specs(value: &[u8]) -> Option<&[u8]> {
    let (unit, specs) = trim_ows(value).split_at_checked(b"bytes=".len())?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(specs)
}

#[derive(Clone, Copy)]
enum Spec {
    From(u64),
    Between(u64, u64),
    Suffix(u64),
}

enum Resolved {
    Range(ByteRange),
    /// No byte of the representation is meant.
    Beyond,
    /// All of an empty representation, which Content-Range can't express.
    Inexpressible,
}

impl Spec {
    fn parse(spec: &[u8]) -> Option<Self> {
        let dash = memchr::memchr(b'-', spec)?;
        let (first, last) = (spec.get(..dash)?, spec.get(dash + 1..)?);
        match (first, last) {
            ([], last) => position(last).map(Self::Suffix),
            (first, []) => position(first).map(Self::From),
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    fn resolve(self, total: u64) -> Resolved {
        let Some(end) = total.checked_sub(1) else {
            return match self {
                Self::Suffix(1..) => Resolved::Inexpressible,
                _ => Resolved::Beyond,
            };
        };
        match self {
            Self::Suffix(0) => Resolved::Beyond,
            Self::Suffix(len) => {
                Resolved::Range(ByteRange { first: total.saturating_sub(len), last: end })
            }
            Self::From(first) | Self::Between(first, _) if first > end => Resolved::Beyond,
            Self::From(first) => Resolved::Range(ByteRange { first, last: end }),
            Self::Between(first, last) => Resolved::Range(ByteRange { first, last: last.min(end) }),
        }
    }
}

/// A decimal number; one that is too large is as good as the largest.
fn position(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &b| match b {
        b'0'..=b'9' => Some(value.saturating_mul(10).saturating_add(u64::from(b - b'0'))),
        _ => None,
    })
}

fn ascii_value(text: std::fmt::Arguments<'_>) -> HeaderValue {
    let mut value = String::new();
    // Writing to a string can't fail, and ASCII digits make a valid value.
    let _ = write!(value, "{text}");
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolved() {
        for (value, total, expected) in [
            ("bytes=0-499", 1000, vec![(0, 499)]),
            ("bytes=0-0", 1000, vec![(0, 0)]),
            ("bytes=999-", 1000, vec![(999, 999)]),
            ("bytes=0-", 1000, vec![(0, 999)]),
            ("bytes=-500", 1000, vec![(500, 999)]),
            ("bytes=-5000", 1000, vec![(0, 999)]),
            ("bytes=0-5000", 1000, vec![(0, 999)]),
            ("BYTES=0-1", 1000, vec![(0, 1)]),
            ("bytes=0-1,5-6", 1000, vec![(0, 1), (5, 6)]),
            ("bytes= 5-6 ,\t0-1 ,", 1000, vec![(5, 6), (0, 1)]),
            ("bytes=0-1,2000-", 1000, vec![(0, 1)]),
            // Joined: overlapping, adjacent, and bridged by a later one.
            ("bytes=0-10,5-15", 1000, vec![(0, 15)]),
            ("bytes=0-4,5-9", 1000, vec![(0, 9)]),
            ("bytes=0-1,8-9,2-7", 1000, vec![(0, 9)]),
            ("bytes=20-30,0-1,25-40", 1000, vec![(20, 40), (0, 1)]),
            ("bytes=0-99999999999999999999999", 1000, vec![(0, 999)]),
            ("bytes=-99999999999999999999999", 1000, vec![(0, 999)]),
            ("bytes=18446744073709551613-", u64::MAX, vec![(u64::MAX - 2, u64::MAX - 1)]),
        ] {
            let RangeOutcome::Partial(ranges) = Ranges::parse(value.as_bytes(), total) else {
                panic!("{value}");
            };
            let found: Vec<_> =
                ranges.as_slice().iter().map(|range| (range.first(), range.last())).collect();
            assert_eq!(found, expected, "{value}");
        }
    }

    #[test]
    fn unsatisfiable() {
        for (value, total) in [
            ("bytes=1000-", 1000),
            ("bytes=1000-2000", 1000),
            ("bytes=-0", 1000),
            ("bytes=-0,2000-", 1000),
            ("bytes=99999999999999999999999-", 1000),
            ("bytes=0-", 0),
            ("bytes=0-0", 0),
            ("bytes=-0", 0),
        ] {
            let outcome = Ranges::parse(value.as_bytes(), total);
            assert_eq!(outcome, RangeOutcome::Unsatisfiable, "{value}");
        }
    }

    #[test]
    fn ignored() {
        let many =
            format!("bytes={}", (0..17).map(|at| format!("{at}0-{at}1,")).collect::<String>());
        for (value, total) in [
            ("", 1000),
            ("bytes", 1000),
            ("bytes=", 1000),
            ("bytes=,", 1000),
            ("bytes=-", 1000),
            ("bytes=a-b", 1000),
            ("bytes=5-2", 1000),
            ("bytes=0-1,x", 1000),
            ("bytes=0--1", 1000),
            ("bytes=+0-1", 1000),
            ("bytes=0 - 1", 1000),
            ("bytes 0-1", 1000),
            ("items=0-1", 1000),
            ("bytes=-5", 0),
            ("bytes=0-,0-,0-,0-", 1000),
            ("bytes=0-9,1-8,2-7,3-6", 1000),
            (many.as_str(), 1000),
        ] {
            assert_eq!(Ranges::parse(value.as_bytes(), total), RangeOutcome::Whole, "{value}");
        }
    }

    #[test]
    fn repeated_field_is_ignored() {
        let mut headers = HeaderMap::new();
        assert_eq!(Ranges::from_headers(&headers, 9), RangeOutcome::Whole);
        headers.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        assert!(matches!(Ranges::from_headers(&headers, 9), RangeOutcome::Partial(_)));
        headers.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(Ranges::from_headers(&headers, 9), RangeOutcome::Whole);
    }

    #[test]
    fn formatted() {
        let range = ByteRange { first: 0, last: 499 };
        assert_eq!(range.len(), 500);
        assert_eq!(range.content_range(1234), "bytes 0-499/1234");
        assert_eq!(unsatisfied_content_range(1234), "bytes */1234");
    }
}
