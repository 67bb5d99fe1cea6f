//! What can be asked of a program that runs: by the control socket, by its admin pages, and by signals.
//!
//! [`Control`] is the handle; behind it the leader answers, one thing after the other where they exclude
//! each other, and never waiting for a drain.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use hemi_core::Error;
use hemi_core::config::{Diagnostic, Sources};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::recent::Line;

/// Commands that wait to be looked at, at most.
const WAITING: usize = 64;

/// Asks the leader.
#[derive(Clone, Debug)]
pub(crate) struct Control(mpsc::Sender<Asked>);

/// What was asked, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) command: Command,
    pub(crate) answer: oneshot::Sender<Result<Answer, Refused>>,
}

/// Something to do or to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Tells all there is to tell.
    Status,
    /// Loads the config anew, in the same worker.
    Reload,
    /// Puts a new worker in the place of the one that serves.
    Rework,
    /// Puts a new leader and worker in the place of these: of another binary, or of what lies now where
    /// this one came from.
    Upgrade { binary: Option<PathBuf> },
    /// Opens log files anew.
    Reopen,
    /// Drains, then ends. Done when that has begun.
    Quit,
    /// Ends now.
    Stop,
    /// Opens the control socket at another path.
    Recmd { path: PathBuf },
}

/// That something is done, with what there is to say about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub(crate) enum Answer {
    Status(Box<Status>),
    Done(Done),
}

/// What was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Done {
    /// In a line, for people.
    pub(crate) done: String,
}

/// Why something was not done, for people: it may be the mistakes of a config, in many lines.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{error}")]
pub(crate) struct Refused {
    pub(crate) error: String,
    /// The mistakes one by one, if it was these.
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

/// The processes, and what happened to them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) name: String,
    pub(crate) leader: LeaderStatus,
    /// The one that serves comes first, then those that drain.
    pub(crate) workers: Vec<WorkerStatus>,
    /// Where the config comes from: a path, a URL, or what else to call it.
    pub(crate) config: String,
    /// The last attempt to load it anew.
    pub(crate) reload: Option<ReloadStatus>,
    /// How often a worker was started in the place of one that ended unasked.
    pub(crate) restarts: u64,
    /// The last of those ends, newest first.
    pub(crate) crashes: Vec<Crash>,
    /// Since when an earlier config serves, because workers crashed with the one that is wanted.
    pub(crate) rolled_back: Option<Seconds>,
}

/// The leader.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeaderStatus {
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) binary: PathBuf,
    pub(crate) since: Seconds,
}

/// A worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkerStatus {
    pub(crate) pid: u32,
    pub(crate) phase: Phase,
    pub(crate) since: Seconds,
    /// What it tells of its stages; nothing, if it does not answer soon.
    pub(crate) report: Option<serde_json::Value>,
}

/// What a worker tells of itself: the report of its status.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) engine: hemi_core::Status,
    /// Its last warnings and errors, the newest last.
    pub(crate) recent: Vec<Line>,
}

/// What a worker is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Phase {
    Starting,
    Serving,
    Draining,
}

/// An attempt to load the config anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReloadStatus {
    pub(crate) at: Seconds,
    /// Why it was refused; none, if it serves.
    pub(crate) error: Option<String>,
}

/// The end of a worker that nobody asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Crash {
    pub(crate) at: Seconds,
    pub(crate) pid: u32,
    /// The signal or the exit status.
    pub(crate) reason: String,
    /// The last lines it wrote into its log.
    pub(crate) log: Vec<String>,
}

/// A moment: seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Seconds(pub(crate) u64);

impl Seconds {
    pub(crate) fn now() -> Self {
        let now = hemi_core::clock::calendar().duration_since(SystemTime::UNIX_EPOCH);
        Self(now.as_ref().map_or(0, Duration::as_secs))
    }

    /// How long ago that was.
    pub(crate) fn ago(self) -> Duration {
        Duration::from_secs(Self::now().0.saturating_sub(self.0))
    }
}

impl Control {
    /// A handle, and where what is asked by it arrives.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (asker, asked) = mpsc::channel(WAITING);
        (Self(asker), asked)
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&self, command: Command) -> Result<Answer, Refused> {
        let (answer, answered) = oneshot::channel();
        let ending = |_| Refused::new("the program is ending");
        self.0.send(Asked { command, answer }).await.map_err(|_| ending(()))?;
        answered.await.map_err(|_| ending(()))?
    }

    /// What all there is to tell.
    pub(crate) async fn status(&self) -> Result<Status, Refused> {
        match self.ask(Command::Status).await? {
            Answer::Status(status) => Ok(*status),
            Answer::Done(Done { done }) => Err(Refused::new(done)),
        }
    }
}

impl Refused {
    pub(crate) fn new(error: impl Into<String>) -> Self {
        Self { error: error.into(), mistakes: Vec::new() }
    }
}

impl From<String> for Refused {
    fn from(error: String) -> Self {
        Self::new(error)
    }
}

impl From<&Error> for Refused {
    fn from(error: &Error) -> Self {
        let mistakes = error.mistakes().map_or_else(Vec::new, |config| {
            config.diagnostics().iter().map(|d| Mistake::of(d, config.sources())).collect()
        });
        Self { error: error.to_string(), mistakes }
    }
}

impl Mistake {
    fn of(diagnostic: &Diagnostic, sources: &Sources) -> Self {
        let place = diagnostic.span.map(|span| sources.locate(span));
        Self {
            file: place.as_ref().map_or("", |place| place.file).to_owned(),
            line: place.as_ref().map_or(1, |place| place.line),
            column: place.as_ref().map_or(1, |place| place.column),
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
        }
    }
}

impl Answer {
    pub(crate) fn done(done: impl Into<String>) -> Self {
        Self::Done(Done { done: done.into() })
    }
}
