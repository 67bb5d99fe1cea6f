//! What a leader tells of itself and its worker, and what it can be asked to do: the types that the control
//! API sends as JSON, and the handle that the API and the admin pages hold.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hemi_core::config::{self, Constants, Diagnostic, Source, Sources, Tree};
use hemi_core::status::{Timestamp, digest};
use hemi_core::{BoxFuture, Error, Registry, Status};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::recent::Line;

/// Whoever controls the processes of a program.
pub(crate) trait Control: Send + Sync + 'static {
    /// How all stands. What can't be had in time, such as the status of a worker that is stuck, is left out.
    fn overview(&self) -> BoxFuture<'_, Overview>;

    /// The config: what is served, and whether what is there now would do.
    fn config(&self) -> BoxFuture<'_, ConfigView>;

    /// Does something, and comes back when it is done: with [`Act::Reload`], when the new stage serves; with
    /// [`Act::Quit`] and [`Act::Stop`], when it has begun.
    fn act(&self, act: Act) -> BoxFuture<'_, Result<Done, Refused>>;

    /// What happens from now on. A receiver that is slow misses some.
    fn events(&self) -> broadcast::Receiver<Event>;
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "act")]
pub(crate) enum Act {
    /// Loads the config again: a new stage in the same worker.
    Reload,
    /// Starts a new worker on the same sockets; the old one drains.
    Rework,
    /// Replaces all processes by those of a new binary.
    Upgrade {
        /// The binary; the file of this one, if none.
        binary: Option<PathBuf>,
    },
    /// Opens log files anew.
    Reopen,
    /// Drains, then ends.
    Quit,
    /// Ends at once.
    Stop,
    /// Moves the control API to another address; closes its port if none.
    Recmd {
        /// Where.
        address: Option<String>,
    },
    /// Moves the admin pages to another address; closes them if none.
    Reweb {
        /// Where.
        address: Option<String>,
    },
}

/// It was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// What was, for people.
    pub(crate) message: String,
}

/// It was not done, and all is as before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    /// Why not, for people: with config mistakes as `check` shows them.
    pub(crate) message: String,
    /// What is wrong with the config, if that is why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mistakes: Vec<Mistake>,
}

/// What is wrong with a config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mistake {
    /// The name of the file; empty if none can be shown.
    pub(crate) file: String,
    /// Counted from 1.
    pub(crate) line: usize,
    /// In characters, counted from 1.
    pub(crate) column: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
}

/// How all stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Overview {
    /// The name of the program.
    pub(crate) program: String,
    /// Its version.
    pub(crate) version: String,
    pub(crate) leader: Leader,
    /// The worker that serves, or is about to; none while there is none.
    pub(crate) worker: Option<Worker>,
    /// Workers that drain.
    pub(crate) retiring: Vec<Worker>,
    /// Workers that had to be started anew, by reasons: `signal`, `exit`, `stall`.
    pub(crate) restarts: BTreeMap<String, u64>,
    /// How the last of them ended.
    pub(crate) last_end: Option<End>,
    /// Loads of the config that were tried, the first one included.
    pub(crate) loads: u64,
    /// The last of them.
    pub(crate) last_load: Option<Load>,
}

/// The leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leader {
    pub(crate) pid: u32,
    pub(crate) since: Timestamp,
    /// The last warnings and errors of the leader itself, the newest last.
    pub(crate) recent: Vec<Line>,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Worker {
    pub(crate) pid: u32,
    pub(crate) since: Timestamp,
    /// By when it will have ended, if it drains.
    pub(crate) ends_by: Option<Timestamp>,
    /// None if it did not say in time.
    pub(crate) report: Option<Report>,
}

/// What a worker tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) engine: Status,
    /// Its last warnings and errors, the newest last.
    pub(crate) recent: Vec<Line>,
}

/// How a worker ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct End {
    pub(crate) pid: u32,
    pub(crate) at: Timestamp,
    /// By which signal or with which code.
    pub(crate) reason: String,
    /// The last lines it has logged.
    pub(crate) last_lines: Vec<String>,
}

