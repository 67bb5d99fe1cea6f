//! The spelling of values: numbers with units and quoted strings, read and written.
use std::{fmt::Write as _, time::Duration};

/// A number as it stands in a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Int(i64),
    Size(u64),
    Duration(Duration),
}

/// What is wrong with a word that starts like a number, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadNumber {
    pub(super) message: String,
    pub(super) help: String,
}

const SIZE_UNITS: [(&str, u64); 4] =
    [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const UNITS_HELP: &str = "units are ms s m h d for durations and K M G T for sizes";

/// Units that people write out of habit.
const HABITS: [(&str, &[&str]); 9] = [
    ("ms", &["msec", "msecs", "millis", "milliseconds"]),
    ("s", &["sec", "secs", "second", "seconds"]),
    ("m", &["min", "mins", "minute", "minutes"]),
    ("h", &["hr", "hrs", "hour", "hours"]),
    ("d", &["day", "days"]),
    ("K", &["k", "kb", "kib"]),
    ("M", &["mb", "mib"]),
    ("G", &["g", "gb", "gib"]),
    ("T", &["t", "tb", "tib"]),
];

/// Reads a word that starts with a digit, or with a minus and a digit.
pub(super) fn parse_number(word: &str) -> Result<Number, BadNumber> {
    let bad = |message: String, help: String| Err(BadNumber { message, help });
    let unsigned = word.strip_prefix('-').unwrap_or(word);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = unsigned.split_at(digits);
    if let Some(fraction) = unit.strip_prefix('.') {
        return bad_fraction(word, digits, fraction);
    }
    let size = SIZE_UNITS.iter().find(|(name, _)| *name == unit);
    let duration = DURATION_UNITS.iter().find(|(name, _)| *name == unit);
    if unit.is_empty() {
        return match word.parse() {
            Ok(int) => Ok(Number::Int(int)),
            Err(_) => bad(
                format!("the integer `{word}` is too large"),
                format!("integers are from {} to {}", i64::MIN, i64::MAX),
            ),
        };
    }
    let (Some((_, factor)), positive) = (size.or(duration), unsigned.len() == word.len()) else {
        return bad_unit(word, digits, unit);
    };
    if !positive {
        return bad(format!("`{word}` is negative"), "only plain integers may be negative".into());
    }
    let Some(amount) = digits.parse::<u64>().ok().and_then(|amount| amount.checked_mul(*factor))
    else {
        return bad(format!("`{word}` is too large"), "write a smaller number".into());
    };
    Ok(match size {
        Some(_) => Number::Size(amount),
        None => Number::Duration(Duration::from_millis(amount)),
    })
}

fn bad_unit(word: &str, digits: &str, unit: &str) -> Result<Number, BadNumber> {
    let lower = unit.to_lowercase();
    let habit = HABITS.iter().find(|(name, habits)| *name == lower || habits.contains(&&*lower));
    Err(BadNumber {
        message: format!("unknown unit `{unit}` in `{word}`"),
        help: match habit {
            Some((unit, _)) => format!("did you mean `{digits}{unit}`?"),
            None => UNITS_HELP.into(),
        },
    })
}

fn bad_fraction(word: &str, whole: &str, fraction: &str) -> Result<Number, BadNumber> {
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = fraction.split_at(digits);
    if unit.contains('.') {
        return Err(BadNumber {
            message: format!("`{word}` is not a number"),
            help: format!("write it as a string: {}", quote(word)),
        });
    }
    // `1.5s` is 15 tenths of a second: exact in integers or not at all.
    let exact = |factor: u64| {
        let scaled = format!("{whole}{digits}").parse::<u64>().ok()?.checked_mul(factor)?;
        let scale = 10u64.checked_pow(u32::try_from(digits.len()).ok()?)?;
        (scaled % scale == 0).then_some(scaled / scale)
    };
    let factor = |units: &[(&str, u64)]| units.iter().find(|(name, _)| *name == unit).map(|u| u.1);
    let duration = factor(&DURATION_UNITS).and_then(exact).map(Duration::from_millis);
    let size = factor(&SIZE_UNITS).and_then(exact);
    let whole = duration.map(show_duration).or(size.map(show_size));
    Err(BadNumber {
        message: format!("`{word}` has a fraction"),
        help: match whole {
            Some(whole) => format!("write whole numbers: `{whole}`"),
            None => "write whole numbers in a smaller unit".into(),
        },
    })
}

/// Writes a duration in the largest unit that fits; anything below a millisecond is cut off.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".into();
    }
    let fits = |factor: u64| millis.is_multiple_of(u128::from(factor));
    let (unit, factor) = DURATION_UNITS.into_iter().find(|u| fits(u.1)).unwrap_or(("ms", 1));
    format!("{}{unit}", millis / u128::from(factor))
}

