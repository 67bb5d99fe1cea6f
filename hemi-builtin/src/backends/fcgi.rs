//! The backend `fcgiBackend`: servers that speak FastCGI, such as PHP-FPM.
//!
//! ```gorox
//! stage {
//! 	fcgiBackend "php" { node { .address = "/run/php/php8.2-fpm.sock" } }
//! 	webapp "blog" {
//! 		.hostnames = ("*")
//! 		.webRoot = %topDir + "/blog"
//! 		rule $path $= ".php" { fcgiProxy { .toBackend = "php" } }
//! 		rule { static {} }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("blog") }
//! }
//! ```
//!
//! What a program writes to its error stream goes to the log.

mod codec;

use hemi_core::backend::{Nodes, Pick};
use hemi_core::io::Outbox;
use hemi_core::metrics::Measures;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Run};
use hemi_proto::fcgi::{KeepConn, encode_begin, encode_params};
use hemi_web::{Body, Call, Gateway, Response, Undelivered};
use serde::Deserialize;

use super::exchange::Exchange;
use super::group::{Group, GroupConfig};
use codec::Fcgi;

/// Passes requests on to servers that speak FastCGI.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct FcgiConfig {
    /// Whether connections are kept for further requests, which some applications do not know of.
    pub keep_conn: bool,
}

impl Default for FcgiConfig {
    fn default() -> Self {
        Self { keep_conn: true }
    }
}

/// Servers that speak FastCGI.
#[derive(Debug)]
pub struct FcgiBackend {
    group: Group,
    keep: KeepConn,
}

impl Component for FcgiBackend {
    const SIGN: &'static str = "fcgiBackend";
    const ABOUT: Option<&'static str> = Some("Servers that speak FastCGI, such as PHP-FPM.");
    type Config = (GroupConfig, FcgiConfig);

    fn create((group, own): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let keep = if own.keep_conn { KeepConn::Yes } else { KeepConn::No };
        Ok(Self { group: Group::create(group, None, cx)?, keep })
    }
}

impl Lifecycle for FcgiBackend {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.group.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        self.group.run(cx).await;
    }

    fn measure(&self, out: &mut Measures) {
        self.group.measure(out);
    }
}

impl Gateway for FcgiBackend {
    fn nodes(&self) -> &Nodes {
        &self.group.nodes
    }

    fn protocol(&self) -> &'static str {
        "FastCGI"
    }

    async fn send(
        &self,
        pick: Pick,
        call: &Call<'_>,
        body: Body,
    ) -> Result<Response, Box<Undelivered>> {
        let mut head = Outbox::default();
        encode_begin(head.small(), self.keep);
        let params = call.variables.iter().map(|(name, value)| (name.as_bytes(), &**value));
        if encode_params(head.small(), params).is_err() {
            let why = "a parameter is larger than a record of FastCGI";
            return Err(Undelivered::unsendable(pick, why));
        }
        let head = head.small().split().freeze();
        let begin = |conn, pick: Pick, body| {
            let mut out = Outbox::default();
            out.push(head.clone());
            let codec = Fcgi::new(call.method, self.keep, pick.endpoint().target().to_string());
            Exchange::new(self.group.shared.clone(), conn, pick, codec, out, body)
        };
        self.group.shared.send(pick, body, None, begin).await
    }
}
