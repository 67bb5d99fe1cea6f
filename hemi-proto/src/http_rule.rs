//! Path templates of `google.api.http`
//! (<https://github.com/googleapis/googleapis/blob/master/google/api/http.proto>): `/v1/{name=shelves/*}/books:move`.
//!
//! ```text
//! template = "/" segments [ ":" literal ]        segment  = "*" | "**" | literal | variable
//! segments = segment { "/" segment }             variable = "{" field { "." field } [ "=" segments ] "}"
//! ```
//!
//! They are matched against normalised paths, as rules of webapps see them: decoded, but for `%2F` and `%5C`.

use std::borrow::Cow;
use std::ops::Range;

use thiserror::Error;

/// A path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    segments: Vec<Segment>,
    verb: Option<Box<str>>,
    variables: Vec<Variable>,
}

/// A part of a path, between slashes. The order is that of how much it leaves open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(Box<str>),
    /// One that is not empty.
    Any,
    /// All that follow, or none.
    Rest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    /// The path of a field.
    field: Box<str>,
    segments: Range<usize>,
}

/// Why a text is no template.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    /// It does not begin with a slash.
    #[error("a template begins with a slash")]
    NotAbsolute,
    /// There is nothing between two slashes, or in the place of a verb.
    #[error("a part of the template is empty")]
    Empty,
    /// `**` is not the last segment.
    #[error("`**` has to be the last part of a template")]
    NotLast,
    /// A brace without its other one, or one in another.
    #[error("the braces of the template do not go together")]
    Braces,
    /// A name of a field that can be none.
    #[error("a variable of the template is no path of a field")]
    Field,
    /// Two variables for the same field, or one for a part of the other.
    #[error("two variables of the template are for the same field")]
    Twice,
    /// A `*`, a `=` or a brace within a literal.
    #[error("a part of the template has a character that has a meaning elsewhere")]
    Literal,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let rest = text.strip_prefix('/').ok_or(TemplateError::NotAbsolute)?;
        let last = rest.rfind(['/', '}']).unwrap_or(0);
        let verb = rest.get(last..).and_then(|last_part| last_part.find(':')).map(|at| last + at);
        let (rest, verb) = match verb {
            Some(at) => (&rest[..at], Some(literal(&rest[at + 1..])?)),
            None => (rest, None),
        };
        let mut template = Self { segments: Vec::new(), verb, variables: Vec::new() };
        template.read(rest)?;
        template.check()?;
        Ok(template)
    }

    fn read(&mut self, mut rest: &str) -> Result<(), TemplateError> {
        loop {
            rest = match rest.strip_prefix('{') {
                Some(variable) => {
                    let (variable, after) =
                        variable.split_once('}').ok_or(TemplateError::Braces)?;
                    let (field, parts) = variable.split_once('=').unwrap_or((variable, "*"));
                    let start = self.segments.len();
                    for part in parts.split('/') {
                        self.segments.push(segment(part)?);
                    }
                    let segments = start..self.segments.len();
                    self.variables.push(Variable { field: field.into(), segments });
                    after
                }
                None => {
                    let end = rest.find('/').unwrap_or(rest.len());
                    self.segments.push(segment(&rest[..end])?);
                    &rest[end..]
                }
            };
            match rest.strip_prefix('/') {
                Some(next) => rest = next,
                None if rest.is_empty() => return Ok(()),
                None => return Err(TemplateError::Literal),
            }
        }
    }

    fn check(&self) -> Result<(), TemplateError> {
        let before_last = self.segments.split_last().map_or(&[][..], |(_, before)| before);
        if before_last.contains(&Segment::Rest) {
            return Err(TemplateError::NotLast);
        }
        for (at, variable) in self.variables.iter().enumerate() {
            if !variable.field.split('.').all(is_field) {
                return Err(TemplateError::Field);
            }
            let others = self.variables.iter().skip(at + 1);
            if others.into_iter().any(|other| is_within(&variable.field, &other.field)) {
                return Err(TemplateError::Twice);
            }
        }
        Ok(())
    }

    /// The fields that parts of a path are for, in the order of these: `book.name`.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| &*variable.field)
    }

    /// By which of several templates that match the one to take is the least: literals go before what leaves more open,
    /// and verbs before paths that happen to have a colon.
    #[must_use]
    pub fn openness(&self) -> impl Ord + use<> {
        (self.verb.is_none(), self.segments.clone())
    }

    /// Whether a normalised path matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.walk(path, |_| ()).is_some()
    }

    /// What a normalised path has for each of [`fields`](Self::fields); none if it does not match. A variable of one
    /// segment may have slashes that were encoded; in others they stay so.
    #[must_use]
    pub fn capture<'p>(&self, path: &'p str) -> Option<Vec<Cow<'p, str>>> {
        let mut places = Vec::with_capacity(self.segments.len());
        let path = self.walk(path, |place| places.push(place))?;
        let value = |variable: &Variable| {
            let places = places.get(variable.segments.clone())?;
            let value = path.get(places.first()?.start..places.last()?.end)?;
            let is_one = variable.segments.len() == 1;
            let open = self.segments.get(variable.segments.start) != Some(&Segment::Rest);
            Some(if is_one && open { decoded(value) } else { value.into() })
        };
        self.variables.iter().map(value).collect()
    }

    /// Tells where each segment begins and ends in what comes back, the path without its slash and verb; none if it does
    /// not match.
    fn walk<'p>(&self, path: &'p str, mut place: impl FnMut(Range<usize>)) -> Option<&'p str> {
        let mut path = path.strip_prefix('/')?;
        if let Some(verb) = &self.verb {
            path = path.strip_suffix(&**verb)?.strip_suffix(':')?;
        }
        let mut at = 0;
        for segment in &self.segments {
            if *segment == Segment::Rest {
                place(at.min(path.len())..path.len());
                return Some(path);
            }
            let part = path.get(at..)?;
            let end = at + part.find('/').unwrap_or(part.len());
            let part = path.get(at..end)?;
            let fits = match segment {
                Segment::Literal(literal) => part == &**literal,
                Segment::Any | Segment::Rest => !part.is_empty(),
            };
            if !fits {
                return None;
            }
            place(at..end);
            at = end + 1;
        }
        (at > path.len()).then_some(path)
    }
}

