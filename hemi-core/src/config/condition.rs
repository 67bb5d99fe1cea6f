//! Conditions of components, such as `$path ^= ("/v1/", "/v2/") && !($method == "POST")`.
use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use super::{
    diagnostic::{Diagnostic, Diagnostics},
    literal::quote,
    source::Span,
    template::{AnyVar, Lookup, Variable, unknown_variable},
    value::Text,
};

/// When a component applies: a typed condition over the variables `V`.
#[derive(Clone)]
pub struct Condition<V>(Logic<Check<V>>);

impl<V: Variable> Condition<V> {
    /// Whether the condition holds. Allocates nothing that `lookup` itself does not allocate.
    pub fn matches(&self, lookup: &impl Lookup<V>) -> bool {
        self.0.holds(&|check| match check {
            Check::Compare { variable, comparison, patterns, .. } => {
                patterns.match_any(&lookup.lookup(variable)) != comparison.negated
            }
            Check::Path { check, negated } => lookup.path_is(*check) != *negated,
        })
    }

    /// Whether it looks for a file or directory somewhere.
    pub fn tests_files(&self) -> bool {
        self.0.any(&|check| matches!(check, Check::Path { .. }))
    }

    /// Whether it looks at such a variable.
    pub fn uses(&self, such: impl Fn(&V) -> bool) -> bool {
        self.0.any(&|check| match check {
            Check::Compare { variable, .. } => such(variable),
            Check::Path { .. } => false,
        })
    }

    /// Gives the names of an untyped condition their meaning.
    pub(super) fn new(untyped: &Logic<Test<Vec<Text>>>) -> Result<Self, Diagnostics> {
        let mut errors = Diagnostics::default();
        let typed = untyped.try_map(&mut |test| match Check::new(test) {
            Ok(check) => Some(check),
            Err(error) => {
                errors.extend(error);
                None
            }
        });
        typed.map(Self).ok_or(errors)
    }
}

impl Condition<AnyVar> {
    /// Gives the names of its variables their meaning.
    ///
    /// # Errors
    /// For every name that is none, at `span`.
    pub fn typed<V: Variable>(&self, span: Span) -> Result<Condition<V>, Diagnostics> {
        let mut errors = Diagnostics::default();
        let typed = self.0.try_map(&mut |check| match check {
            Check::Path { check, negated } => {
                Some(Check::Path { check: *check, negated: *negated })
            }
            Check::Compare { name, comparison, patterns, .. } => {
                let variable = V::named(name);
                if variable.is_none() {
                    errors.push(unknown_variable::<V>(name, span));
                }
                let (name, patterns) = (name.clone(), patterns.clone());
                Some(Check::Compare {
                    name,
                    variable: variable?,
                    comparison: *comparison,
                    patterns,
                })
            }
        });
        typed.map(Condition).ok_or(errors)
    }
}

/// How a variable is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Comparison {
    pub(super) operator: Operator,
    pub(super) negated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operator {
    Equal,
    Prefix,
    Suffix,
    Contains,
    Regex,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plain, negated) = match self.operator {
            Operator::Equal => ("==", "!="),
            Operator::Prefix => ("^=", "!^"),
            Operator::Suffix => ("$=", "!$"),
            Operator::Contains => ("*=", "!*"),
            Operator::Regex => ("~=", "!~"),
        };
        f.write_str(if self.negated { negated } else { plain })
    }
}

/// What `$path` may be tested for, as it stands in the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathCheck {
    /// `-f`: a file
    File,
    /// `-d`: a directory other than the web root itself
    Dir,
    /// `-e`: a file or directory other than the web root itself
    Exists,
    /// `-D`: a directory, the web root included
    DirOrRoot,
    /// `-E`: a file or directory, the web root included
    ExistsOrRoot,
}

