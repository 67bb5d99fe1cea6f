//! Other text in the place of text, in bytes that come piece by piece.
//!
//! What is replaced does not depend on the pieces, and what has been put in is not looked at again.

use std::collections::HashMap;
use std::sync::Arc;

use regex::bytes::{Match, Regex};

/// Bytes of a text to be replaced, and of what a pattern matches, at most.
pub const LONGEST: usize = 4096;

/// What to replace by what.
#[derive(Debug)]
pub enum Replacements {
    /// These very texts.
    Texts(Texts),
    /// What matches.
    Patterns(Patterns),
}

/// Texts with what to put in the place of each. Of several at the same place the longest counts.
#[derive(Debug)]
pub struct Texts {
    any: Regex,
    by_text: HashMap<Vec<u8>, Vec<u8>>,
    longest: usize,
}

/// Regular expressions, none longer matched than [`LONGEST`], with what to put in the place of what
/// they match. Of several the one that matches first counts, then the first of them.
#[derive(Debug)]
pub struct Patterns(Vec<(Regex, Vec<u8>)>);

/// Why there is no such replacement.
#[derive(Debug, thiserror::Error)]
pub enum BadReplacement {
    /// It is empty, or too long.
    #[error("a text to be replaced has 1 to {LONGEST} bytes")]
    Length,
    /// It is no regular expression, or one that is too large.
    #[error(transparent)]
    Pattern(#[from] regex::Error),
}

impl Texts {
    /// Makes them known.
    ///
    /// # Errors
    /// When one is empty or longer than [`LONGEST`], or all together are too large.
    pub fn new<'a>(
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, BadReplacement> {
        let mut texts: Vec<_> = texts.into_iter().collect();
        if texts.iter().any(|(text, _)| !(1..=LONGEST).contains(&text.len())) {
            return Err(BadReplacement::Length);
        }
        // The expression takes the first that fits.
        texts.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        let any: Vec<_> = texts.iter().map(|(text, _)| regex::escape(text)).collect();
        Ok(Self {
            any: Regex::new(&any.join("|"))?,
            longest: texts.first().map_or(0, |(text, _)| text.len()),
            by_text: texts.into_iter().rev().map(|(text, by)| (text.into(), by.into())).collect(),
        })
    }

    /// The first place from `from` on where a text begins of which the rest may come yet.
    fn open(&self, bytes: &[u8], from: usize) -> usize {
        let first = (bytes.len() + 1).saturating_sub(self.longest).max(from);
        let is_open = |at: &usize| {
            let rest = bytes.get(*at..).unwrap_or_default();
            self.by_text.keys().any(|text| text.len() > rest.len() && text.starts_with(rest))
        };
        (first..bytes.len()).find(is_open).unwrap_or(bytes.len())
    }

    fn rewrite(&self, bytes: &[u8], mut at: usize, rest: Rest, out: &mut Vec<u8>) -> usize {
        let decided = |at| match rest {
            Rest::Comes => self.open(bytes, at),
            Rest::Nothing => bytes.len(),
        };
        let mut end = decided(at);
        loop {
            let found = self.any.find_at(bytes, at).filter(|found| found.start() < end);
            let Some(found) = found else {
                out.extend_from_slice(bytes.get(at..end).unwrap_or_default());
                return end;
            };
            out.extend_from_slice(bytes.get(at..found.start()).unwrap_or_default());
            out.extend_from_slice(self.by_text.get(found.as_bytes()).map_or(&[], Vec::as_slice));
            at = found.end();
            if at > end {
                end = decided(at);
            }
        }
    }
}

impl Patterns {
    /// Makes them known. In a replacement `$1` or `${name}` is what a group has matched, `$$` a dollar.
    ///
    /// # Errors
    /// When one is no regular expression, or too large.
    pub fn new<'a>(
        patterns: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, BadReplacement> {
        let made = patterns.into_iter().map(|(pattern, by)| Ok((Regex::new(pattern)?, by.into())));
        made.collect::<Result<_, _>>().map(Self)
    }

