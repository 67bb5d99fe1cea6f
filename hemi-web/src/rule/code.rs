//! Rules in code: what the properties of a config say, and what only code can.

use std::sync::Arc;

use hemi_core::Lifecycle;
use http::StatusCode;

use super::{Answer, Content, Part, Rule};
use crate::reviser::Reviser;
use crate::socklet::Socklet;
use crate::{Handlet, Request};

/// A condition that is a function.
pub(super) type Test = Box<dyn Fn(&Request) -> bool + Send + Sync>;

impl Rule {
    /// A rule for all requests, to be filled by code.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same for requests only that pass this test, and those before it.
    ///
    /// ```
    /// use hemi_web::testing::Client;
    /// use hemi_web::{Rule, Webapp};
    /// use http::StatusCode;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let old = Rule::new().when(|req| req.path().starts_with("/old/")).answer(StatusCode::GONE);
    /// let client = Client::new(Webapp::new("w").rule(old));
    /// assert_eq!(client.get("/old/x").send().await.status(), StatusCode::GONE);
    /// assert_eq!(client.get("/new").send().await.status(), StatusCode::NOT_FOUND);
    /// # }
    /// ```
    #[must_use]
    pub fn when(mut self, test: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        self.tests.push(Box::new(test));
        self
    }

    /// The same with one reviser more.
    #[must_use]
    pub fn reviser<R: Reviser + Lifecycle>(mut self, reviser: R) -> Self {
        let reviser = Arc::new(reviser);
        self.lives.push(reviser.clone());
        self.revisers.push(reviser);
        self.revisers.sort_by_key(|reviser| reviser.rank());
        self
    }

    /// The same with one socklet more.
    #[must_use]
    pub fn socklet<S: Socklet>(mut self, socklet: S) -> Self {
        let socklet = Arc::new(socklet);
        self.lives.push(socklet.clone());
        self.parts.push(Part::Socklet(socklet));
        self
    }

    /// The same with one handlet more.
    #[must_use]
    pub fn handlet<H: Handlet>(mut self, handlet: H) -> Self {
        let handlet = Arc::new(handlet);
        self.lives.push(handlet.clone());
        self.parts.push(Part::Handlet(handlet));
        self
    }

    /// The same with a status that it answers what no handlet of it has answered.
    #[must_use]
    pub fn answer(mut self, status: StatusCode) -> Self {
        self.answer = Some(Answer { status, content: Content::Stock });
        self
    }

    /// The same without lines in the access log.
    #[must_use]
    pub fn unlogged(mut self) -> Self {
        self.unlogged = true;
        self
    }
}
