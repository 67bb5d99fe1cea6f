//! Templates of URIs and their paths, into which no variable puts more than it should.

use std::borrow::Cow;
use std::cell::RefCell;

use hemi_core::config::{ConfigType, Diagnostic, Lookup, Span, Spanned, Template, Variable};
use hemi_web::{Request, WebVar};
use regex::{Captures, Regex, RegexBuilder};
use serde::Deserialize;

/// A variable in a template of a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UriVar {
    /// `$match_N`, `$match_NAME`: what a group of the pattern matched
    Match(Group),
    Web(WebVar),
}

/// A group of a regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Index(usize),
    Name(Box<str>),
}

impl Group {
    fn is_in(&self, regex: &Regex) -> bool {
        match self {
            Self::Index(index) => *index < regex.captures_len(),
            Self::Name(name) => regex.capture_names().flatten().any(|other| *other == **name),
        }
    }

    fn of<'c>(&self, captures: &Captures<'c>) -> &'c str {
        let found = match self {
            Self::Index(index) => captures.get(*index),
            Self::Name(name) => captures.name(name),
        };
        found.map_or("", |found| found.as_str())
    }

    fn show(&self) -> Cow<'_, str> {
        match self {
            Self::Index(index) => index.to_string().into(),
            Self::Name(name) => Cow::Borrowed(name),
        }
    }
}

impl Variable for UriVar {
    fn named(name: &str) -> Option<Self> {
        let Some(group) = name.strip_prefix("match_") else {
            return WebVar::named(name).map(Self::Web);
        };
        let index = group.parse().map(Group::Index);
        Some(Self::Match(index.unwrap_or_else(|_| Group::Name(group.into()))))
    }

    fn known() -> &'static [&'static str] {
        use std::sync::LazyLock;
        static KNOWN: LazyLock<Vec<&str>> =
            LazyLock::new(|| [&["match_*"], WebVar::known()].concat());
        &KNOWN
    }
}

/// A regular expression that paths are matched with.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct PathPattern(Regex);

/// Why a text is no such expression.
#[derive(Debug, thiserror::Error)]
#[error("bad regular expression: {0}; in `…` no backslash needs to be doubled")]
pub(crate) struct BadPattern(String);

/// A compiled expression may take so many bytes of memory.
const REGEX_SIZE: usize = 1 << 20;

impl TryFrom<String> for PathPattern {
    type Error = BadPattern;

    fn try_from(text: String) -> Result<Self, BadPattern> {
        let regex = RegexBuilder::new(&text).size_limit(REGEX_SIZE).build();
        regex.map(Self).map_err(|e| {
            // The regex crate draws its own picture over several lines; the last says why.
            let why = e.to_string();
            BadPattern(why.lines().last().unwrap_or_default().replace("error: ", ""))
        })
    }
}

impl ConfigType for PathPattern {
    fn kind() -> Cow<'static, str> {
        "regular expression".into()
    }

    fn show(&self) -> String {
        self.0.as_str().to_owned().show()
    }
}

impl PathPattern {
    pub(crate) fn captures<'p>(&self, path: &'p str) -> Option<Captures<'p>> {
        self.0.captures(path)
    }
}

/// A template of a URI or a path with its query. Values of variables are percent-encoded, but for those
/// that are parts of a URI already; none can put a host where there was none, or change the one there is.
#[derive(Clone, Debug)]
pub(crate) struct UriTemplate {
    template: Template<UriVar>,
    keep_query: bool,
}

/// What a template is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A URI, with or without scheme and host.
    Reference,
    /// A path, maybe with a query.
    Target,
}

impl UriTemplate {
    /// Checks a template from a config; `pattern` is what its groups are of. With `keep_query` the query
    /// of the request is appended where the template has none.
    pub(crate) fn new(
        template: &Spanned<Template<UriVar>>,
        purpose: Purpose,
        pattern: Option<&PathPattern>,
        keep_query: bool,
    ) -> Result<Self, Diagnostic> {
        let probe = Probe::default();
        let shape = template.render(&probe);
        check(&shape, purpose, template.span)?;
        for group in probe.groups.borrow().iter() {
            if !pattern.is_some_and(|pattern| group.is_in(&pattern.0)) {
                let message = format!("`$match_{}` is no group of `.pattern`", group.show());
                return Err(Diagnostic::new(template.span, message)
                    .help("groups are counted from 1, or named by `(?<name>…)`"));
            }
        }
        Ok(Self { template: template.value.clone(), keep_query })
    }

    /// The URI for a request; none if it would name no host though it has a scheme.
    pub(crate) fn render(&self, req: &Request, captures: Option<&Captures<'_>>) -> Option<String> {
        let values = Encoded { req, captures };
        let rendered = String::from_utf8(self.template.render(&values).into_owned()).ok()?;
        let mut uri = match rendered.trim_start_matches('/') {
            // Two slashes would name a host.
            rest if rest.len() + 1 < rendered.len() => format!("/{rest}"),
            _ => rendered,
        };
        // In a path or query the same means nothing.
        let (scheme, rest) = uri.split_once("://").unwrap_or_default();
        let is_scheme = !scheme.is_empty() && !scheme.contains(['/', '?', '#']);
        if is_scheme && (rest.is_empty() || rest.starts_with('/')) {
            return None;
        }
        if uri.ends_with('?') {
            uri.pop();
        } else if let Some(query) = req.query().filter(|query| !query.is_empty())
            && self.keep_query
            && !uri.contains(['?', '#'])
        {
            uri.push('?');
            uri.push_str(query);
        }
        Some(uri)
    }
}

