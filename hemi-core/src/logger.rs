//! The kind `logger`: takes records of what was done and puts them somewhere.
//!
//! A logger knows nothing of the records: who uses it binds it to the variables of his family, as a
//! [`Log`], which decides what is logged and writes it into the logger's buffer.

mod escape;
mod format;
mod spec;

use std::fmt;
use std::sync::Arc;

use crate::config::{Condition, Diagnostics, KindName, Lookup, Variable};
use crate::{Component, Kind, Lifecycle, Parts, Place, Rank, Registry, Result};

pub use escape::{escape_json, escape_text};
pub use format::Format;
use format::Layout;
use spec::Sample;
pub use spec::{LogConfig, LogSpec};

/// The kind of loggers. Others refer to one by its name.
#[derive(Debug)]
pub struct LoggerKind;

impl KindName for LoggerKind {
    const NAME: &'static str = "logger";
}

impl Kind for LoggerKind {
    type Object = dyn Logger;
    const RANK: Rank = Rank::LOGGER;
    const PLACE: Place = Place::Referred;
}

/// Puts records somewhere.
pub trait Logger: Send + Sync {
    /// What it takes, and how that is written.
    fn spec(&self) -> &LogSpec;

    /// Takes a record, which `write` appends to the logger's buffer, without a line end. Never waits:
    /// what can't be kept is dropped, and counted; `write` need not be called then.
    fn log(&self, level: Level, write: &mut dyn FnMut(&mut Vec<u8>));

    /// Records dropped so far.
    fn dropped(&self) -> u64;

    /// Has the logger open anew what it writes to, for those who have moved it away.
    fn reopen(&self) {}
}

/// How bad it is what a record tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// All went well.
    #[default]
    Info,
    /// Somebody else's fault.
    Warning,
    /// A fault of this side.
    Error,
}

/// Something that was done, such as a request that was answered, told in the variables `V`.
pub trait Record<V>: Lookup<V> {
    /// How bad it is.
    fn level(&self) -> Level {
        Level::Info
    }

    /// Appends it in the common log format of its family. Control characters are escaped.
    fn common(&self, line: &mut Vec<u8>);

    /// The same with what the client says about itself.
    fn combined(&self, line: &mut Vec<u8>);
}

/// A logger in the hands of one who knows the variables of his records.
pub struct Log<V> {
    logger: Arc<dyn Logger>,
    condition: Option<Condition<V>>,
    sample: Option<Arc<Sample>>,
    layout: Layout<V>,
}

impl<V: Variable> Log<V> {
    /// Binds a logger: names in its config become variables.
    ///
    /// # Errors
    /// For every name that is no variable of `V`, at its place.
    pub fn bind(logger: Arc<dyn Logger>) -> Result<Self> {
        let spec = logger.spec();
        let condition = spec.condition.as_ref().map(|c| c.typed(spec.condition_span)).transpose();
        let mut errors = Diagnostics::default();
        let condition = condition.map_err(|e| errors.extend(e));
        let layout = Layout::new(spec).map_err(|e| errors.extend(e));
        match (condition, layout) {
            (Ok(condition), Ok(layout)) => {
                let sample = spec.sample.clone();
                Ok(Self { logger, condition, sample, layout })
            }
            _ => Err(errors.into()),
        }
    }

    /// Binds several.
    ///
    /// # Errors
    /// With the mistakes of all.
    pub fn bind_all(loggers: impl IntoIterator<Item = Arc<dyn Logger>>) -> Result<Vec<Self>> {
        let (mut logs, mut errors) = (Vec::new(), Diagnostics::default());
        for logger in loggers {
            let span = logger.spec().condition_span;
            match Self::bind(logger) {
                Ok(log) => logs.push(log),
                Err(e) => errors.extend(e.into_diagnostics(span)),
            }
        }
        if errors.is_empty() { Ok(logs) } else { Err(errors.into()) }
    }

    /// Logs a record, if the logger takes it.
    pub fn log(&self, record: &impl Record<V>) {
        let taken = self.condition.as_ref().is_none_or(|condition| condition.matches(record))
            && self.sample.as_ref().is_none_or(|sample| sample.takes());
        if taken {
            self.logger.log(record.level(), &mut |line| self.layout.write(record, line));
        }
    }

    /// Whether it looks at such a variable, other than for the formats `common` and `combined`.
    pub fn uses(&self, such: impl Fn(&V) -> bool) -> bool {
        self.layout.uses(&such) || self.condition.as_ref().is_some_and(|c| c.uses(such))
    }
}

impl<V> fmt::Debug for Log<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("condition", &self.condition).finish_non_exhaustive()
    }
}

impl Parts {
    /// Adds a logger to a stage that is built in code.
    ///
    /// # Errors
    /// When the stage has a logger of that name.
    pub fn logger<L: Logger + Lifecycle>(&mut self, name: &str, logger: L) -> Result<Arc<L>> {
        let logger = Arc::new(logger);
        self.add::<LoggerKind>(name, logger.clone(), logger.clone())?;
        Ok(logger)
    }
}

/// Registers loggers.
pub trait LoggerRegistry {
    /// Adds a logger.
    fn logger<L: Logger + Component>(&mut self) -> &mut Self;
}

impl LoggerRegistry for Registry {
    fn logger<L: Logger + Component>(&mut self) -> &mut Self {
        self.add::<LoggerKind, L>(|logger: Arc<L>| logger)
    }
}
