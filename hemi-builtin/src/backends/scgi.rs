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

use std::sync::Arc;

use bytes::BytesMut;
use hemi_core::backend::{BackendConfig, Nodes, Pick};
use hemi_core::io::Outbox;
use hemi_core::metrics::Measures;
use hemi_core::{Component, CreateCx, Lifecycle, Prepare, Result, Run};
use hemi_proto::scgi::encode_head;
use hemi_web::{Body, Call, Gateway, Response, Undelivered};

use super::cgi::Unframed;
use super::conns::{Conns, ConnsConfig};
use super::exchange::{Exchange, Shared, TimesConfig};

/// Servers that speak SCGI.
#[derive(Debug)]
pub struct ScgiBackend {
    nodes: Nodes,
    shared: Arc<Shared>,
}

impl Component for ScgiBackend {
    const SIGN: &'static str = "scgiBackend";
    type Config = (BackendConfig, ConnsConfig, TimesConfig);

    fn create((backend, conns, times): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let shared = Arc::new(Shared { conns: Conns::new(conns, cx.cores()), times });
        Ok(Self { nodes: Nodes::of(backend, cx)?, shared })
    }
}

impl Lifecycle for ScgiBackend {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.nodes.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        self.nodes.run(cx).await;
    }

    fn measure(&self, out: &mut Measures) {
        self.nodes.measure(out);
    }
}

impl Gateway for ScgiBackend {
    fn nodes(&self) -> &Nodes {
        &self.nodes
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
            Exchange::new(self.shared.clone(), conn, pick, Unframed::of(call.method), out, body)
        };
        self.shared.send(pick, body, None, begin).await
    }
}