impl PathCheck {
    pub(super) fn from_letter(letter: &str) -> Option<Self> {
        match letter {
            "f" => Some(Self::File),
            "d" => Some(Self::Dir),
            "e" => Some(Self::Exists),
            "D" => Some(Self::DirOrRoot),
            "E" => Some(Self::ExistsOrRoot),
            _ => None,
        }
    }

    pub(super) fn letter(self) -> char {
        match self {
            Self::File => 'f',
            Self::Dir => 'd',
            Self::Exists => 'e',
            Self::DirOrRoot => 'D',
            Self::ExistsOrRoot => 'E',
        }
    }
}

/// The shape of a condition, whatever its tests are.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) enum Logic<T> {
    Test(T),
    Not(Box<Logic<T>>),
    All(Vec<Logic<T>>),
    Any(Vec<Logic<T>>),
}

impl<T> Logic<T> {
    fn holds(&self, test: &impl Fn(&T) -> bool) -> bool {
        match self {
            Self::Test(leaf) => test(leaf),
            Self::Not(inner) => !inner.holds(test),
            Self::All(parts) => parts.iter().all(|part| part.holds(test)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(test)),
        }
    }

    /// Whether some test is such.
    fn any(&self, such: &impl Fn(&T) -> bool) -> bool {
        match self {
            Self::Test(leaf) => such(leaf),
            Self::Not(inner) => inner.any(such),
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.any(such)),
        }
    }

    /// Maps every test, also after one has failed, so that all mistakes are seen.
    pub(super) fn try_map<U>(&self, map: &mut impl FnMut(&T) -> Option<U>) -> Option<Logic<U>> {
        let mut all = |parts: &[Self]| {
            let mapped: Vec<_> = parts.iter().map(|part| part.try_map(map)).collect();
            mapped.into_iter().collect::<Option<Vec<_>>>()
        };
        Some(match self {
            Self::All(parts) => Logic::All(all(parts)?),
            Self::Any(parts) => Logic::Any(all(parts)?),
            Self::Not(inner) => Logic::Not(Box::new(inner.try_map(map)?)),
            Self::Test(leaf) => Logic::Test(map(leaf)?),
        })
    }
}

/// One test as it is written; `R` is what stands on the right side of a comparison.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) enum Test<R> {
    Compare { variable: Text, comparison: Comparison, right: R },
    Path { check: PathCheck, negated: bool },
}

/// One test, ready to run.
#[derive(Clone)]
enum Check<V> {
    Compare { name: Box<str>, variable: V, comparison: Comparison, patterns: Patterns },
    Path { check: PathCheck, negated: bool },
}

impl<V: Variable> Check<V> {
    fn new(test: &Test<Vec<Text>>) -> Result<Self, Diagnostics> {
        match test {
            Test::Path { check, negated } => Ok(Self::Path { check: *check, negated: *negated }),
            Test::Compare { variable: name, comparison, right } => {
                let patterns = Patterns::new(comparison.operator, right);
                match (V::named(&name.text), patterns) {
                    (Some(variable), Ok(patterns)) => Ok(Self::Compare {
                        name: name.text.as_str().into(),
                        variable,
                        comparison: *comparison,
                        patterns,
                    }),
                    (variable, patterns) => {
                        let mut errors = patterns.err().unwrap_or_default();
                        if variable.is_none() {
                            errors.push(unknown_variable::<V>(&name.text, name.span));
                        }
                        Err(errors)
                    }
                }
            }
        }
    }
}

