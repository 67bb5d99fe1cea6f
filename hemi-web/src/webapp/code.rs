//! Webapps in code: what the properties of a config say, and what only code can.

use std::path::PathBuf;
use std::sync::Arc;

use hemi_core::fcache::{Fcache, FcacheConfig};
use hemi_core::logger::{Log, Logger};
use hemi_core::tracer::Tracer;
use hemi_core::{Lifecycle, Result, Run};

use super::{StatusPattern, Webapp};
use crate::reviser::Reviser;
use crate::vars::WebVar;

impl Webapp {
    /// The same with one reviser more, for the answers of all its rules.
    #[must_use]
    pub fn reviser<R: Reviser + Lifecycle>(mut self, reviser: R) -> Self {
        let reviser = Arc::new(reviser);
        self.lives.push(reviser.clone());
        self.revisers.push(reviser);
        self.revisers.sort_by_key(|reviser| reviser.rank());
        self
    }

    /// The same, whose requests a tracer is told of: part of the stage by [`hemi_core::Parts::tracer`].
    #[must_use]
    pub fn traced_by(mut self, tracer: Arc<dyn Tracer>) -> Self {
        self.tracer = Some(tracer);
        self
    }

    /// The same with a task that works in the background for as long as the webapp is served. It is to
    /// end when [`Run::shut`] fires, which is when the servers have drained.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use hemi_core::Run;
    /// use hemi_web::Webapp;
    ///
    /// async fn clean(run: Run) {
    ///     let mut hours = tokio::time::interval(Duration::from_secs(3600));
    ///     while run.shut().run_until_cancelled(hours.tick()).await.is_some() {
    ///         // …
    ///     }
    /// }
    ///
    /// let webapp = Webapp::new("shop").task(clean);
    /// ```
    #[must_use]
    pub fn task<F, Fut>(mut self, task: F) -> Self
    where
        F: Fn(Run) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send,
    {
        self.lives.push(Arc::new(Task(task)));
        self
    }

    /// The same with another limit on the bytes of a request's content: 413 beyond. 16 MiB if not set.
    #[must_use]
    pub fn max_body_size(mut self, bytes: u64) -> Self {
        self.max_body_size = bytes;
        self
    }

    /// The same with the directory of its files, for [`Webapp::error_page`].
    #[must_use]
    pub fn web_root(mut self, path: impl Into<PathBuf>) -> Self {
        let cores = hemi_core::cores::available().get();
        let fcache = Arc::new(Fcache::new(&FcacheConfig::default(), cores));
        let root = fcache.root(path);
        self.files = Some((fcache, root));
        self
    }

    /// The same with a file below its [`Webapp::web_root`] that is the content of answers with such a
    /// status, instead of a page that only names it.
    #[must_use]
    pub fn error_page(mut self, status: StatusPattern, path: &str) -> Self {
        self.error_pages.push((status, path.to_owned()));
        self.error_pages.sort_by_key(|(status, _)| *status);
        self
    }

    /// The same with a logger that requests are written to: part of the stage by
    /// [`hemi_core::Parts::logger`].
    ///
    /// # Errors
    /// When its format has names that are no variables of requests.
    pub fn use_logger(mut self, logger: Arc<dyn Logger>) -> Result<Self> {
        self.logs.push(Log::bind(logger)?);
        self.timed = self.logs.iter().any(|log| log.uses(|var| *var == WebVar::RequestTime));
        Ok(self)
    }
}

/// A task in the background.
struct Task<F>(F);

impl<F, Fut> Lifecycle for Task<F>
where
    F: Fn(Run) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    async fn run(&self, cx: &Run) {
        (self.0)(cx.clone()).await;
    }
}
