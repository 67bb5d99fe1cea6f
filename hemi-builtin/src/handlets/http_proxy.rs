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

mod forwarded;

use std::sync::Arc;

use bytes::Bytes;
use hemi_core::backend::{By, Pick};
use hemi_core::config::{Ref, Template};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_proto::path::is_dot_segment;
use hemi_web::{
    Body, DynHttpBackend, Handlet, HttpBackendKind, Outgoing, Reply, Request, Response, WebVar,
};
use http::StatusCode;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE, VIA};
use serde::Deserialize;

use crate::clients::Clients;
use crate::failover::Failover;
use crate::field_edits::{FieldEdits, FieldName, FieldValue};
use crate::uri_template::encode_path;

/// Passes requests on to a backend.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct HttpProxyConfig {
    /// The backend.
    to_backend: Ref<HttpBackendKind>,
    /// The host that is asked for there.
    #[serde(default)]
    host: HostPolicy,
    /// Nodes that a request is sent to, one after the other, until one answers.
    #[serde(default = "three")]
    max_tries: u8,
    /// What requests that are to go to the same node have in common, if the backend's balancer is `hash`.
    #[serde(default)]
    hash_key: Option<Template<WebVar>>,
    /// Proxies in front of this server whose fields about the client are believed, and added to; of all
    /// others they are replaced.
    #[serde(default)]
    trusted_proxies: Vec<Clients>,
    /// Fields that the backend is not sent.
    #[serde(default)]
    remove_request_headers: Vec<FieldName>,
    /// Fields that the backend is sent instead of what the client has sent.
    #[serde(default)]
    set_request_headers: Vec<(FieldName, FieldValue)>,
    /// Fields that the backend is sent besides.
    #[serde(default)]
    add_request_headers: Vec<(FieldName, FieldValue)>,
    /// Fields of an answer that the client is not sent.
    #[serde(default)]
    remove_response_headers: Vec<FieldName>,
    /// Fields that the client is sent instead of what the backend has sent.
    #[serde(default)]
    set_response_headers: Vec<(FieldName, FieldValue)>,
    /// Fields that the client is sent besides.
    #[serde(default)]
    add_response_headers: Vec<(FieldName, FieldValue)>,
}

fn three() -> u8 {
    3
}

/// Which host a node is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
enum HostPolicy {
    /// The one that the client asks for.
    #[default]
    Client,
    /// Its own address, as the config has it.
    Node,
}

/// Passes requests on to a backend.
pub struct HttpProxy {
    backend: Arc<dyn DynHttpBackend>,
    host: HostPolicy,
    max_tries: usize,
    hash_key: Option<Template<WebVar>>,
    trusted: Vec<Clients>,
    request: FieldEdits,
    response: Arc<FieldEdits>,
}

impl Component for HttpProxy {
    const SIGN: &'static str = "httpProxy";
    type Config = HttpProxyConfig;

    fn create(config: HttpProxyConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let HttpProxyConfig { remove_request_headers, set_request_headers, .. } = config;
        let HttpProxyConfig { remove_response_headers, set_response_headers, .. } = config;
        let (add_request, add_response) = (config.add_request_headers, config.add_response_headers);
        Ok(Self {
            backend: cx.follow(&config.to_backend)?,
            host: config.host,
            max_tries: config.max_tries.max(1).into(),
            hash_key: config.hash_key,
            trusted: config.trusted_proxies,
            request: FieldEdits::new(remove_request_headers, set_request_headers, add_request),
            response: Arc::new(FieldEdits::new(
                remove_response_headers,
                set_response_headers,
                add_response,
            )),
        })
    }
}

impl Lifecycle for HttpProxy {}

impl Handlet for HttpProxy {
    async fn handle(&self, req: &mut Request) -> Reply {
        let body = req.take_body();
        let answered = self.pass_on(req, body).await;
        answered.unwrap_or_else(Response::from).into()
    }
}

