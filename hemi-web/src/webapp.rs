//! A webapp: the hosts it answers for, and the rules by which it does.
//!
//! ```gorox
//! stage {
//! 	webapp "shop" {
//! 		.hostnames = ("shop.test", "*.shop.test")
//! 		.webRoot = %topDir + "/shop"
//! 		.errorPages = ["404": "/errors/404.html", "5xx": "/errors/sorry.html"]
//! 		rule $path ^= "/old/" { .returnCode = 410 }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("shop") }
//! }
//! ```

mod code;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use hemi_core::config::{ConfigType, Diagnostic, KindName, Ref, Several, Size};
use hemi_core::fcache::{Content, Fcache, FcacheKind, Root};
use hemi_core::logger::{Log, LoggerKind};
use hemi_core::metrics::Measures;
use hemi_core::tls::{Site, SiteConfig, SiteFiles};
use hemi_core::tracer::{Tracer, TracerKind};
use hemi_core::{
    Component, CreateCx, DynLifecycle, Explain, Kind, Lifecycle, Parts, Place, Prepare, Rank,
    Result, Run,
};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use tracing::{error, warn};

use crate::hostname::Hostname;
use crate::hstate::Hstate;
use crate::meter::{Kept, Meter};
use crate::reviser::{Reviser, ReviserKind};
use crate::rule::{Asked, Rule, RuleKind};
use crate::session::{SessionConfig, Sessions};
use crate::vars::{Seen, WebVar};
use crate::web_error::Chain;
use crate::{Body, Prepared, Request, Response, trace};

/// The kind of the one component [`Webapp`].
#[derive(Debug)]
pub struct WebappKind;

impl KindName for WebappKind {
    const NAME: &'static str = "webapp";
}

impl Kind for WebappKind {
    type Object = Webapp;
    const RANK: Rank = Rank::WEBAPP;
    const PLACE: Place = Place::Referred;
}

/// A site or application, served by every server that names it.
///
/// Revisers that stand in the webapp itself see every answer, those in a rule only the rule's.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct WebappConfig {
    /// The hosts it answers for: `"shop.test"`, `"*.shop.test"`, `"shop.*"`, or `"*"` for all others.
    pub hostnames: Vec<Hostname>,
    /// The directory of its files, for `-f` and its like in conditions. Components inside inherit it.
    #[serde(default)]
    pub web_root: Option<PathBuf>,
    /// Bytes of a request's content, at most: 413 beyond.
    #[serde(default = "sixteen_mebibytes")]
    pub max_body_size: Size,
    /// The files, as paths below `webRoot`, that are the content of answers with a status from 400 on,
    /// instead of a page that only names it; by status (`"404"`) or class (`"5xx"`).
    #[serde(default)]
    pub error_pages: BTreeMap<StatusPattern, String>,
    /// The logger that requests are written to, or several.
    #[serde(default)]
    pub use_logger: Several<Ref<LoggerKind>>,
    /// The tracer that is told of requests, each as a span of the trace that its field `traceparent` names,
    /// or of a new one.
    #[serde(default)]
    pub use_tracer: Option<Ref<TracerKind>>,
}

/// A status from 400 on, or a class of them: `404`, `5xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub enum StatusPattern {
    /// This one.
    One(u16),
    /// All that begin with this digit.
    Class(u16),
}

/// Text that is neither.
#[derive(Debug, thiserror::Error)]
#[error("write a status like \"404\", or \"4xx\" or \"5xx\" for all of a kind")]
pub struct BadStatusPattern;

impl FromStr for StatusPattern {
    type Err = BadStatusPattern;

    fn from_str(text: &str) -> Result<Self, BadStatusPattern> {
        match (text, text.parse()) {
            ("4xx", _) => Ok(Self::Class(4)),
            ("5xx", _) => Ok(Self::Class(5)),
            (_, Ok(code @ 400..600)) => Ok(Self::One(code)),
            _ => Err(BadStatusPattern),
        }
    }
}

impl TryFrom<String> for StatusPattern {
    type Error = BadStatusPattern;

    fn try_from(text: String) -> Result<Self, BadStatusPattern> {
        text.parse()
    }
}

impl StatusPattern {
    /// Whether it is this one, or of this class.
    #[must_use]
    pub fn matches(self, status: StatusCode) -> bool {
        match self {
            Self::One(code) => status.as_u16() == code,
            Self::Class(class) => status.as_u16() / 100 == class,
        }
    }
}