/// Writes a number of bytes in the largest unit that fits.
pub(super) fn show_size(bytes: u64) -> String {
    match SIZE_UNITS.into_iter().find(|u| bytes != 0 && bytes.is_multiple_of(u.1)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

/// Writes a string so that reading it gives the same string.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => drop(write!(out, "\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What a backslash and the text after it stand for: the character, and the length with backslash.
///
/// `Err` has the length of what is wrong, and why.
pub(super) fn unescape(text: &str) -> Result<(char, usize), (usize, &'static str)> {
    const KNOWN: &str = "escapes are \\n \\t \\r \\\" \\\\ \\xHH \\u{…}; in `…` nothing is escaped";
    let rest = text.strip_prefix('\\').unwrap_or(text);
    let Some(c) = rest.chars().next() else { return Err((1, KNOWN)) };
    let plain = |c| Ok((c, 2));
    match c {
        'n' => plain('\n'),
        't' => plain('\t'),
        'r' => plain('\r'),
        '"' | '\\' => plain(c),
        'x' => {
            let digits: String =
                rest.chars().skip(1).take(2).take_while(char::is_ascii_hexdigit).collect();
            let code = u8::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 2);
            match code.filter(u8::is_ascii) {
                Some(code) => Ok((char::from(code), 4)),
                None if digits.len() == 2 => {
                    Err((4, "\\xHH goes up to \\x7f; write \\u{…} for other characters"))
                }
                None => Err((2 + digits.len(), "\\x needs two hexadecimal digits")),
            }
        }
        'u' => {
            const FORM: &str = "write the number of a Unicode character in braces, as in \\u{e9}";
            let digits = rest.get(1..).and_then(|rest| rest.strip_prefix('{'));
            let Some((digits, _)) = digits.and_then(|rest| rest.split_once('}')) else {
                return Err((2, FORM));
            };
            let valid = (1..=6).contains(&digits.len())
                && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let code = u32::from_str_radix(digits, 16).ok().filter(|_| valid);
            match code.and_then(char::from_u32) {
                Some(c) => Ok((c, digits.len() + 4)),
                // What stands between the braces may be anything: point at the start only.
                None => Err((2, FORM)),
            }
        }
        c => Err((1 + c.len_utf8(), KNOWN)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers() {
        let cases = [
            ("0", Number::Int(0)),
            ("-5", Number::Int(-5)),
            ("9223372036854775807", Number::Int(i64::MAX)),
            ("-9223372036854775808", Number::Int(i64::MIN)),
            ("1K", Number::Size(1024)),
            ("2M", Number::Size(2 << 20)),
            ("3G", Number::Size(3 << 30)),
            ("4T", Number::Size(4 << 40)),
            ("10ms", Number::Duration(Duration::from_millis(10))),
            ("1s", Number::Duration(Duration::from_secs(1))),
            ("2m", Number::Duration(Duration::from_secs(120))),
            ("3h", Number::Duration(Duration::from_secs(3 * 3600))),
            ("4d", Number::Duration(Duration::from_secs(4 * 86400))),
        ];
        for (word, expected) in cases {
            assert_eq!(parse_number(word), Ok(expected), "{word}");
        }
    }

    #[test]
    fn refuses_odd_numbers_with_a_hint() {
        let cases = [
            ("10sec", "did you mean `10s`?"),
            ("10MB", "did you mean `10M`?"),
            ("5k", "did you mean `5K`?"),
            ("5S", "did you mean `5s`?"),
            ("1.5s", "write whole numbers: `1500ms`"),
            ("1.5G", "write whole numbers: `1536M`"),
            ("0.1h", "write whole numbers: `6m`"),
            ("1.5", "write whole numbers in a smaller unit"),
            ("10.0.0.1", "write it as a string: \"10.0.0.1\""),
            ("0x1f", UNITS_HELP),
            ("-5s", "only plain integers may be negative"),
            ("99999999999T", "write a smaller number"),
            (
                "99999999999999999999",
                "integers are from -9223372036854775808 to 9223372036854775807",
            ),
        ];
        for (word, help) in cases {
            assert_eq!(parse_number(word).map_err(|bad| bad.help), Err(help.to_owned()), "{word}");
        }
    }

    #[test]
    fn shows_what_it_reads() {
        for word in ["10ms", "45s", "1m", "36h", "1d", "0s"] {
            let Ok(Number::Duration(duration)) = parse_number(word) else { panic!("{word}") };
            assert_eq!(show_duration(duration), word);
        }
        for (bytes, shown) in [(0, "0"), (1000, "1000"), (1024, "1K"), (1536 << 20, "1536M")] {
            assert_eq!(show_size(bytes), shown);
        }
        for text in ["", "a", "\"\\\n\r\t\u{1}", "é`"] {
            let quoted = quote(text);
            let mut inner = &quoted[1..quoted.len() - 1];
            let mut read = String::new();
            while let Some(c) = inner.chars().next() {
                let (c, length) = match c {
                    '\\' => unescape(inner).expect("a known escape"),
                    c => (c, c.len_utf8()),
                };
                read.push(c);
                inner = &inner[length..];
            }
            assert_eq!(read, text);
        }
    }
}