/// A config was loaded, or was to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) at: Timestamp,
    /// None if it is served.
    pub(crate) refused: Option<Refused>,
}

/// The config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigView {
    /// Where it comes from: a path, a URL.
    pub(crate) source: String,
    /// Tells the texts that are there now from others: those of a stage have the same if it serves them.
    pub(crate) digest: String,
    /// The text that is there now, with what it includes and without what is secret; none if it can't be
    /// read.
    pub(crate) files: Vec<ConfigFile>,
    /// What is wrong with them; none if they would be served.
    pub(crate) refused: Option<Refused>,
}

/// A text of the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigFile {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) at: Timestamp,
    pub(crate) what: What,
    /// For people.
    pub(crate) message: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum What {
    /// A worker has started.
    Started,
    /// A worker has ended as it was told.
    Ended,
    /// A worker has ended otherwise.
    Failed,
    /// A new config is served.
    Loaded,
    /// A config was refused.
    Refused,
    /// The last good config was taken again.
    RolledBack,
    /// The program is about to end.
    Ending,
}

impl ConfigView {
    /// What is there now. Reads files, or asks a server, for as long as that takes.
    pub(crate) fn read(source: &Source, constants: &Constants, registry: &Registry) -> Self {
        let checked = hemi_core::check(registry, source, constants);
        let refused = checked.as_ref().err().map(Refused::from);
        let name = source.to_string();
        // What can be read at least is shown.
        let tree = checked.ok().or_else(|| config::load(source, constants).ok());
        let file = |tree: Tree| {
            let text = config::hide_secrets(tree.flat(), registry);
            (digest(tree.flat()), vec![ConfigFile { name: name.clone(), text }])
        };
        let (digest, files) = tree.map(file).unwrap_or_default();
        Self { source: name, digest, files, refused }
    }
}

impl Event {
    pub(crate) fn now(what: What, message: impl Into<String>) -> Self {
        Self { at: Timestamp::now(), what, message: message.into() }
    }
}

impl From<&Error> for Refused {
    fn from(error: &Error) -> Self {
        let mistakes = error.mistakes().map(|e| mistakes(e.diagnostics(), e.sources()));
        Self { message: error.to_string(), mistakes: mistakes.unwrap_or_default() }
    }
}

impl From<String> for Refused {
    fn from(message: String) -> Self {
        Self { message, mistakes: Vec::new() }
    }
}

fn mistakes(diagnostics: &[Diagnostic], sources: &Sources) -> Vec<Mistake> {
    let mistake = |diagnostic: &Diagnostic| {
        let place = diagnostic.span.map(|span| sources.locate(span));
        Mistake {
            file: place.as_ref().map_or("", |place| place.file).to_owned(),
            line: place.as_ref().map_or(1, |place| place.line),
            column: place.as_ref().map_or(1, |place| place.column),
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
        }
    };
    diagnostics.iter().map(mistake).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_shown_with_its_mistakes_and_without_secrets() {
        let registry = Registry::new();
        let read = |text: &str| {
            ConfigView::read(&Source::text("a.conf", text), &Constants::default(), &registry)
        };
        let good = read("stage { // http://me:pass@host\n}");
        assert_eq!((&*good.source, good.refused.is_none()), ("a.conf", true));
        assert_eq!(good.files[0].text, "stage { // http://me:pass@host\n}");
        let bad = read("stage {\n\t.a = \"http://me:pass@host/\"\n}");
        assert_eq!(bad.files[0].text, "stage {\n\t.a = \"http://me:…@host/\"\n}");
        assert_ne!(bad.digest, good.digest);
        let mistake = &bad.refused.unwrap().mistakes[0];
        assert_eq!((&*mistake.file, mistake.line, mistake.column), ("a.conf", 2, 2));
        let broken = read("stage {");
        assert!(broken.files.is_empty() && broken.refused.is_some());
    }
}