fn segment(part: &str) -> Result<Segment, TemplateError> {
    Ok(match part {
        "*" => Segment::Any,
        "**" => Segment::Rest,
        _ => Segment::Literal(literal(part)?),
    })
}

fn literal(part: &str) -> Result<Box<str>, TemplateError> {
    match part {
        "" => Err(TemplateError::Empty),
        _ if part.contains(['{', '}']) => Err(TemplateError::Braces),
        _ if part.contains(['*', '=', '/']) => Err(TemplateError::Literal),
        _ => Ok(part.into()),
    }
}

fn is_field(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether one of two paths of fields is the other, or leads to it.
#[must_use]
pub fn is_within(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// With the separators that normalised paths have encoded.
fn decoded(segment: &str) -> Cow<'_, str> {
    match segment.contains('%') {
        true => segment.replace("%2F", "/").replace("%5C", "\\").into(),
        false => segment.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn captured(template: &str, path: &str) -> Option<Vec<String>> {
        let template = Template::parse(template).unwrap();
        Some(template.capture(path)?.into_iter().map(Cow::into_owned).collect())
    }

    #[test]
    fn paths_match() {
        for (template, path, values) in [
            ("/v1/shelves", "/v1/shelves", &[][..]),
            ("/v1/shelves/{shelf}", "/v1/shelves/7", &["7"]),
            ("/v1/shelves/{shelf}", "/v1/shelves/a b%2Fc%5C%41", &["a b/c\\%41"]),
            ("/v1/{name=shelves/*/books/*}", "/v1/shelves/1/books/2", &["shelves/1/books/2"]),
            ("/v1/{name=shelves/*}/x", "/v1/shelves/a%2Fb/x", &["shelves/a%2Fb"]),
            ("/v1/{a.b=**}", "/v1/c/d%2Fe/f", &["c/d%2Fe/f"]),
            ("/v1/{rest=**}", "/v1", &[""]),
            ("/v1/{rest=**}", "/v1/", &[""]),
            ("/v1/{rest=x/**}", "/v1/x", &["x"]),
            ("/{a}/{b}:go", "/1/2:go", &["1", "2"]),
            ("/{a}:go", "/1:stay:go", &["1:stay"]),
            ("/{a}", "/1:go", &["1:go"]),
            ("/{name=**}:go", "/a/b:go", &["a/b"]),
            ("/*/{a}/**", "/x/1/2/3", &["1"]),
            ("/v1:go", "/v1:go", &[]),
        ] {
            assert_eq!(
                captured(template, path).as_deref(),
                Some(&values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>()[..]),
                "{template} {path}"
            );
        }
    }

    #[test]
    fn others_do_not() {
        for (template, path) in [
            ("/v1/shelves", "/v1/shelves/"),
            ("/v1/shelves", "/v1/shelve"),
            ("/v1/shelves", "/v1"),
            ("/v1/shelves", "v1/shelves"),
            ("/v1/{shelf}", "/v1/"),
            ("/v1/{shelf}", "/v1"),
            ("/v1/{shelf}", "/v1/a/b"),
            ("/v1/{name=shelves/*}", "/v1/books/1"),
            ("/{a}:go", "/1:goo"),
            ("/{a}:go", "/:go"),
            ("/{a}:go", "/1"),
            ("/v1/**", "/v2"),
        ] {
            assert_eq!(captured(template, path), None, "{template} {path}");
        }
    }

    #[test]
    fn what_is_no_template() {
        use TemplateError::{Braces, Empty, Field, Literal, NotAbsolute, NotLast, Twice};
        for (text, why) in [
            ("", NotAbsolute),
            ("v1", NotAbsolute),
            ("/", Empty),
            ("/v1/", Empty),
            ("/v1//a", Empty),
            ("/v1:", Empty),
            ("/{a=}", Empty),
            ("/**/a", NotLast),
            ("/{a=**}/{b}", NotLast),
            ("/{a", Braces),
            ("/a}", Braces),
            ("/{a={b}}", Braces),
            ("/{a}b", Literal),
            ("/a*", Literal),
            ("/a=b", Literal),
            ("/{}", Field),
            ("/{a..b}", Field),
            ("/{1}", Field),
            ("/{a-b}", Field),
            ("/{a}/{a}", Twice),
            ("/{a.b}/{a}", Twice),
        ] {
            assert_eq!(Template::parse(text), Err(why), "{text}");
        }
        assert!(Template::parse("/{a.b}/{a.bc}/{ab}").is_ok());
    }

    #[test]
    fn what_is_said_more_exactly_goes_first() {
        let mut texts = ["/**", "/a/*", "/a/b", "/*/b", "/a/**", "/**:go", "/a/{x}:go"];
        texts.sort_by_key(|text| Template::parse(text).unwrap().openness());
        assert_eq!(texts, ["/a/{x}:go", "/**:go", "/a/b", "/a/*", "/a/**", "/*/b", "/**"]);
    }
}