    /// Decides on so many places at a time as a match may have bytes, having seen as many more, or on
    /// all that are left at the end: so it is done on the same bytes, whenever they come.
    fn rewrite(&self, bytes: &[u8], mut at: usize, rest: Rest, out: &mut Vec<u8>) -> usize {
        while at < bytes.len() {
            let (seen, end) = match (bytes.get(..at + 2 * LONGEST), rest) {
                (Some(seen), _) => (seen, at + LONGEST),
                (None, Rest::Comes) => return at,
                (None, Rest::Nothing) => (bytes, bytes.len()),
            };
            at = self.rewrite_until(end, seen, at, out);
        }
        at
    }

    /// Replaces what begins before `end`; returns that, or where the last match ends.
    fn rewrite_until(&self, end: usize, seen: &[u8], mut at: usize, out: &mut Vec<u8>) -> usize {
        let first = |(regex, by)| Next { found: first_match(regex, seen, at), regex, by };
        let all = self.0.iter().map(|(regex, by)| (regex, by.as_slice()));
        let mut nexts: Vec<Next<'_>> = all.map(first).collect();
        while at < end {
            let found = nexts.iter().filter_map(|next| Some((next.found?, next.regex, next.by)));
            let first = found.min_by_key(|(found, ..)| found.start());
            let Some((found, regex, by)) = first.filter(|(found, ..)| found.start() < end) else {
                out.extend_from_slice(seen.get(at..end).unwrap_or_default());
                return end;
            };
            out.extend_from_slice(seen.get(at..found.start()).unwrap_or_default());
            match by.contains(&b'$').then(|| regex.captures_at(seen, found.start())).flatten() {
                Some(captures) => captures.expand(by, out),
                None => out.extend_from_slice(by),
            }
            at = found.end();
            for next in &mut nexts {
                if next.found.is_some_and(|found| found.start() < at) {
                    next.found = first_match(next.regex, seen, at);
                }
            }
        }
        at
    }
}

/// Where a pattern matches next.
struct Next<'a> {
    found: Option<Match<'a>>,
    regex: &'a Regex,
    by: &'a [u8],
}

/// The first match from `at` on that is not empty.
fn first_match<'a>(regex: &Regex, bytes: &'a [u8], mut at: usize) -> Option<Match<'a>> {
    loop {
        let found = regex.find_at(bytes, at)?;
        if !found.is_empty() {
            return Some(found);
        }
        at = found.end() + 1;
        if at > bytes.len() {
            return None;
        }
    }
}

/// Whether more bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Comes,
    Nothing,
}

/// Replaces in one content.
#[derive(Debug)]
pub struct Replacer {
    what: Arc<Replacements>,
    /// What is not decided on yet, and a little before it.
    bytes: Vec<u8>,
    at: usize,
}

/// Bytes before a place that an expression may look at: a character.
const BEFORE: usize = 4;

impl Replacer {
    /// At the start of a content.
    pub fn new(what: Arc<Replacements>) -> Self {
        Self { what, bytes: Vec::new(), at: 0 }
    }

