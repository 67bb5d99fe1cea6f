//! A rule: the condition under which some components of a webapp are asked, in the order written.
//!
//! ```gorox
//! stage {
//! 	webapp "shop" {
//! 		.hostnames = ("shop.test")
//! 		rule $path == "/ping" && $method == ("GET", "HEAD") {
//! 			.returnCode = 200
//! 			.returnText = "pong"
//! 		}
//! 		rule { .returnCode = 404  .returnText = "no such page" }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("shop") }
//! }
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use hemi_core::config::{Condition, ConfigType, KindName};
use hemi_core::{Component, CreateCx, DynLifecycle, Explain, Kind, Lifecycle, Place, Rank, Result};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::handlet::{DynHandlet, Handlet, HandletKind};
use crate::reviser::{Reviser, ReviserKind};
use crate::socklet::{DynSocklet, SockletKind};
use crate::vars::{Seen, WebVar};
use crate::{Prepared, Reply, Request, Response};

/// The kind of the one component [`Rule`].
#[derive(Debug)]
pub struct RuleKind;

impl KindName for RuleKind {
    const NAME: &'static str = "rule";
}

impl Kind for RuleKind {
    type Object = Rule;
    const RANK: Rank = Rank::PART;
    const PLACE: Place = Place::Inside;
}

/// Asks the components inside it about requests that fulfil its condition; without one, about all.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleConfig {
    /// Answer with this status, 200 to 599, and ask no handlet.
    pub return_code: Option<ReturnCode>,
    /// The content of that answer, as plain text; empty: a page that names the status.
    pub return_text: String,
    /// Whether requests that match are written to the access log.
    pub log_access: bool,
}

impl Default for RuleConfig {
    fn default() -> Self {
        Self { return_code: None, return_text: String::new(), log_access: true }
    }
}

/// A status that ends a request: 200 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub struct ReturnCode(StatusCode);

/// A number that is no such status.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not a status that ends a request: write one from 200 to 599")]
pub struct NotFinal(u16);

impl TryFrom<u16> for ReturnCode {
    type Error = NotFinal;

    fn try_from(code: u16) -> Result<Self, NotFinal> {
        let status = StatusCode::from_u16(code).ok().filter(|_| (200..600).contains(&code));
        status.map(Self).ok_or(NotFinal(code))
    }
}

impl ConfigType for ReturnCode {
    fn kind() -> Cow<'static, str> {
        "status".into()
    }

    fn show(&self) -> String {
        self.0.as_u16().to_string()
    }
}

/// A rule of a webapp.
#[derive(Default)]
pub struct Rule {
    condition: Option<Condition<WebVar>>,
    answer: Option<Answer>,
    handlets: Vec<Arc<dyn DynHandlet>>,
    socklets: Vec<Arc<dyn DynSocklet>>,
    revisers: Vec<Arc<dyn Reviser>>,
    unlogged: bool,
    /// The lives of components that code has put in.
    pub(crate) lives: Vec<Arc<dyn DynLifecycle>>,
}

/// What a rule answers by itself.
struct Answer {
    status: StatusCode,
    /// None for the page that names the status.
    prepared: Option<Arc<Prepared>>,
}

impl Component for Rule {
    const SIGN: &'static str = "rule";
    type Config = RuleConfig;

    fn create(config: RuleConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let mut revisers = cx.children::<ReviserKind>();
        revisers.sort_by_key(|reviser| reviser.rank());
        Ok(Self {
            condition: cx.condition()?,
            answer: answer(&config),
            handlets: cx.children::<HandletKind>(),
            socklets: cx.children::<SockletKind>(),
            revisers,
            unlogged: !config.log_access,
            lives: Vec::new(),
        })
    }
}

fn answer(config: &RuleConfig) -> Option<Answer> {
    let status = config.return_code?.0;
    if config.return_text.is_empty() {
        return Some(Answer { status, prepared: None });
    }
    let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
    let fields = HeaderMap::from_iter([(CONTENT_TYPE, media_type)]);
    let prepared = Prepared::with_content(fields, config.return_text.clone().into());
    Some(Answer { status, prepared: Some(Arc::new(prepared)) })
}

impl Lifecycle for Rule {}

impl Rule {
    /// A rule for all requests, to be filled by code.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one handlet more.
    #[must_use]
    pub fn handlet<H: Handlet>(mut self, handlet: H) -> Self {
        let handlet = Arc::new(handlet);
        self.lives.push(handlet.clone());
        self.handlets.push(handlet);
        self
    }

    /// Whether the rule is for this request.
    pub(crate) fn matches(&self, seen: &Seen<'_>) -> bool {
        self.condition.as_ref().is_none_or(|condition| condition.matches(seen))
    }

    /// Whether its condition looks for files.
    pub(crate) fn tests_files(&self) -> bool {
        self.condition.as_ref().is_some_and(Condition::tests_files)
    }

    pub(crate) fn is_logged(&self) -> bool {
        !self.unlogged
    }

    /// Answers without waiting, if that is possible.
    pub(crate) fn answer_now(&self, req: &mut Request) -> Option<Reply> {
        if !self.revisers.is_empty() || req.wants_upgrade() {
            return None;
        }
        match &self.answer {
            Some(answer) => Some(answer.give().into()),
            None => {
                for handlet in &self.handlets {
                    if let Reply::Done(response) = handlet.handle_now(req)? {
                        return Some(Reply::Done(response));
                    }
                }
                Some(Reply::Next)
            }
        }
    }

    /// Asks the components of the rule.
    pub(crate) async fn answer(&self, req: &mut Request) -> Reply {
        for reviser in &self.revisers {
            reviser.request(req);
        }
        let mut reply = match &self.answer {
            Some(answer) => answer.give().into(),
            None => self.ask(req).await,
        };
        if let Reply::Done(response) = &mut reply {
            for reviser in self.revisers.iter().rev() {
                reviser.response(req, response);
            }
        }
        reply
    }

    async fn ask(&self, req: &mut Request) -> Reply {
        if req.wants_upgrade() {
            for socklet in &self.socklets {
                if let Reply::Done(response) = socklet.accept(req).await {
                    return Reply::Done(response);
                }
            }
        }
        for handlet in &self.handlets {
            if let Reply::Done(response) = handlet.handle(req).await {
                return Reply::Done(response);
            }
        }
        Reply::Next
    }
}

impl Answer {
    fn give(&self) -> Response {
        match &self.prepared {
            Some(prepared) => Response::whole(self.status, prepared.clone()),
            None => self.status.into(),
        }
    }
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").field("condition", &self.condition).finish_non_exhaustive()
    }
}