impl ConfigType for StatusPattern {
    fn kind() -> Cow<'static, str> {
        "status".into()
    }

    fn show(&self) -> String {
        match self {
            Self::One(code) => format!("\"{code}\""),
            Self::Class(class) => format!("\"{class}xx\""),
        }
    }
}

fn sixteen_mebibytes() -> Size {
    Size(16 << 20)
}

/// A webapp.
pub struct Webapp {
    name: String,
    hostnames: Vec<Hostname>,
    files: Option<(Arc<Fcache>, Root)>,
    max_body_size: u64,
    logs: Vec<Log<WebVar>>,
    tracer: Option<Arc<dyn Tracer>>,
    /// Some log wants to know how long requests take.
    timed: bool,
    /// None unless somebody collects what it counts.
    meter: OnceLock<Meter>,
    kept: Arc<Kept>,
    rules: Vec<Arc<Rule>>,
    revisers: Vec<Arc<dyn Reviser>>,
    /// The lives of what code has put in.
    lives: Vec<Arc<dyn DynLifecycle>>,
    sessions: Option<Sessions>,
    site: Option<(Arc<Site>, Arc<SiteFiles>)>,
    /// Single statuses before classes.
    error_pages: Vec<(StatusPattern, String)>,
}

impl Component for Webapp {
    const SIGN: &'static str = "webapp";
    type Config = (WebappConfig, SessionConfig, SiteConfig);

    fn create((config, sessions, site): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let fcache = cx.fixture::<FcacheKind>()?;
        let files = config.web_root.map(|path| {
            let root = fcache.root(cx.path(path));
            (fcache, root)
        });
        let rules = cx.children::<RuleKind>();
        if files.is_none() && rules.iter().any(|rule| rule.tests_files()) {
            let message = "a rule of this webapp tests files, but there is no `.webRoot`";
            return Err(Diagnostic::new(cx.span(), message).help("add `.webRoot = …`").into());
        }
        if files.is_none() && !config.error_pages.is_empty() {
            let message = "`.errorPages` are files, but there is no `.webRoot`";
            return Err(Diagnostic::new(cx.span(), message).help("add `.webRoot = …`").into());
        }
        let mut revisers = cx.children::<ReviserKind>();
        revisers.sort_by_key(|reviser| reviser.rank());
        let logs = Log::<WebVar>::bind_all(cx.follow_all(&config.use_logger.0)?)?;
        let tracer = config.use_tracer.as_ref().map(|tracer| cx.follow(tracer)).transpose()?;
        let hosts = config.hostnames.iter().map(ToString::to_string).collect();
        let site = site.create(hosts, cx)?;
        Ok(Self {
            name: cx.name().to_owned(),
            hostnames: config.hostnames,
            site,
            files,
            max_body_size: config.max_body_size.0,
            timed: logs.iter().any(|log| log.uses(|var| *var == WebVar::RequestTime)),
            logs,
            tracer,
            meter: OnceLock::new(),
            kept: cx.keep(Kept::default),
            rules,
            revisers,
            lives: Vec::new(),
            sessions: Sessions::of(sessions, cx)?,
            error_pages: config.error_pages.into_iter().collect(),
        })
    }
}

impl Lifecycle for Webapp {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        if cx.is_metered() {
            let names = self.rules.iter().map(|rule| rule.name());
            let _ = self.meter.set(Meter::new(names, &self.kept, cx.cores()));
        }
        if let Some((site, files)) = &self.site {
            files.read_into(site)?;
        }
        if let Some((_, root)) = &self.files
            && !root.path().is_dir()
        {
            let path = root.path().display();
            warn!(webapp = self.name, "`.webRoot` is {path}, and there is no such directory");
        }
        Ok(())
    }

    async fn run(&self, cx: &Run) {
        if let Some(meter) = self.meter.get() {
            meter.forget_others(&self.kept);
        }
        if let Some((site, files)) = &self.site {
            tokio::select! {
                () = cx.shut().cancelled() => {}
                () = files.follow(site) => {}
            }
        }
    }

    fn measure(&self, out: &mut Measures) {
        if let Some(meter) = self.meter.get() {
            meter.measure(out);
        }
        if let Some((site, _)) = &self.site {
            site.measure(out);
        }
    }
}

