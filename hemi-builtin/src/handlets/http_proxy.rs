//! The handlet `httpProxy`: passes requests on to a backend, and its answers back.
//!
//! ```gorox
//! stage {
//! 	http1Backend "api" { node { .address = "127.0.0.1:7001" } }
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		rule {
//! 			httpProxy {
//! 				.toBackend = "api"
//! 				.setRequestHeaders = ["x-request-id": $requestId]
//! 				.removeResponseHeaders = ("x-powered-by")
//! 			}
//! 		}
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Contents flow both ways as they come, no faster than they are taken. What goes to the backend is written
//! anew from what was understood, never copied: two servers can't understand it in two ways. Fields about
//! the connection, and those that `connection` names, stay behind in both directions (RFC 9110, 7.6.1).
//!
//! A request that no node can have seen goes to another node; one that may have been seen does only if it
//! is idempotent (RFC 9110, 9.2.2) and nothing of an answer has come. The content must not have been begun.

mod answer;
mod host;
mod mirror;
mod shape;
mod upgrades;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hemi_core::backend::{By, Percent, Pick, spread};
use hemi_core::config::{Ref, Size, Template};
use hemi_core::io::pool;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result, Run};
use hemi_web::{
    Body, Buffering, DynHttpBackend, Handlet, HttpBackendKind, Outgoing, Reply, Request, Response,
    StatusPattern, WebVar,
};
use http::header::{ALT_SVC, TE};
use http::{StatusCode, Version};
use serde::Deserialize;

use crate::failover::{Failover, RetryCause, peer_of};
use crate::field_edits::{FieldEdits, FieldName, FieldValue};
use crate::outgoing::{OutgoingConfig, OutgoingFields, target};
use crate::replay::Replay;
use crate::sticky::{Sticky, StickyConfig};
use answer::AnswerEdits;
use host::HostPolicy;
use mirror::{Copied, Mirror};
use shape::Shaped;
use upgrades::Protocol;

/// Passes requests on to a backend.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct HttpProxyConfig {
    /// The backend.
    to_backend: Ref<HttpBackendKind>,
    /// The host that is asked for there: `"client"` for the one that the client asks for (the default), `"node"`
    /// for the node's address as the config has it, and any other text for itself, such as `"app.internal:8080"`
    /// or `$header_x_tenant + ".internal"`. If its variables make it no host, the client is answered 400.
    #[serde(default)]
    host: HostPolicy,
    /// Protocols that a client's connection may go on in, if the node agrees; `("websocket")` by default. Requests
    /// to go on in another one are passed on without that, and answered 501 in HTTP/2 and HTTP/3.
    #[serde(default = "Protocol::usual")]
    upgrades: Vec<Protocol>,
    /// Nodes that a request is sent to, one after the other, until one answers.
    #[serde(default = "three")]
    max_tries: u8,
    /// After what an idempotent request is sent to another node: `"connect"`, `"broken"`, `"timeout"`,
    /// `"malformed"`, and statuses like `"503"` or `"5xx"`; the first four by default. What no node can have
    /// seen always is.
    #[serde(default = "failures")]
    retry_on: Vec<RetryCause>,
    /// After how long without an answer an idempotent request is sent to a second node as well: who answers first
    /// is heard. It counts as sent again, for `maxTries` and the backend's `retryBudget`. Never by default.
    #[serde(default)]
    hedge_after: Option<Duration>,
    /// Bytes of a request's content that are kept for another node, at most; 64K by default. Of a longer one
    /// nothing is sent again once it was begun.
    #[serde(default = "kept")]
    max_replay_size: Size,
    /// Whether a request's content is taken whole before a node is sent any of it, so that no slow client
    /// keeps it busy.
    #[serde(default)]
    buffer_client_content: bool,
    /// Whether an answer's content is taken whole before the client is sent any of it, so that no slow client
    /// keeps the node busy.
    #[serde(default)]
    buffer_server_content: bool,
    /// Bytes of a content that are buffered in memory, at most; 64K by default. A longer one is in a file.
    #[serde(default = "kept")]
    buffer_size: Size,
    /// Bytes of a content that are buffered at all, at most; 1G by default. What is more goes on as it comes.
    #[serde(default = "gigabyte")]
    max_buffered: Size,
    /// The directory of these files, which have no names; `/var/tmp` by default.
    #[serde(default = "var_tmp")]
    buffer_dir: PathBuf,
    /// A backend that is sent a copy of each request. Its answers are dropped. Content that is longer than
    /// `maxReplaySize` is not copied, nor are requests to upgrade.
    #[serde(default)]
    mirror_to: Option<Ref<HttpBackendKind>>,
    /// Percent of the requests that are passed on; the others are left to the next handlet. All by default.
    #[serde(default)]
    share: Option<Percent>,
    /// What requests have in common that are all passed on or all not, such as `$cookie_id`; without it, each
    /// is passed on by chance.
    #[serde(default)]
    share_key: Option<Template<WebVar>>,
    /// What requests that are to go to the same node have in common, if the backend's balancer is `hash`.
    #[serde(default)]
    hash_key: Option<Template<WebVar>>,
    /// Fields of an answer that the client is not sent.
    #[serde(default)]
    remove_response_headers: Vec<FieldName>,
    /// Fields that the client is sent instead of what the backend has sent.
    #[serde(default)]
    set_response_headers: Vec<(FieldName, FieldValue)>,
    /// Fields that the client is sent besides.
    #[serde(default)]
    add_response_headers: Vec<(FieldName, FieldValue)>,
    /// Answers of the backend that are replaced by the webapp's error pages, by status, such as `"5xx"`.
    #[serde(default)]
    intercept: Vec<StatusPattern>,
    /// How `location` and `content-location` begin, and how they are to begin: the longest that fits counts.
    #[serde(default)]
    rewrite_locations: BTreeMap<String, String>,
    /// Domains of cookies, and what they are to be; `""` for the host that the client asks.
    #[serde(default)]
    cookie_domains: BTreeMap<String, String>,
    /// How paths of cookies begin, and how they are to begin.
    #[serde(default)]
    cookie_paths: BTreeMap<String, String>,
    /// Bytes of an answer's content that a client is sent in a second, at most; as many as it takes by default.
    #[serde(default)]
    max_rate: Option<Size>,
}

