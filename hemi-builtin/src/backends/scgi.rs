//! The backend `scgiBackend`: servers that speak SCGI.
//!
//! ```gorox
//! stage {
//! 	scgiBackend "app" { node { .address = "127.0.0.1:4000" } }
//! 	webapp "site" { .hostnames = ("*")  rule { scgiProxy { .toBackend = "app" } } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! A connection carries one request, as the protocol has it.

use bytes::BytesMut;
use hemi_core::backend::{Nodes, Pick};
use hemi_core::io::Outbox;
use hemi_core::metrics::Measures;
use hemi_core::{Component, CreateCx, Lifecycle, Prepare, Result, Run};
use hemi_proto::scgi::encode_head;
use hemi_web::{Body, Call, Gateway, Response, Undelivered};

use super::cgi::Unframed;
use super::exchange::Exchange;
use super::group::{Group, GroupConfig};

/// Servers that speak SCGI.
#[derive(Debug)]
pub struct ScgiBackend {
    group: Group,
}

impl Component for ScgiBackend {
    const SIGN: &'static str = "scgiBackend";
    const ABOUT: Option<&'static str> = Some("Servers that speak SCGI.");
    type Config = GroupConfig;

    fn create(group: GroupConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self { group: Group::create(group, None, cx)? })
    }
}

impl Lifecycle for ScgiBackend {
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

impl Gateway for ScgiBackend {
    fn nodes(&self) -> &Nodes {
        &self.group.nodes
    }

    fn protocol(&self) -> &'static str {
        "SCGI"
    }

    async fn send(
        &self,
        pick: Pick,
        call: &Call<'_>,
        body: Body,
    ) -> Result<Response, Box<Undelivered>> {
        // The content's length has to come first, and does.
        let others = call.variables.iter().filter(|(name, _)| *name != "CONTENT_LENGTH");
        let variables = others.map(|(name, value)| (name.as_bytes(), &**value));
        let mut head = BytesMut::new();
        let Some(len) = body.len() else {
            return Err(Undelivered::unsendable(pick, "content of unknown length"));
        };
        if encode_head(&mut head, len, variables).is_err() {
            return Err(Undelivered::unsendable(pick, "a variable has a NUL"));
        }
        let head = head.freeze();
        let begin = |conn, pick, body| {
            let mut out = Outbox::default();
            out.push(head.clone());
            Exchange::new(
                self.group.shared.clone(),
                conn,
                pick,
                Unframed::of(call.method),
                out,
                body,
            )
        };
        self.group.shared.send(pick, body, None, begin).await
    }
}
