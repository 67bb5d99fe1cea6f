//! What is said on the command line, as `--NAME=VALUE` beside arguments.

use std::time::Duration;

/// Options, as they were said.
pub(super) struct Said<'a>(Vec<(&'a str, &'a str)>);

/// Tells options from arguments.
///
/// # Errors
/// When an option is not among those that are known.
pub(super) fn read<'a>(
    all: &'a [String],
    known: &[&str],
) -> Result<(Vec<&'a str>, Said<'a>), String> {
    let (mut arguments, mut said) = (Vec::new(), Vec::new());
    for text in all {
        let Some(option) = text.strip_prefix("--") else {
            arguments.push(text.as_str());
            continue;
        };
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if !known.contains(&name) {
            return Err(format!("--{name} says nothing here"));
        }
        said.push((name, value));
    }
    Ok((arguments, Said(said)))
}

impl<'a> Said<'a> {
    /// What was said last of an option.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// A number above 0.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let read = |text: &str| match text.parse() {
            Ok(number @ 1..) => Ok(number),
            _ => Err(format!("--{name} takes a number above 0, not `{text}`")),
        };
        self.text(name).map(read).transpose()
    }

    /// A time, such as `10s`.
    pub(super) fn duration(&self, name: &str) -> Result<Option<Duration>, String> {
        let read = |text: &str| {
            duration(text).ok_or_else(|| format!("--{name} takes a time such as 10s, not `{text}`"))
        };
        self.text(name).map(read).transpose()
    }
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    Some(match unit {
        "ms" => Duration::from_millis(number),
        "s" | "" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_from_arguments() {
        let all = ["bench", "--rate=10", "a=b", "--json", "--for=250ms"].map(str::to_owned);
        let (arguments, said) = read(&all, &["rate", "json", "for"]).unwrap();
        assert_eq!(arguments, ["bench", "a=b"]);
        assert_eq!((said.number("rate"), said.has("json")), (Ok(Some(10)), true));
        assert_eq!(said.duration("for"), Ok(Some(Duration::from_millis(250))));
        assert_eq!((said.number("count"), said.duration("count")), (Ok(None), Ok(None)));
        assert!(read(&all, &["rate", "json"]).is_err());
    }

    #[test]
    fn times_have_units() {
        for (text, seconds) in
            [("1s", Some(1)), ("90", Some(90)), ("2m", Some(120)), ("1h", Some(3600))]
        {
            assert_eq!(duration(text), seconds.map(Duration::from_secs), "{text}");
        }
        for text in ["", "s", "0s", "-1s", "1d", "1.5s", "99999999999999999999s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
