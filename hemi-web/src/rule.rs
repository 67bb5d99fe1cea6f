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

mod code;

use std::borrow::Cow;
use std::sync::Arc;

use hemi_core::config::{Condition, ConfigType, KindName, Template};
use hemi_core::{Component, CreateCx, DynLifecycle, Explain, Kind, Lifecycle, Place, Rank, Result};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use self::code::Test;
use crate::handlet::{DynHandlet, HandletKind};
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
    /// Answer with this status, 200 to 599, what no handlet of the rule has answered.
    pub return_code: Option<ReturnCode>,
    /// The content of that answer, as plain text; empty: a page that names the status.
    pub return_text: Template<WebVar>,
    /// Whether requests that match are written to the access log.
    pub log_access: bool,
}

impl Default for RuleConfig {
    fn default() -> Self {
        Self { return_code: None, return_text: Template::default(), log_access: true }
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
    /// The name that the config gives it.
    name: Option<String>,
    condition: Option<Condition<WebVar>>,
    tests: Vec<Test>,
    answer: Option<Answer>,
    parts: Vec<Part>,
    revisers: Vec<Arc<dyn Reviser>>,
    unlogged: bool,
    /// The lives of components that code has put in.
    pub(crate) lives: Vec<Arc<dyn DynLifecycle>>,
}

/// What may answer a request.
enum Part {
    Handlet(Arc<dyn DynHandlet>),
    Socklet(Arc<dyn DynSocklet>),
}

/// What a rule answers by itself.
struct Answer {
    status: StatusCode,
    content: Content,
}

enum Content {
    /// The page that names the status.
    Stock,
    Prepared(Arc<Prepared>),
    /// With variables.
    Template(Template<WebVar>),
}

/// What a rule has to say to a request.
pub(crate) enum Asked {
    Done(Response),
    Next,
    Again,
    /// The part of this index has to wait: see [`Rule::go_on`].
    Waits(usize),
}

impl Component for Rule {
    const SIGN: &'static str = "rule";
    type Config = RuleConfig;

    fn create(config: RuleConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let handlets = cx.placed_children::<HandletKind>().into_iter();
        let socklets = cx.placed_children::<SockletKind>().into_iter();
        let handlets = handlets.map(|(place, handlet)| (place, Part::Handlet(handlet)));
        let socklets = socklets.map(|(place, socklet)| (place, Part::Socklet(socklet)));
        let mut parts: Vec<_> = handlets.chain(socklets).collect();
        parts.sort_by_key(|(place, _)| *place);
        let mut revisers = cx.children::<ReviserKind>();
        revisers.sort_by_key(|reviser| reviser.rank());
        Ok(Self {
            name: cx.given_name().map(str::to_owned),
            condition: cx.condition()?,
            tests: Vec::new(),
            answer: answer(config.return_code, config.return_text),
            parts: parts.into_iter().map(|(_, part)| part).collect(),
            revisers,
            unlogged: !config.log_access,
            lives: Vec::new(),
        })
    }
}

fn answer(code: Option<ReturnCode>, text: Template<WebVar>) -> Option<Answer> {
    let content = match text.literal() {
        Some("") => Content::Stock,
        Some(text) => {
            let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
            let fields = HeaderMap::from_iter([(CONTENT_TYPE, media_type)]);
            Content::Prepared(Arc::new(Prepared::with_content(fields, text.to_owned().into())))
        }
        None => Content::Template(text),
    };
    Some(Answer { status: code?.0, content })
}

impl Lifecycle for Rule {}

impl Rule {
    /// Whether the rule is for this request.
    pub(crate) fn matches(&self, seen: &Seen<'_>) -> bool {
        self.condition.as_ref().is_none_or(|condition| condition.matches(seen))
            && self.tests.iter().all(|test| test(seen.req))
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether its condition looks for files.
    pub(crate) fn tests_files(&self) -> bool {
        self.condition.as_ref().is_some_and(Condition::tests_files)
    }

    pub(crate) fn is_logged(&self) -> bool {
        !self.unlogged
    }

    /// What the rule answers whatever is asked, if it is prepared and nobody changes it.
    pub(crate) fn whole(&self) -> Option<&Arc<Prepared>> {
        let answer = self.answer.as_ref().filter(|answer| answer.status == StatusCode::OK)?;
        match &answer.content {
            Content::Prepared(prepared) if self.parts.is_empty() && self.revisers.is_empty() => {
                Some(prepared)
            }
            _ => None,
        }
    }

    /// Asks the components of the rule, for as long as none has to wait.
    pub(crate) fn begin(&self, req: &mut Request) -> Asked {
        for reviser in &self.revisers {
            reviser.request(req);
        }
        for (index, part) in self.parts.iter().enumerate() {
            match part.answer_now(req) {
                Some(Reply::Next) => {}
                Some(Reply::Done(response)) => return self.done(req, response),
                Some(Reply::Again) => return Asked::Again,
                None => return Asked::Waits(index),
            }
        }
        self.end(req)
    }

    /// Asks those from the one on that has to wait.
    pub(crate) async fn go_on(&self, req: &mut Request, from: usize) -> Asked {
        for (index, part) in self.parts.iter().enumerate().skip(from) {
            // The first of them has said already that it has to wait.
            let now = if index == from { None } else { part.answer_now(req) };
            let reply = match now {
                Some(reply) => reply,
                None => part.answer(req).await,
            };
            match reply {
                Reply::Done(response) => return self.done(req, response),
                Reply::Again => return Asked::Again,
                Reply::Next => {}
            }
        }
        self.end(req)
    }

    fn end(&self, req: &Request) -> Asked {
        match &self.answer {
            Some(answer) => self.done(req, answer.give(req)),
            None => Asked::Next,
        }
    }

    fn done(&self, req: &Request, mut response: Response) -> Asked {
        for reviser in &self.revisers {
            reviser.response(req, &mut response);
        }
        Asked::Done(response)
    }
}

impl Part {
    /// Answers at once; none if it has to wait.
    fn answer_now(&self, req: &mut Request) -> Option<Reply> {
        match self {
            Self::Handlet(handlet) => handlet.handle_now(req),
            Self::Socklet(_) => (!req.wants_upgrade()).then_some(Reply::Next),
        }
    }

    async fn answer(&self, req: &mut Request) -> Reply {
        match self {
            Self::Handlet(handlet) => handlet.handle(req).await,
            Self::Socklet(socklet) => socklet.accept(req).await,
        }
    }
}

impl Answer {
    fn give(&self, req: &Request) -> Response {
        match &self.content {
            Content::Stock => self.status.into(),
            Content::Prepared(prepared) => Response::whole(self.status, prepared.clone()),
            Content::Template(text) => {
                Response::text(text.render(req).into_owned()).with_status(self.status)
            }
        }
    }
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").field("condition", &self.condition).finish_non_exhaustive()
    }
}
