//! Sends a request to one node after the other, until one answers.

mod hedge;

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use hemi_core::BoxFuture;
use hemi_core::backend::{By, NoNode, Nodes, Pick};
use hemi_core::clock::{self, Moment};
use hemi_core::config::ConfigType;
use hemi_core::listen::Peer;
use hemi_web::{
    Body, BodyError, BoxError, Request, Response, Scheme, SendError, StatusPattern, Undelivered,
};
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER, SET_COOKIE};
use serde::Deserialize;
use tracing::{debug, warn};

use crate::replay::Replay;
use crate::sticky::Sticky;

/// A request that may go to several nodes.
pub(crate) struct Failover<'a> {
    pub(crate) nodes: &'a Nodes,
    pub(crate) by: By<'a>,
    /// Nodes that it is sent to, at most.
    pub(crate) max_tries: usize,
    /// Doing what it asks for twice comes to the same (RFC 9110, 9.2.2).
    pub(crate) repeatable: bool,
    /// After what it is sent again, if it may be.
    pub(crate) causes: &'a [RetryCause],
    /// After how long without an answer a second node is asked as well, if it may be.
    pub(crate) hedge_after: Option<Duration>,
    /// For the log.
    pub(crate) request: &'a (dyn Display + Sync),
    /// What keeps its client at a node, and how it came.
    pub(crate) sticky: Option<(&'a Sticky, Scheme)>,
}

/// What is held against a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum RetryCause {
    /// No connection could be made.
    Connect,
    /// The connection broke before the answer began.
    Broken,
    /// The answer did not begin in time.
    Timeout,
    /// What came is no answer.
    Malformed,
    /// The node answered so.
    Status(StatusPattern),
}

/// Text that is none of these.
#[derive(Debug, thiserror::Error)]
#[error(
    "write \"connect\", \"broken\", \"timeout\", \"malformed\", a status like \"503\", or \"5xx\""
)]
pub(crate) struct BadRetryCause;

impl FromStr for RetryCause {
    type Err = BadRetryCause;

    fn from_str(text: &str) -> Result<Self, BadRetryCause> {
        Ok(match text {
            "connect" => Self::Connect,
            "broken" => Self::Broken,
            "timeout" => Self::Timeout,
            "malformed" => Self::Malformed,
            status => Self::Status(status.parse().map_err(|_| BadRetryCause)?),
        })
    }
}

impl TryFrom<String> for RetryCause {
    type Error = BadRetryCause;

    fn try_from(text: String) -> Result<Self, BadRetryCause> {
        text.parse()
    }
}

impl ConfigType for RetryCause {
    fn kind() -> Cow<'static, str> {
        "retry cause".into()
    }

    fn show(&self) -> String {
        match self {
            Self::Connect => "\"connect\"".into(),
            Self::Broken => "\"broken\"".into(),
            Self::Timeout => "\"timeout\"".into(),
            Self::Malformed => "\"malformed\"".into(),
            Self::Status(pattern) => pattern.show(),
        }
    }
}

impl RetryCause {
    /// All but statuses.
    pub(crate) const FAILURES: [Self; 4] =
        [Self::Connect, Self::Broken, Self::Timeout, Self::Malformed];

    fn of(error: &SendError) -> Option<Self> {
        match error {
            SendError::Connect(_) | SendError::Timeout { what: "connection", .. } => {
                Some(Self::Connect)
            }
            SendError::Broken(_) | SendError::Closed => Some(Self::Broken),
            SendError::Timeout { .. } => Some(Self::Timeout),
            SendError::Malformed(_) => Some(Self::Malformed),
            _ => None,
        }
    }
}

