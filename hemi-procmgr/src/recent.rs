//! The last warnings and errors of a process, for those who look at it.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use hemi_core::status::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// A line that was logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) at: Timestamp,
    /// Whether it is an error; else it is a warning.
    pub(crate) error: bool,
    pub(crate) text: String,
}

/// Remembers the last lines. A layer of the subscriber, of which a clone is kept to ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent(Arc<Mutex<VecDeque<Line>>>);

/// How many lines are remembered.
const LINES: usize = 50;

/// How many bytes of one.
const BYTES: usize = 1024;

impl Recent {
    /// The last lines, the newest last.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn add(&self, line: Line) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > Level::WARN {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let text = match text.0.char_indices().find(|(at, c)| at + c.len_utf8() > BYTES) {
            Some((at, _)) => format!("{}…", &text.0[..at]),
            None => text.0,
        };
        self.add(Line { at: Timestamp::now(), error: level == Level::ERROR, text });
    }
}

/// The message, then the fields.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to memory does not fail.
        let _ = match field.name() {
            "message" => {
                let fields = std::mem::replace(&mut self.0, format!("{value:?}"));
                self.0.write_str(&fields)
            }
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing::{error, info, subscriber, warn};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn the_last_warnings_and_errors_are_remembered() {
        let recent = Recent::default();
        let registry = tracing_subscriber::registry().with(recent.clone());
        subscriber::with_default(registry, || {
            info!("not this");
            warn!(stage = 7, "slow: {}", 3);
            error!("{}", "é".repeat(BYTES));
        });
        let lines = recent.lines();
        assert_eq!((lines[0].error, &*lines[0].text), (false, "slow: 3 stage=7"));
        assert_eq!((lines[1].error, lines[1].text.len()), (true, BYTES + "…".len()));
        let line = Line { at: Timestamp(0), error: false, text: "x".into() };
        (0..LINES).for_each(|_| recent.add(line.clone()));
        assert_eq!(recent.lines(), vec![line; LINES]);
    }
}