impl Webapp {
    /// A webapp for all hosts, to be filled by code.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            hostnames: Vec::from([Hostname::ANY]),
            files: None,
            max_body_size: sixteen_mebibytes().0,
            logs: Vec::new(),
            tracer: None,
            timed: false,
            meter: OnceLock::new(),
            kept: Arc::default(),
            rules: Vec::new(),
            revisers: Vec::new(),
            lives: Vec::new(),
            sessions: None,
            site: None,
            error_pages: Vec::new(),
        }
    }

    /// The same for these hosts only.
    #[must_use]
    pub fn hostnames(mut self, hostnames: impl IntoIterator<Item = Hostname>) -> Self {
        self.hostnames = hostnames.into_iter().collect();
        self
    }

    /// The same with one rule more.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(Arc::new(rule));
        self
    }

    /// The same with sessions, kept in `store`: part of the stage by [`Parts::add`], if it has a life to lead.
    #[must_use]
    pub fn sessions_in<H: Hstate>(mut self, store: Arc<H>) -> Self {
        self.sessions = Some(Sessions::in_store(store));
        self
    }

    /// The same with a certificate, for servers that speak TLS.
    #[must_use]
    pub fn tls(mut self, files: SiteFiles) -> Self {
        self.site = Some((Arc::new(Site::new(&*self.name)), Arc::new(files)));
        self
    }

    /// The same with the certificates of the component that it is part of.
    ///
    /// # Errors
    /// When what is said of them contradicts itself.
    pub fn with_site(mut self, config: SiteConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        self.site = config.create(Vec::new(), cx)?;
        Ok(self)
    }

    /// Adds the webapp, and what its rules hold, to a stage that is built in code.
    ///
    /// # Errors
    /// When the stage has a webapp of that name.
    pub fn install(self, parts: &mut Parts) -> Result<Arc<Self>> {
        for rule in &self.rules {
            for life in &rule.lives {
                parts.add_inner::<RuleKind>(&self.name, life.clone());
            }
        }
        for life in &self.lives {
            parts.add_inner::<WebappKind>(&self.name, life.clone());
        }
        let webapp = Arc::new(self);
        parts.add::<WebappKind>(&webapp.name, webapp.clone(), webapp.clone())?;
        Ok(webapp)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn hosts(&self) -> &[Hostname] {
        &self.hostnames
    }

    /// Its certificates, if it has any. They may be changed while it serves.
    #[must_use]
    pub fn site(&self) -> Option<&Arc<Site>> {
        self.site.as_ref().map(|(site, _)| site)
    }

    pub(crate) fn body_limit(&self) -> u64 {
        self.max_body_size
    }

    /// Who hears of requests that are over.
    pub(crate) fn logs(&self) -> &[Log<WebVar>] {
        &self.logs
    }

    /// Begins the span of a request, if there is who wants to hear of it.
    pub(crate) fn trace(&self, req: &mut Request) {
        if let Some(tracer) = &self.tracer {
            trace::begin(tracer, req);
        }
    }

    /// What counts requests that are over, if they are to be counted.
    pub(crate) fn meter(&self) -> Option<&Meter> {
        self.meter.get()
    }

    /// Whether it is to be measured how long requests take.
    pub(crate) fn is_timed(&self) -> bool {
        self.timed || self.meter.get().is_some()
    }

    fn matching(&self, req: &Request, from: usize) -> Option<(usize, &Rule)> {
        let files = self.files.as_ref().map(|(fcache, root)| (&**fcache, root));
        let seen = Seen { req, files };
        let mut rest = self.rules.iter().enumerate().skip(from);
        rest.find(|(_, rule)| rule.matches(&seen)).map(|(index, rule)| (index, &**rule))
    }

    /// Answers a request by the first rule that matches and does, else by 404; for as long as nobody
    /// has to wait.
    pub(crate) fn begin(&self, req: &mut Request) -> Begun {
        self.start(req).into()
    }

    /// The same; lends what is prepared, where nobody else has to do with it.
    pub(crate) fn start(&self, req: &mut Request) -> Start<'_> {
        if let Some(sessions) = &self.sessions {
            req.set_sessions(sessions.clone());
        }
        for reviser in &self.revisers {
            reviser.request(req);
        }
        let first = self.matching(req, 0);
        if let Some((_, rule)) = first
            && let Some(prepared) = rule.whole()
            && self.is_plain()
            && req.is_plain()
        {
            return Start::Whole(prepared);
        }
        Start::Begun(self.begin_at(req, first))
    }

    /// Whether answers go out as they are given, and nobody hears of it.
    fn is_plain(&self) -> bool {
        self.logs.is_empty()
            && self.revisers.is_empty()
            && self.tracer.is_none()
            && self.sessions.is_none()
            && self.meter.get().is_none()
    }

    /// Asks this rule, then those after it that match.
    fn begin_at<'w>(&'w self, req: &mut Request, mut at: Option<(usize, &'w Rule)>) -> Begun {
        while let Some((index, rule)) = at {
            let from = match rule.begin(req) {
                Asked::Done(response) => {
                    return Begun::Done(Answered::by(index, rule, response));
                }
                Asked::Waits(part) => return Begun::Waits(Position { rule: index, part }),
                Asked::Next => index + 1,
                Asked::Again if req.begins_again() => 0,
                Asked::Again => return Begun::Done(Answered::in_circles(req)),
            };
            at = self.matching(req, from);
        }
        Begun::Done(Answered::not_found())
    }

    /// Goes on where somebody has to wait.
    pub(crate) async fn go_on(&self, req: &mut Request, at: Position) -> Answered {
        let mut answered = self.go_on_asking(req, at).await;
        if let Some(session) = req.open_session().cloned() {
            session.close(&mut answered.response).await;
        }
        answered
    }

    async fn go_on_asking(&self, req: &mut Request, mut at: Position) -> Answered {
        loop {
            let Some(rule) = self.rules.get(at.rule) else { return Answered::not_found() };
            let from = match rule.go_on(req, at.part).await {
                Asked::Done(response) => return Answered::by(at.rule, rule, response),
                Asked::Again if req.begins_again() => 0,
                Asked::Again => return Answered::in_circles(req),
                Asked::Next | Asked::Waits(_) => at.rule + 1,
            };
            let next = self.matching(req, from);
            match self.begin_at(req, next) {
                Begun::Done(answered) => return answered,
                Begun::Waits(next) => at = next,
            }
        }
    }

    /// Puts the last hand to an answer, whoever has made it.
    pub(crate) fn finish(&self, req: &mut Request, response: &mut Response) {
        if let Some(cause) = response.take_cause() {
            let (method, target) = (req.method(), req.path_and_query());
            let (status, cause) = (response.status().as_u16(), Chain(&*cause));
            error!(request = %req.id(), "{method} {target} is answered {status}: {cause}");
        }
        if response.is_stock() && !self.error_pages.is_empty() {
            self.put_error_page(response);
        }
        for hook in req.take_hooks() {
            (hook.0)(response);
        }
        if !response.status().is_informational() {
            for reviser in &self.revisers {
                reviser.response(req, response);
            }
        }
    }

    /// Puts the page of the response's status in the place of the stock one, if there is such a file.
    fn put_error_page(&self, response: &mut Response) {
        let status = response.status();
        let page = self.error_pages.iter().find(|(of, _)| of.matches(status));
        let (Some((_, path)), Some((fcache, root))) = (page, &self.files) else { return };
        let Ok(entry) = fcache.open(root, path.trim_start_matches('/')) else { return };
        let body: Body = match &entry.content {
            Content::Small(bytes) => bytes.clone().into(),
            Content::Large(file) => Body::file(file.clone(), 0..entry.len),
            Content::Directory | Content::Special => return,
        };
        let media_type = match path.rsplit_once('.') {
            Some((_, "json")) => "application/json",
            Some((_, "txt")) => "text/plain; charset=utf-8",
            _ => "text/html; charset=utf-8",
        };
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        response.set_body(body);
    }
}