    /// Takes the next bytes, and adds what is known then of what becomes of them.
    ///
    /// Keeps back no more than twice [`LONGEST`]; of texts only what may be the start of one.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.bytes.extend_from_slice(input);
        self.rewrite(Rest::Comes, out);
        let known = self.at.saturating_sub(BEFORE);
        self.bytes.drain(..known);
        self.at -= known;
    }

    /// Adds what becomes of the rest: no more will come.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.rewrite(Rest::Nothing, out);
    }

    fn rewrite(&mut self, rest: Rest, out: &mut Vec<u8>) {
        self.at = match &*self.what {
            Replacements::Texts(texts) => texts.rewrite(&self.bytes, self.at, rest, out),
            Replacements::Patterns(patterns) => patterns.rewrite(&self.bytes, self.at, rest, out),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[(&str, &str)]) -> Arc<Replacements> {
        Arc::new(Replacements::Texts(Texts::new(texts.iter().copied()).expect("texts")))
    }

    fn patterns(patterns: &[(&str, &str)]) -> Arc<Replacements> {
        Arc::new(Replacements::Patterns(Patterns::new(patterns.iter().copied()).expect("patterns")))
    }

    fn replaced(what: &Arc<Replacements>, input: &[u8], piece: usize) -> String {
        let (mut replacer, mut out) = (Replacer::new(what.clone()), Vec::new());
        input.chunks(piece).for_each(|piece| replacer.push(piece, &mut out));
        replacer.end(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn texts_wherever_the_borders_are() {
        for (what, input, expected) in [
            (&[("a", "b")][..], "banana", "bbnbnb"),
            (&[("ab", "x"), ("abcd", "y")], "abcabcdab", "xcyx"),
            // The one that begins first, even if another is complete before it.
            (&[("abcdef", "1"), ("bc", "2")], "abcdeabcdef bc abc", "a2de1 2 a2"),
            (&[("aa", "b")], "aaaaa", "bba"),
            (
                &[("http://old/", "https://new/")],
                "<a href=http://old/x>http://old",
                "<a href=https://new/x>http://old",
            ),
            // Neither an expression nor a template, and what is put in stays.
            (&[(".*", "$0"), ("$0", "no")], "a.*b$0", "a$0bno"),
            (&[("a", "aa"), ("é", "")], "aéa", "aaaa"),
        ] {
            let what = texts(what);
            for piece in 1..=input.len() {
                assert_eq!(
                    replaced(&what, input.as_bytes(), piece),
                    expected,
                    "{input} by {piece}"
                );
            }
        }
    }

    #[test]
    fn nothing_is_kept_back_that_is_no_start_of_a_text() {
        let mut replacer = Replacer::new(texts(&[("hello", "bye")]));
        let mut out = Vec::new();
        for (input, expected) in [("data\n", "data\n"), ("oh", "o"), ("el", ""), ("p!", "help!")] {
            out.clear();
            replacer.push(input.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{input}");
        }
    }

    #[test]
    fn patterns_wherever_the_borders_are() {
        let long = "x".repeat(3 * LONGEST);
        for (what, input, expected) in [
            (&[("[0-9]+", "<$0>")][..], "a12b345", "a<12>b<345>".to_owned()),
            (&[("(?<w>\\w+)@(\\w+)", "${2} at $w $$")], "me@home you", "home at me $ you".into()),
            (&[("^a", "b")], "aaa", "baa".into()),
            (&[("(?m)^a", "b")], "aa\naa", "ba\nba".into()),
            (&[("\\bcat\\b", "dog")], "cat concat cat", "dog concat dog".into()),
            (&[("x*", "y")], "axxb", "ayb".into()),
            (&[("b", "1"), ("ab", "2"), ("a", "3")], "abba", "213".into()),
            (&[("a$", "b")], "aaa", "aab".into()),
            (&[("x+", "y")], &long, "y".repeat(2)),
        ] {
            let what = patterns(what);
            let whole = replaced(&what, input.as_bytes(), input.len());
            assert_eq!(whole, expected, "{what:?}");
            for piece in [1, 2, 3, 7, 1000, 4095, 4096, 4097] {
                assert_eq!(replaced(&what, input.as_bytes(), piece), whole, "{what:?} by {piece}");
            }
        }
    }

    #[test]
    fn matches_are_found_wherever_they_lie() {
        let what = patterns(&[("ab+c", "*")]);
        for start in [0, 1, LONGEST - 2, LONGEST, 2 * LONGEST - 1, 5 * LONGEST] {
            let input =
                [".".repeat(start), format!("a{}c", "b".repeat(LONGEST - 2)), ".".repeat(9000)];
            let expected = [&input[0], "*", &input[2]].concat();
            for piece in [1000, 4096, 100_000] {
                assert!(
                    replaced(&what, input.concat().as_bytes(), piece) == expected,
                    "{start} {piece}"
                );
            }
        }
    }

    #[test]
    fn what_can_not_be_replaced_is_refused() {
        assert!(Texts::new([("", "a")]).is_err());
        assert!(Texts::new([("a".repeat(LONGEST + 1).as_str(), "")]).is_err());
        assert!(Patterns::new([("(", "a")]).is_err());
    }
}
