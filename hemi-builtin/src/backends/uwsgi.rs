//! The backend `uwsgiBackend`: servers that speak the protocol of uWSGI.
//!
//! ```gorox
//! stage {
//! 	uwsgiBackend "app" { node { .address = "/run/uwsgi/app/app/socket" } }
//! 	webapp "site" { .hostnames = ("*")  rule { uwsgiProxy { .toBackend = "app" } } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! A connection carries one request, as the protocol has it. Answers are those of HTTP/1 most often; those
//! in the form of CGI are understood too.

mod codec;

use bytes::BytesMut;
use hemi_core::backend::{Nodes, Pick};
use hemi_core::io::Outbox;
use hemi_core::metrics::Measures;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Run};
use hemi_proto::uwsgi::{Modifiers, encode_head};
use hemi_web::{Body, Call, Gateway, Response, Undelivered};
use serde::Deserialize;

use super::exchange::Exchange;
use super::group::{Group, GroupConfig};
use codec::Uwsgi;

/// Passes requests on to servers that speak the protocol of uWSGI.
#[derive(Clone, Debug, Default, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct UwsgiConfig {
    /// What is to run the program, as uWSGI numbers its plugins: 0 for Python, 5 for Perl, 7 for Ruby.
    pub modifier1: u8,
    /// What the plugin makes of it.
    pub modifier2: u8,
}

/// Servers that speak the protocol of uWSGI.
#[derive(Debug)]
pub struct UwsgiBackend {
    group: Group,
    modifiers: Modifiers,
}

impl Component for UwsgiBackend {
    const SIGN: &'static str = "uwsgiBackend";
    const ABOUT: Option<&'static str> = Some("Servers that speak the protocol of uWSGI.");
    type Config = (GroupConfig, UwsgiConfig);

    fn create((group, own): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let modifiers = Modifiers(own.modifier1, own.modifier2);
        Ok(Self { group: Group::create(group, None, cx)?, modifiers })
    }
}

impl Lifecycle for UwsgiBackend {
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

impl Gateway for UwsgiBackend {
    fn nodes(&self) -> &Nodes {
        &self.group.nodes
    }

    fn protocol(&self) -> &'static str {
        "uwsgi"
    }

    async fn send(
        &self,
        pick: Pick,
        call: &Call<'_>,
        body: Body,
    ) -> Result<Response, Box<Undelivered>> {
        let variables = call.variables.iter().map(|(name, value)| (name.as_bytes(), &**value));
        let mut head = BytesMut::new();
        if encode_head(&mut head, self.modifiers, variables).is_err() {
            let why = "its variables are larger than a packet of uwsgi";
            return Err(Undelivered::unsendable(pick, why));
        }
        let head = head.freeze();
        let begin = |conn, pick, body| {
            let mut out = Outbox::default();
            out.push(head.clone());
            Exchange::new(self.group.shared.clone(), conn, pick, Uwsgi::of(call.method), out, body)
        };
        self.group.shared.send(pick, body, None, begin).await
    }
}
