//! A webapp: the hosts it answers for, and the rules by which it does.
//!
//! ```gorox
//! stage {
//! 	webapp "shop" {
//! 		.hostnames = ("shop.test", "*.shop.test")
//! 		rule $path ^= "/old/" { .returnCode = 410 }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("shop") }
//! }
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use hemi_core::config::{Diagnostic, KindName, Ref, Size};
use hemi_core::fcache::{Fcache, FcacheKind, Root};
use hemi_core::logger::{Logger, LoggerKind};
use hemi_core::{Component, CreateCx, Explain, Kind, Lifecycle, Parts, Place, Rank, Result};
use http::StatusCode;
use serde::Deserialize;

use crate::hostname::Hostname;
use crate::rule::{Rule, RuleKind};
use crate::vars::Seen;
use crate::{Reply, Request, Response};

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
    /// The logger that requests are written to.
    #[serde(default)]
    pub use_logger: Option<Ref<LoggerKind>>,
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
    logger: Option<Arc<dyn Logger>>,
    rules: Vec<Arc<Rule>>,
}

impl Component for Webapp {
    const SIGN: &'static str = "webapp";
    type Config = WebappConfig;

    fn create(config: WebappConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
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
        let logger = config.use_logger.map(|logger| cx.follow(&logger)).transpose()?;
        Ok(Self {
            name: cx.name().to_owned(),
            hostnames: config.hostnames,
            files,
            max_body_size: config.max_body_size.0,
            logger,
            rules,
        })
    }
}

impl Lifecycle for Webapp {}

impl Webapp {
    /// A webapp for all hosts, to be filled by code.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            hostnames: Vec::from([Hostname::ANY]),
            files: None,
            max_body_size: sixteen_mebibytes().0,
            logger: None,
            rules: Vec::new(),
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

    pub(crate) fn max_body_size(&self) -> u64 {
        self.max_body_size
    }

    pub(crate) fn logger(&self) -> Option<&Arc<dyn Logger>> {
        self.logger.as_ref()
    }

    fn matching(&self, req: &Request, from: usize) -> Option<(usize, &Rule)> {
        let files = self.files.as_ref().map(|(fcache, root)| (&**fcache, root));
        let seen = Seen { req, files };
        let mut rest = self.rules.iter().enumerate().skip(from);
        rest.find(|(_, rule)| rule.matches(&seen)).map(|(index, rule)| (index, &**rule))
    }

    /// The same as [`Webapp::answer`], if nobody who is asked has to wait.
    pub(crate) fn answer_now(&self, req: &mut Request) -> Option<Answered> {
        let mut from = 0;
        while let Some((index, rule)) = self.matching(req, from) {
            if let Reply::Done(response) = rule.answer_now(req)? {
                return Some(Answered { response, logged: rule.is_logged() });
            }
            from = index + 1;
        }
        Some(Answered::not_found())
    }

    /// Answers a request: by the first rule that matches and does, else 404.
    pub(crate) async fn answer(&self, req: &mut Request) -> Answered {
        let mut from = 0;
        while let Some((index, rule)) = self.matching(req, from) {
            if let Reply::Done(response) = rule.answer(req).await {
                return Answered { response, logged: rule.is_logged() };
            }
            from = index + 1;
        }
        Answered::not_found()
    }
}

/// A response, and whether the access log is to hear of it.
pub(crate) struct Answered {
    pub(crate) response: Response,
    pub(crate) logged: bool,
}

impl Answered {
    /// Of a request that nobody answers.
    pub(crate) fn not_found() -> Self {
        Self { response: StatusCode::NOT_FOUND.into(), logged: true }
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
    use crate::{Handlet, Scheme};

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
        let mut req = Request::awaited(Peer::Unix, Scheme::Http);
        let answered = webapp.answer_now(&mut req).unwrap();
        assert_eq!(answered.response.status(), StatusCode::NOT_FOUND);
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }
}
