//! The handlet `welcome`: the page of a server that was not told yet what to serve.

use hemi_core::{Component, CreateCx, Explain, Lifecycle, Registry, Result};
use hemi_web::{Handlet, HandletRegistry, Reply, Request, Response};
use http::Method;
use serde::Deserialize;

pub(crate) fn register(registry: &mut Registry) {
    registry.handlet::<Welcome>();
}

/// Answers `/` with the welcome page of Gorox.
#[derive(Debug, Deserialize, Explain)]
struct WelcomeConfig {}

struct Welcome;

impl Component for Welcome {
    const SIGN: &'static str = "welcome";
    type Config = WelcomeConfig;

    fn create(_: WelcomeConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self)
    }
}

impl Lifecycle for Welcome {}

impl Handlet for Welcome {
    async fn handle(&self, req: &mut Request) -> Reply {
        let asked = matches!(*req.method(), Method::GET | Method::HEAD);
        if asked && matches!(req.path(), "/" | "/index.html") {
            return Response::html(include_str!("../../conf/welcome/index.html")).into();
        }
        Reply::Next
    }
}