/// What a variable is compared with: any of these.
#[derive(Clone)]
enum Patterns {
    Equal(Box<[Box<str>]>),
    Prefix(Box<[Box<str>]>),
    Suffix(Box<[Box<str>]>),
    Contains(Box<[(Box<str>, memchr::memmem::Finder<'static>)]>),
    Regex(Box<[Regex]>),
}

/// A compiled regular expression may take so many bytes of memory.
const REGEX_SIZE: usize = 1 << 20;

impl Patterns {
    fn new(operator: Operator, texts: &[Text]) -> Result<Self, Diagnostics> {
        let plain = || texts.iter().map(|text| text.text.as_str().into()).collect();
        Ok(match operator {
            Operator::Equal => Self::Equal(plain()),
            Operator::Prefix => Self::Prefix(plain()),
            Operator::Suffix => Self::Suffix(plain()),
            Operator::Contains => {
                let finder = |text: &str| memchr::memmem::Finder::new(text).into_owned();
                let both = |text: &Text| (text.text.as_str().into(), finder(&text.text));
                Self::Contains(texts.iter().map(both).collect())
            }
            Operator::Regex => {
                let mut errors = Diagnostics::default();
                let mut regexes = Vec::with_capacity(texts.len());
                for text in texts {
                    match RegexBuilder::new(&text.text).size_limit(REGEX_SIZE).build() {
                        Ok(regex) => regexes.push(regex),
                        Err(error) => errors.push(bad_regex(text.span, &error)),
                    }
                }
                if !errors.is_empty() {
                    return Err(errors);
                }
                Self::Regex(regexes.into())
            }
        })
    }

    fn match_any(&self, value: &[u8]) -> bool {
        match self {
            Self::Equal(texts) => texts.iter().any(|text| text.as_bytes() == value),
            Self::Prefix(texts) => texts.iter().any(|text| value.starts_with(text.as_bytes())),
            Self::Suffix(texts) => texts.iter().any(|text| value.ends_with(text.as_bytes())),
            Self::Contains(finders) => finders.iter().any(|(_, f)| f.find(value).is_some()),
            Self::Regex(regexes) => regexes.iter().any(|regex| regex.is_match(value)),
        }
    }

    fn texts(&self) -> Vec<&str> {
        match self {
            Self::Equal(texts) | Self::Prefix(texts) | Self::Suffix(texts) => {
                texts.iter().map(|text| &**text).collect()
            }
            Self::Contains(finders) => finders.iter().map(|(text, _)| &**text).collect(),
            Self::Regex(regexes) => regexes.iter().map(Regex::as_str).collect(),
        }
    }
}

fn bad_regex(span: Span, error: &regex::Error) -> Diagnostic {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            Diagnostic::new(span, format!("this regular expression takes more than {limit} bytes"))
                .help("use smaller repetitions, or several shorter expressions in a list")
        }
        error => {
            // The regex crate draws its own picture over several lines; the last says why.
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default();
            let why = why.trim_start_matches("error: ");
            Diagnostic::new(span, format!("bad regular expression: {why}"))
                .help("in `…` no backslash needs to be doubled; look-around does not exist")
        }
    }
}

impl<V> fmt::Display for Condition<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.0, f)
    }
}

impl<V> fmt::Debug for Condition<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.0, f)
    }
}

fn show<V>(logic: &Logic<Check<V>>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let join = |f: &mut fmt::Formatter<'_>, parts: &[Logic<Check<V>>], operator: &str| {
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                write!(f, " {operator} ")?;
            }
            match part {
                Logic::Any(_) | Logic::All(_) => {
                    f.write_str("(")?;
                    show(part, f)?;
                    f.write_str(")")?;
                }
                part => show(part, f)?,
            }
        }
        Ok(())
    };
    match logic {
        Logic::All(parts) => join(f, parts, "&&"),
        Logic::Any(parts) => join(f, parts, "||"),
        Logic::Not(inner) => {
            f.write_str("!(")?;
            show(inner, f)?;
            f.write_str(")")
        }
        Logic::Test(Check::Path { check, negated }) => {
            write!(f, "$path {}{}", if *negated { '!' } else { '-' }, check.letter())
        }
        Logic::Test(Check::Compare { name, comparison, patterns, .. }) => {
            write!(f, "${name} {comparison} ")?;
            match &patterns.texts()[..] {
                [one] => f.write_str(&quote(one)),
                many => {
                    let many: Vec<_> = many.iter().map(|text| quote(text)).collect();
                    write!(f, "({})", many.join(", "))
                }
            }
        }
    }
}
