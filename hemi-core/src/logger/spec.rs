//! What every logger may be told beside what is its own.

use std::num::NonZeroU32;
use std::sync::Arc;

use serde::Deserialize;

use super::format::Format;
use crate::config::{AnyVar, Condition, Diagnostic, Span, Template};
use crate::cores::PerCore;
use crate::{CreateCx, Explain, Result};

/// Properties of every logger.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct LogConfig {
    /// How a record is written: `"common"` (the common log format), `"combined"` (the same with the fields
    /// `referer` and `user-agent`), `"json"` (an object), or a string with variables such as
    /// `$remoteAddr + " " + $status`, in which `-` stands for one without a value.
    pub format: Format,
    /// With `.format = "json"`: the members of each object, a name and a string with variables each. One
    /// that is a single variable whose values are numbers becomes a number. None: the usual ones.
    pub fields: Vec<(String, Template<AnyVar>)>,
    /// Log one record of so many that fulfil the condition; each core counts for itself.
    pub sample: NonZeroU32,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: Format::Common, fields: Vec::new(), sample: NonZeroU32::MIN }
    }
}

/// What a logger takes, and how that is written.
#[derive(Debug)]
pub struct LogSpec {
    pub(super) format: Format,
    /// Where it says so.
    pub(super) format_span: Span,
    /// Of objects in JSON; none for the usual ones.
    pub(super) fields: Vec<(String, Template<AnyVar>)>,
    pub(super) fields_span: Span,
    pub(super) condition: Option<Condition<AnyVar>>,
    pub(super) condition_span: Span,
    /// None for all.
    pub(super) sample: Option<Arc<Sample>>,
}

impl LogSpec {
    /// Takes the properties of a logger, and its condition.
    ///
    /// # Errors
    /// When they contradict each other, or the condition tests files.
    pub fn new(config: LogConfig, cx: &CreateCx<'_>) -> Result<Self> {
        let condition = cx.condition::<AnyVar>()?;
        if condition.as_ref().is_some_and(Condition::tests_files) {
            let message = "the condition of a logger cannot test files";
            let help = "compare variables, such as `$status`";
            return Err(Diagnostic::new(cx.span(), message).help(help).into());
        }
        let place = |name| cx.scope.property_span(name).unwrap_or(cx.span());
        if !config.fields.is_empty() && !matches!(config.format, Format::Json) {
            let message = "only a log in JSON has `.fields`";
            let help = "write `.format = \"json\"`, or remove them";
            return Err(Diagnostic::new(place("fields"), message).help(help).into());
        }
        Ok(Self {
            format: config.format,
            format_span: place("format"),
            fields: config.fields,
            fields_span: place("fields"),
            condition,
            condition_span: cx.span(),
            sample: Sample::new(config.sample, cx.cores()).map(Arc::new),
        })
    }
}

/// Takes one record of so many.
#[derive(Debug)]
pub(super) struct Sample {
    one_of: u32,
    /// Records since the last that was taken.
    passed: PerCore<u32>,
}

impl Sample {
    fn new(one_of: NonZeroU32, cores: usize) -> Option<Self> {
        let one_of = one_of.get();
        (one_of > 1).then(|| Self { one_of, passed: PerCore::new(cores, || 0) })
    }

    /// Whether this record is to be taken; the first is.
    pub(super) fn takes(&self) -> bool {
        let mut passed = self.passed.mine();
        let first = *passed == 0;
        *passed = (*passed + 1) % self.one_of;
        first
    }
}