/// How far a request has come that somebody has to wait for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    rule: usize,
    part: usize,
}

/// What a request has come to at once.
pub(crate) enum Begun {
    Done(Answered),
    Waits(Position),
}

/// The same, or an answer that is only lent.
pub(crate) enum Start<'w> {
    /// It is 200, and nobody else has to see it.
    Whole(&'w Arc<Prepared>),
    Begun(Begun),
}

impl From<Start<'_>> for Begun {
    fn from(start: Start<'_>) -> Self {
        match start {
            Start::Whole(prepared) => Self::Done(Answered::whole(prepared)),
            Start::Begun(begun) => begun,
        }
    }
}

/// A response, and whether the access log is to hear of it.
pub(crate) struct Answered {
    pub(crate) response: Response,
    pub(crate) logged: bool,
    /// The index of the rule that it comes from.
    pub(crate) rule: Option<usize>,
}

impl Answered {
    fn by(index: usize, rule: &Rule, response: Response) -> Self {
        Self { response, logged: rule.is_logged(), rule: Some(index) }
    }

    /// As it was lent.
    pub(crate) fn whole(prepared: &Arc<Prepared>) -> Self {
        let response = Response::whole(StatusCode::OK, prepared.clone());
        Self { response, logged: true, rule: None }
    }

