//! Why there is no certificate.

use std::fmt;
use std::io;
use std::time::Duration;

use hemi_proto::acme::Problem;

use crate::client::ClientError;

/// Why there is no certificate.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) why: Why,
    /// How long the CA asks to be left alone.
    pub(super) pause: Option<Duration>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Why {
    #[error("cannot ask {url}: {error}")]
    Client { url: String, error: ClientError },
    #[error("the CA refuses: {0}")]
    Problem(Problem),
    #[error("the CA answers {0} without saying why")]
    Status(u16),
    #[error("the CA's answer can't be used: {0}")]
    Answer(String),
    #[error("the CA has not come to an end within {} seconds", .0.as_secs())]
    TooLong(Duration),
    #[error("the CA offers no challenge that is answered here, only {0}")]
    NoChallenge(String),
    #[error("the CA did not find the answer to {kind}: {problem}")]
    Challenge { kind: &'static str, problem: Problem },
    #[error("the hook for the DNS {0}")]
    Hook(String),
    #[error(
        "the CA wants an account that is bound to what it knows: give its `.eabKeyId` and `.eabKey`"
    )]
    Unbound,
    #[error("{0}")]
    Key(String),
    #[error("cannot keep it: {0}")]
    Store(#[from] io::Error),
    #[error("{url} does not allow it: it answers {status}")]
    NotAllowed { url: String, status: u16 },
    #[error("there are too many orders on demand")]
    TooMany,
}

impl Why {
    /// Whether the same CA may be content with another challenge.
    pub(super) fn is_about_challenge(&self) -> bool {
        matches!(self, Self::Challenge { .. } | Self::NoChallenge(_) | Self::Hook(_))
    }
}

impl<W: Into<Why>> From<W> for Failure {
    fn from(why: W) -> Self {
        Self { why: why.into(), pause: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}
