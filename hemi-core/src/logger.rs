//! The kind `logger`: takes records of what was done and puts them somewhere.

use std::sync::Arc;

use crate::config::KindName;
use crate::{Component, Kind, Place, Rank, Registry};

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
    /// Takes a record. Never waits: what can't be kept is dropped, and counted.
    fn log(&self, record: &dyn Record);

    /// Records dropped so far.
    fn dropped(&self) -> u64;
}

/// Something that was done, such as a request that was answered.
pub trait Record {
    /// Appends it in the common log format of its family, without a line end. Control characters are escaped.
    fn common(&self, line: &mut Vec<u8>);
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