fn gigabyte() -> Size {
    Size(1 << 30)
}

fn var_tmp() -> PathBuf {
    "/var/tmp".into()
}

fn failures() -> Vec<RetryCause> {
    RetryCause::FAILURES.to_vec()
}

fn kept() -> Size {
    Size(64 << 10)
}

fn three() -> u8 {
    3
}

/// Passes requests on to a backend.
pub struct HttpProxy {
    backend: Arc<dyn DynHttpBackend>,
    host: HostPolicy,
    upgrades: Vec<Protocol>,
    max_tries: usize,
    retry_on: Vec<RetryCause>,
    hedge_after: Option<Duration>,
    max_replay: u64,
    buffers: Buffers,
    mirror: Option<Mirror>,
    share: Option<Share>,
    hash_key: Option<Template<WebVar>>,
    sticky: Option<Sticky>,
    fields: OutgoingFields,
    response: Arc<FieldEdits>,
    answer: AnswerEdits,
    max_rate: Option<u64>,
}

/// Which contents are taken whole, and where they are meanwhile.
struct Buffers {
    client: Option<Buffering>,
    server: Option<Buffering>,
}

/// Which requests are passed on.
struct Share {
    percent: Percent,
    key: Option<Template<WebVar>>,
}

impl Component for HttpProxy {
    const SIGN: &'static str = "httpProxy";
    type Config = (HttpProxyConfig, OutgoingConfig, StickyConfig);

    fn create((config, outgoing, sticky): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let HttpProxyConfig { remove_response_headers, set_response_headers, .. } = config;
        let mirror = config.mirror_to.as_ref().map(|backend| cx.follow(backend)).transpose()?;
        let (client, server) = (config.buffer_client_content, config.buffer_server_content);
        let memory = usize::try_from(config.buffer_size.0).unwrap_or(usize::MAX);
        let buffering = (client || server)
            .then(|| Buffering::new(memory, cx.written(config.buffer_dir), config.max_buffered.0));
        Ok(Self {
            backend: cx.follow(&config.to_backend)?,
            buffers: Buffers {
                client: buffering.clone().filter(|_| client),
                server: buffering.filter(|_| server),
            },
            mirror: mirror.map(Mirror::new),
            host: config.host,
            upgrades: config.upgrades,
            max_tries: config.max_tries.max(1).into(),
            retry_on: config.retry_on,
            hedge_after: config.hedge_after,
            max_replay: config.max_replay_size.0,
            share: config.share.map(|percent| Share { percent, key: config.share_key }),
            hash_key: config.hash_key,
            sticky: Sticky::of(sticky, cx),
            fields: outgoing.into(),
            response: Arc::new(FieldEdits::new(
                remove_response_headers,
                set_response_headers,
                config.add_response_headers,
            )),
            answer: AnswerEdits {
                intercepted: config.intercept,
                locations: config.rewrite_locations,
                cookie_domains: config.cookie_domains,
                cookie_paths: config.cookie_paths,
            },
            max_rate: config.max_rate.map(|rate| rate.0),
        })
    }
}

impl Lifecycle for HttpProxy {
    async fn run(&self, cx: &Run) {
        if let Some(mirror) = &self.mirror {
            cx.shut().cancelled().await;
            mirror.end();
        }
    }
}