impl HttpProxy {
    /// Sends a request to one node after the other; the status if none answers.
    async fn pass_on(&self, req: &mut Request, body: Body) -> Result<Response, StatusCode> {
        let nominated = Nominated::of(req.headers());
        let trusts = self.trusts(req);
        let drops = |name: &HeaderName| {
            nominated.hold(name) || forwarded::replaces(name, trusts) || self.request.replaces(name)
        };
        let mut added = forwarded::fields(req, trusts);
        added.extend(self.request.render_list(req));
        let key = self.hash_key.as_ref().map(|key| key.render(req).into_owned());
        let host = req.authority().map(|host| host.as_str().as_bytes());
        let host = host.and_then(|host| HeaderValue::from_bytes(host).ok());
        let (target, id) = (target(req), req.id().into_owned());
        let upgrade = req.headers().get(UPGRADE).filter(|_| req.wants_upgrade());
        let failover = Failover {
            nodes: self.backend.nodes(),
            by: By { client: req.remote_ip(), key: key.as_deref() },
            max_tries: self.max_tries,
            repeatable: req.method().is_idempotent(),
            request: &id,
        };
        let (method, headers) = (req.method(), req.headers());
        let send = |pick: Pick, body| {
            let authority = match (self.host, &host) {
                (HostPolicy::Client, Some(host)) => host.clone(),
                _ => pick.endpoint().authority(),
            };
            let (drops, added, target) = (&drops, &added[..], &target[..]);
            let outgoing =
                Outgoing { method, target, authority, headers, drops, added, upgrade, body };
            self.backend.send(pick, outgoing)
        };
        let response = failover.run(body, send).await?;
        Ok(self.revise(req, response))
    }

    /// Whether what the client says about others is believed.
    fn trusts(&self, req: &Request) -> bool {
        self.trusted.iter().any(|clients| clients.hold(req.remote_ip()))
    }

    /// Makes an answer of the backend one of ours.
    fn revise(&self, req: &Request, mut response: Response) -> Response {
        let nominated = Nominated::of(response.headers());
        let upgrades = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let fields = response.headers_mut();
        for name in nominated.0 {
            if name != UPGRADE {
                fields.remove(name);
            }
        }
        for name in ["proxy-connection", "keep-alive", "te", "trailer"] {
            fields.remove(name);
        }
        if !upgrades {
            fields.remove(UPGRADE);
        }
        if !self.response.is_empty() {
            self.response.render(req).apply(fields);
        }
        response
    }
}

/// Path and query as the client has sent them; but without `.` and `..`, in which a node might see another
/// path than the rules have seen.
fn target(req: &Request) -> Bytes {
    if !req.raw_path().split('/').any(is_dot_segment) {
        return Bytes::copy_from_slice(req.path_and_query().as_bytes());
    }
    let mut target = encode_path(req.path().as_bytes());
    if let Some(query) = req.query() {
        target.push(b'?');
        target.extend_from_slice(query.as_bytes());
    }
    target.into()
}

/// Fields that a message says are about its connection (RFC 9110, 7.6.1).
struct Nominated(Vec<HeaderName>);

impl Nominated {
    fn of(fields: &HeaderMap) -> Self {
        let lines = fields.get_all(CONNECTION).iter();
        let options = lines.flat_map(|line| line.as_bytes().split(|&b| b == b','));
        let names = options.filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok());
        // What the request itself depends on can't be taken from it.
        Self(names.filter(|name| !is_essential(name)).collect())
    }

    fn hold(&self, name: &HeaderName) -> bool {
        self.0.contains(name)
    }
}

fn is_essential(name: &HeaderName) -> bool {
    use http::header::{
        AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, TRANSFER_ENCODING,
    };
    [AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, TRANSFER_ENCODING, VIA]
        .contains(name)
        || name.as_str().starts_with("x-forwarded-")
        || matches!(name.as_str(), "close" | "keep-alive" | "forwarded" | "x-real-ip")
}

impl std::fmt::Debug for HttpProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpProxy").field("host", &self.host).finish_non_exhaustive()
    }
}