/// Stands for a variable that could have any value.
const ANYTHING: u8 = 0;

/// Stands for the query of a request, which may have in it what else is encoded.
const QUERY: u8 = 1;

/// Shows the shape of what a template gives.
#[derive(Default)]
struct Probe {
    groups: RefCell<Vec<Group>>,
}

impl Lookup<UriVar> for Probe {
    fn lookup<'a>(&'a self, var: &'a UriVar) -> Cow<'a, [u8]> {
        let shape: &[u8] = match var {
            UriVar::Match(group) => {
                self.groups.borrow_mut().push(group.clone());
                &[ANYTHING]
            }
            UriVar::Web(WebVar::Scheme) => b"https",
            UriVar::Web(WebVar::Authority | WebVar::Hostname) => b"host",
            UriVar::Web(WebVar::Colonport) => b"",
            UriVar::Web(WebVar::Path | WebVar::EncodedPath | WebVar::Uri) => b"/",
            UriVar::Web(WebVar::QueryString) => &[QUERY],
            UriVar::Web(_) => &[ANYTHING],
        };
        shape.into()
    }
}

fn check(shape: &[u8], purpose: Purpose, span: Span) -> Result<(), Diagnostic> {
    let mistake = |message: &str, help: &str| {
        Err(Diagnostic::new(span, message.to_owned()).help(help.to_owned()))
    };
    let fits = |b: &u8| {
        b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(b) || matches!(*b, ANYTHING | QUERY)
    };
    if !shape.iter().all(fits) {
        return mistake("this cannot stand in a URI as it is", "write it percent-encoded");
    }
    if shape.split(|b| matches!(b, b'?' | b'#')).next().is_some_and(|path| path.contains(&QUERY)) {
        return mistake("`$queryString` would not be the query", "write \"?\" before it");
    }
    if purpose == Purpose::Target {
        return match shape.first() {
            Some(b'/') => Ok(()),
            _ => mistake("a path begins with `/`", "begin it with \"/\""),
        };
    }
    if shape.starts_with(b"//") {
        return mistake("`//` would begin the name of a host", "write the scheme too, or one `/`");
    }
    let is_end = |b: &u8| matches!(b, b'/' | b'?' | b'#');
    let first = shape.split(is_end).next().unwrap_or_default();
    if !first.contains(&b':') {
        return Ok(());
    }
    let authority = shape.get(first.len()..).and_then(|rest| rest.strip_prefix(b"//"));
    let authority = authority.map(|rest| rest.split(is_end).next().unwrap_or_default());
    if first.contains(&ANYTHING) || authority.is_some_and(|a| a.contains(&ANYTHING)) {
        return mistake("a variable would be part of the host", "end the host with `/` before it");
    }
    match authority {
        Some(b"") => mistake("this names no host", "write \"https://\" + $hostname + …"),
        // Browsers would take what follows for one.
        None if matches!(first.to_ascii_lowercase().as_slice(), b"http:" | b"https:") => {
            mistake("this names no host", "write \"https://\" + $hostname + …")
        }
        _ => Ok(()),
    }
}

/// The values of variables as they may stand in a URI.
struct Encoded<'r> {
    req: &'r Request,
    captures: Option<&'r Captures<'r>>,
}

impl Lookup<UriVar> for Encoded<'_> {
    fn lookup<'a>(&'a self, var: &'a UriVar) -> Cow<'a, [u8]> {
        let var = match var {
            UriVar::Match(group) => {
                let matched = self.captures.map_or("", |captures| group.of(captures));
                return encode_path(matched.as_bytes()).into();
            }
            UriVar::Web(var) => var,
        };
        let value = self.req.lookup(var);
        match var {
            WebVar::Scheme
            | WebVar::Authority
            | WebVar::Hostname
            | WebVar::Colonport
            | WebVar::EncodedPath
            | WebVar::Uri
            | WebVar::QueryString => value,
            WebVar::Path => encode_path(&value).into(),
            _ => encode(&value, |_| false).into(),
        }
    }
}

/// Encodes a path as [`Request::path`] has it.
///
/// [`Request::path`]: hemi_web::Request::path
pub(crate) fn encode_path(path: &[u8]) -> Vec<u8> {
    // The separators that stay encoded there.
    encode(path, |rest| rest.starts_with(b"%2F") || rest.starts_with(b"%5C"))
}

/// Encodes all but what is left alone in every part of a URI, and slashes; and those percent signs that
/// `is_escape` finds to begin an escape.
fn encode(text: &[u8], is_escape: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = Vec::with_capacity(text.len());
    for (at, &b) in text.iter().enumerate() {
        let plain = b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'.' | b'_' | b'~' | b'/')
            || b == b'%' && is_escape(text.get(at..).unwrap_or_default());
        if plain {
            encoded.push(b);
        } else {
            let digits = [HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]];
            encoded.extend_from_slice(&[b'%', digits[0], digits[1]]);
        }
    }
    encoded
}