impl Handlet for HttpProxy {
    async fn handle(&self, req: &mut Request) -> Reply {
        if self.share.as_ref().is_some_and(|share| !share.has(req)) {
            return Reply::Next;
        }
        let mut body = req.take_body();
        if let Some(buffering) = &self.buffers.client {
            body = match body.gathered(buffering).await {
                Ok(body) => body,
                Err(e) => return e.status().into(),
            };
        }
        let mut answered = self.pass_on(req, body).await;
        if let (Some(buffering), Ok(response)) = (&self.buffers.server, &mut answered) {
            match response.take_body().gathered(buffering).await {
                Ok(body) => response.set_body(body),
                Err(_) => return StatusCode::BAD_GATEWAY.into(),
            }
        }
        answered.unwrap_or_else(Response::from).into()
    }
}

impl HttpProxy {
    /// Sends a request to one node after the other; the status if none answers.
    async fn pass_on(&self, req: &mut Request, mut body: Body) -> Result<Response, StatusCode> {
        let upgrade = Protocol::asked(&self.upgrades, req);
        if upgrade.is_none() && req.wants_upgrade() && req.version() > Version::HTTP_11 {
            // There any 2xx would say that the node has agreed (RFC 9220, 3).
            return Err(StatusCode::NOT_IMPLEMENTED);
        }
        let asked_host = self.host.of(req)?;
        let fields = self.fields.of(req);
        let key = self.hash_key.as_ref().map(|key| key.render(req).into_owned());
        let (nodes, peer) = (self.backend.nodes(), peer_of(req));
        let node = self.sticky.as_ref().and_then(|sticky| sticky.node_of(req, nodes));
        let failover = Failover {
            nodes,
            by: By { client: req.remote_ip(), key: key.as_deref(), node, peer, ..By::default() },
            max_tries: self.max_tries,
            repeatable: req.method().is_idempotent(),
            causes: &self.retry_on,
            // Of a connection that is to go on in another protocol there is one.
            hedge_after: self.hedge_after.filter(|_| upgrade.is_none()),
            request: &req.show_id(),
            sticky: self.sticky.as_ref().map(|sticky| (sticky, req.scheme())),
        };
        let (method, target) = (req.method(), target(req));
        let (secure, hints) = (req.tls().is_some(), req.hints());
        let trailers = req.field_values(&TE).any(takes_trailers);
        let send = |pick: Pick, body| {
            let own = || pick.endpoint().authority().as_bytes().to_vec().into();
            let authority = asked_host.clone().unwrap_or_else(own);
            let outgoing = Outgoing {
                method,
                target: &target,
                authority,
                secure,
                fields: &fields,
                upgrade,
                trailers,
                hints,
            };
            self.backend.send(pick, outgoing, body)
        };
        let again = self.max_tries > 1 && failover.repeatable || self.mirror.is_some();
        let sends_again = again && !body.is_empty();
        let replay = sends_again.then(|| Replay::new(std::mem::take(&mut body), self.max_replay));
        let body = replay.as_ref().and_then(Replay::body).unwrap_or(body);
        let response = failover.run(body, replay.as_ref(), send).await;
        let client_host = || req.authority().map(|host| host.as_str().as_bytes().into());
        let copied = self.mirror.as_ref().filter(|_| upgrade.is_none());
        let copy = replay.as_ref().map_or_else(|| Some(Body::empty()), Replay::whole);
        match copied.zip(copy) {
            Some((mirror, body)) => mirror.send(Copied {
                method: method.clone(),
                target: target.into_owned(),
                authority: asked_host.or_else(client_host).unwrap_or_default().into_owned(),
                secure,
                fields,
                body,
            }),
            None => pool::give(fields.into_buffer()),
        }
        Ok(self.revise(req, response?))
    }

    /// Makes an answer of the backend one of ours.
    fn revise(&self, req: &Request, response: Response) -> Response {
        let mut response = self.answer.apply(response);
        // It names ports of the node, of which clients know nothing.
        response.remove_field(&ALT_SVC);
        if !self.response.is_empty() {
            self.response.render(req).apply(response.headers_mut());
        }
        if let Some(rate) = self.max_rate.filter(|_| response.content_len() != Some(0)) {
            let body = response.take_body();
            response.set_body(Body::stream(Shaped::new(body, rate)));
        }
        response
    }
}

impl Share {
    fn has(&self, req: &Request) -> bool {
        let part = match &self.key {
            Some(key) => spread(&key.render(req)),
            None => spread(req.show_id().to_string().as_bytes()),
        };
        part * 100.0 < f64::from(self.percent.get())
    }
}

/// Whether a value of `te` says that trailers are taken (RFC 9110, 10.1.4).
fn takes_trailers(value: &[u8]) -> bool {
    value.split(|&b| b == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

impl std::fmt::Debug for HttpProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpProxy").field("host", &self.host).finish_non_exhaustive()
    }
}