impl Failover<'_> {
    /// Sends it; the status to answer with, if no node does.
    ///
    /// After a failure it is sent again if nobody can have seen it, or it may be repeated; and never when
    /// some of its content was taken that `replay` does not have, or too many others were sent again of late.
    pub(crate) async fn run<'s>(
        self,
        mut body: Body,
        replay: Option<&Replay>,
        mut send: impl FnMut(Pick, Body) -> BoxFuture<'s, Result<Response, Box<Undelivered>>> + Send,
    ) -> Result<Response, StatusCode> {
        let mut tried = Vec::new();
        let mut failed = Failed::Not;
        loop {
            let pick = match self.nodes.pick_in_time(&self.by, &tried).await {
                Ok(pick) => pick,
                Err(NoNode::Full) if tried.is_empty() => {
                    if may_log() {
                        warn!(request = %self.request, "cannot pass the request on: {}", NoNode::Full);
                    }
                    let soon = HeaderValue::from_static("1");
                    let full = Response::from(StatusCode::SERVICE_UNAVAILABLE);
                    return Ok(full.field(RETRY_AFTER, soon));
                }
                Err(e) => {
                    if e == NoNode::Fit && may_log() {
                        warn!(request = %self.request, "cannot pass the request on: {e}");
                    }
                    return failed.end();
                }
            };
            let sent = self.send(pick, body, &mut tried, replay, &mut send).await;
            let undelivered = match sent.answer {
                Ok(mut response) => {
                    let status = response.status();
                    if let Some(cookie) = sent.cookie {
                        response.headers_mut().append(SET_COOKIE, cookie);
                    }
                    let held_against = self.is_held_against(status);
                    if held_against || is_failure(status) {
                        self.nodes.failed_at(&sent.node);
                    }
                    let again = self.repeatable && held_against;
                    let left = again && tried.len() + 1 < self.max_tries;
                    let untouched =
                        left.then(|| replay.map_or_else(|| Some(Body::empty()), Replay::body));
                    let (Some(untouched), Some(twin)) = (untouched.flatten(), sent.twin) else {
                        return Ok(response);
                    };
                    if !self.nodes.may_retry() {
                        return Ok(response);
                    }
                    let node = twin.endpoint().target();
                    if may_log() {
                        warn!(request = %self.request, %node, "the node answered {status}");
                    }
                    tried.push(twin);
                    failed = Failed::Answered(response);
                    body = untouched;
                    continue;
                }
                Err(undelivered) => *undelivered,
            };
            let error = undelivered.error;
            self.tell(&error, &undelivered.pick);
            failed = Failed::With(error.status());
            if !error.is_of_node() {
                return failed.end();
            }
            self.nodes.failed(&undelivered.pick);
            tried.push(undelivered.pick);
            let held_against = RetryCause::of(&error).is_some_and(|c| self.causes.contains(&c));
            let again = undelivered.unseen || (self.repeatable && held_against);
            let again = again && tried.len() < self.max_tries;
            let untouched = undelivered.body.or_else(|| replay?.body());
            match untouched.filter(|_| again && self.nodes.may_retry()) {
                Some(untouched) => body = untouched,
                None => return failed.end(),
            }
        }
    }

    fn tell(&self, error: &SendError, pick: &Pick) {
        let node = pick.endpoint().target();
        if let SendError::Content(e) = error {
            debug!(request = %self.request, %node, "the client has not sent its content whole: {e}");
        } else if may_log() {
            warn!(request = %self.request, %node, "no answer from the node: {error}");
        }
    }

    /// Whether an answer with this status might be better from another node.
    fn is_held_against(&self, status: StatusCode) -> bool {
        let holds = |cause: &RetryCause| matches!(cause, RetryCause::Status(pattern) if pattern.matches(status));
        self.causes.iter().any(holds)
    }

    /// What tells the client which node it was given, if that is news.
    fn cookie(&self, pick: &Pick) -> Option<HeaderValue> {
        let (sticky, scheme) = self.sticky?;
        let node = pick.endpoint();
        (self.by.node != Some(node.id())).then(|| sticky.cookie(node, scheme))?
    }
}

/// Whether an answer says that its node can't do its work, rather than what came of it.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}

/// Logs that a node has not brought an answer to its end that it had begun; or that it could not, for the client
/// has not sent its content whole.
pub(crate) fn broke_off(pick: &Pick, error: &BoxError) {
    let node = pick.endpoint().target();
    if error.is::<BodyError>() {
        debug!(%node, "the client has not sent its content whole: {error}");
    } else if may_log() {
        warn!(%node, "the answer of the node broke off: {error}");
    }
}

/// Nothing more of an answer has come for this long.
pub(crate) fn silent(limit: Duration) -> BoxError {
    io::Error::new(io::ErrorKind::TimedOut, format!("nothing came within {limit:?}")).into()
}

/// Where the client is, if that can be told.
pub(crate) fn peer_of(req: &Request) -> Option<SocketAddr> {
    match req.peer() {
        Peer::Tcp(address) => Some(address),
        Peer::Unix => None,
    }
}

/// Lines about failures that a core logs in a second, at most: when all fail, that is known soon.
const LINES: u32 = 20;

/// Whether another line may be logged.
fn may_log() -> bool {
    thread_local! {
        static LOGGED: Cell<(Moment, u32, u32)> = const { Cell::new((Moment::NEVER, 0, 0)) };
    }
    let now = clock::now();
    let (since, lines, skipped) = LOGGED.get();
    if since == Moment::NEVER || now.since(since) >= Duration::from_secs(1) {
        if skipped > 0 {
            warn!("{skipped} more failures of nodes in the last seconds");
        }
        LOGGED.set((now, 1, 0));
        return true;
    }
    let may = lines < LINES;
    LOGGED.set((since, lines + u32::from(may), skipped + u32::from(!may)));
    may
}

/// What came of the tries so far.
enum Failed {
    Not,
    With(StatusCode),
    /// An answer that another might be better than.
    Answered(Response),
}

impl Failed {
    fn end(self) -> Result<Response, StatusCode> {
        match self {
            Self::Not => Err(StatusCode::SERVICE_UNAVAILABLE),
            Self::With(status) => Err(status),
            Self::Answered(response) => Ok(response),
        }
    }
}