    /// Of no rule.
    pub(crate) fn without_rule(status: StatusCode) -> Self {
        Self::by_server(status.into())
    }

    /// Of the server itself.
    pub(crate) fn by_server(response: Response) -> Self {
        Self { response, logged: true, rule: None }
    }

    /// Of a request that rules are asked about again and again.
    fn in_circles(req: &Request) -> Self {
        error!(request = %req.id(), "rules go in circles, now at {}", req.path());
        Self::without_rule(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Of the server itself to `OPTIONS *`, which is about no page of a webapp (RFC 9110, 9.3.7).
    pub(crate) fn options(req: &Request) -> Option<Self> {
        (req.path_bytes() == b"*").then(|| Self::by_server(Response::new(StatusCode::OK)))
    }

    /// Of a request for a host that no webapp has.
    pub(crate) fn without_webapp(req: &Request) -> Self {
        Self::options(req).unwrap_or_else(Self::not_found)
    }

    /// Of a request that nobody answers.
    pub(crate) fn not_found() -> Self {
        Self::without_rule(StatusCode::NOT_FOUND)
    }
}

impl std::fmt::Debug for Webapp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webapp").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hemi_core::listen::Peer;

    use super::*;
    use crate::{Handlet, Reply};

    /// Says at once that nothing is its own.
    struct Declines(Arc<AtomicUsize>);

    impl Lifecycle for Declines {}

    impl Handlet for Declines {
        async fn handle(&self, req: &mut Request) -> Reply {
            self.handle_now(req).unwrap_or(Reply::Next)
        }

        fn handle_now(&self, _: &mut Request) -> Option<Reply> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Some(Reply::Next)
        }
    }

    #[test]
    fn what_nobody_answers_is_found_out_at_once_and_once() {
        let asked = Arc::new(AtomicUsize::new(0));
        let declines = || Declines(asked.clone());
        let webapp = Webapp::new("w")
            .rule(Rule::new().handlet(declines()).handlet(declines()))
            .rule(Rule::new())
            .rule(Rule::new().handlet(declines()));
        let mut req = Request::awaited(Peer::Unix, None);
        let Begun::Done(answered) = webapp.begin(&mut req) else { panic!("nobody has to wait") };
        assert_eq!(answered.response.status(), StatusCode::NOT_FOUND);
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    /// Has to wait, and has rules asked anew.
    struct Restarts(Arc<AtomicUsize>);

    impl Lifecycle for Restarts {}

    impl Handlet for Restarts {
        async fn handle(&self, _: &mut Request) -> Reply {
            self.0.fetch_add(1, Ordering::Relaxed);
            Reply::Again
        }
    }

    #[tokio::test]
    async fn rules_are_asked_anew_ten_times_and_no_more() {
        let asked = Arc::new(AtomicUsize::new(0));
        let webapp = Webapp::new("w").rule(Rule::new().handlet(Restarts(asked.clone())));
        let mut req = Request::awaited(Peer::Unix, None);
        let Begun::Waits(at) = webapp.begin(&mut req) else { panic!("somebody has to wait") };
        let answered = webapp.go_on(&mut req, at).await;
        assert_eq!(answered.response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(asked.load(Ordering::Relaxed), 11);
    }

    /// Has to wait, and leaves the request to the next.
    struct Dawdles;

    impl Lifecycle for Dawdles {}

    impl Handlet for Dawdles {
        async fn handle(&self, _: &mut Request) -> Reply {
            Reply::Next
        }
    }

    #[tokio::test]
    async fn those_after_one_that_has_to_wait_are_asked_whether_they_have_to() {
        let asked = Arc::new(AtomicUsize::new(0));
        let rule = Rule::new().handlet(Dawdles).handlet(Remembers(asked.clone())).handlet(Dawdles);
        let webapp = Webapp::new("w").rule(rule);
        let mut req = Request::awaited(Peer::Unix, None);
        let Begun::Waits(at) = webapp.begin(&mut req) else { panic!("somebody has to wait") };
        let answered = webapp.go_on(&mut req, at).await;
        assert_eq!(answered.response.status(), StatusCode::NOT_FOUND);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    /// Knows the answer already.
    struct Remembers(Arc<AtomicUsize>);

    impl Lifecycle for Remembers {}

    impl Handlet for Remembers {
        async fn handle(&self, _: &mut Request) -> Reply {
            StatusCode::INTERNAL_SERVER_ERROR.into()
        }

        fn handle_now(&self, _: &mut Request) -> Option<Reply> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Some(Reply::Next)
        }
    }
}
