//! What the proxies to FastCGI, SCGI, uWSGI and AJP have in common: a program is told of a request, and what it
//! answers is the answer, or says what is to be answered instead.

pub(super) mod mounted;
pub(super) mod special;
pub(super) mod variables;

use std::borrow::Cow;
use std::sync::Arc;

use hemi_core::backend::By;
use hemi_core::config::{Diagnostic, Ref, Size, Template};
use hemi_core::listen::Peer;
use hemi_core::{CreateCx, Explain, Result};
use hemi_proto::path::is_dot_segment;
use hemi_web::{Body, Call, DynGateway, GatewayKind, Reply, Request, WebVar};
use http::StatusCode;
use serde::Deserialize;

use crate::failover::{Failover, RetryCause, peer_of};
use crate::site_path::SitePath;
use crate::sticky::{Sticky, StickyConfig};
use crate::uri_template::encode_path;
pub use special::SpecialConfig;

use special::Special;
use variables::{Script, protocol_of, server_port_of, variables};

/// Properties of every proxy to programs.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct GatewayConfig {
    /// The backend.
    to_backend: Ref<GatewayKind>,
    /// Variables for the program, besides those of CGI; attributes of the request where AJP is spoken.
    #[serde(default)]
    params: Vec<(String, Template<WebVar>)>,
    /// What requests that are to go to the same node have in common, if the backend's balancer is `hash`.
    #[serde(default)]
    hash_key: Option<Template<WebVar>>,
    /// Bytes of content that does not say beforehand how long it is, at most, for it is waited for: 413
    /// beyond.
    #[serde(default = "eight_mebibytes")]
    max_buffered: Size,
    /// Nodes that a request is sent to, one after the other, until one answers.
    #[serde(default = "three")]
    max_tries: u8,
}

fn eight_mebibytes() -> Size {
    Size(8 << 20)
}

fn three() -> u8 {
    3
}

/// Where a program stands that answers for all paths beneath.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct MountConfig {
    /// The path under which the program stands, such as `"/shop"`: it is told it as `SCRIPT_NAME`, and the
    /// rest as `PATH_INFO`. Other paths are left to the next handlet. Empty for all paths.
    #[serde(default)]
    mount: Option<SitePath>,
}

/// Where a program stands.
#[derive(Debug)]
pub(super) struct Mount(Option<SitePath>);

impl From<MountConfig> for Mount {
    fn from(config: MountConfig) -> Self {
        Self(config.mount)
    }
}

impl Mount {
    /// The program and what of a path is for it; none if that is not beneath.
    pub(super) fn script_of<'p>(&'p self, path: &'p str) -> Option<Script<'p>> {
        let Some(mount) = &self.0 else {
            return Some(Script { rest: path.into(), ..Script::default() });
        };
        let rest = mount.strip(path)?;
        Some(Script { name: mount.as_str().into(), rest: rest.into(), root: "" })
    }
}

/// Passes requests on to programs.
pub(in crate::handlets) struct Passing {
    backend: Arc<dyn DynGateway>,
    params: Vec<(String, Template<WebVar>)>,
    hash_key: Option<Template<WebVar>>,
    max_buffered: u64,
    max_tries: usize,
    sticky: Option<Sticky>,
    special: Special,
}

impl Passing {
    /// By a backend that speaks this protocol.
    pub(super) fn create(
        (config, special, sticky): (GatewayConfig, SpecialConfig, StickyConfig),
        protocol: &str,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        let backend = cx.follow(&config.to_backend)?;
        if backend.protocol() != protocol {
            let (name, other) = (config.to_backend.name(), backend.protocol());
            let message = format!("\"{name}\" speaks {other}, and this is a proxy to {protocol}");
            return Err(Diagnostic::new(config.to_backend.span(), message).into());
        }
        Ok(Self {
            backend,
            params: config.params,
            hash_key: config.hash_key,
            max_buffered: config.max_buffered.0,
            max_tries: config.max_tries.max(1).into(),
            sticky: Sticky::of(sticky, cx),
            special: Special::create(&special, cx)?,
        })
    }

    /// Answers a request by a script.
    pub(super) async fn pass_on(&self, req: &mut Request, script: &Script<'_>) -> Reply {
        let body = match self.sized(req.take_body()).await {
            Ok(body) => body,
            Err(status) => return status.into(),
        };
        self.pass_with(req, script, body).await
    }

    /// The same with content whose length need not be known.
    pub(super) async fn pass_with(
        &self,
        req: &mut Request,
        script: &Script<'_>,
        body: Body,
    ) -> Reply {
        let params = self.params.iter();
        let params: Vec<(Cow<'_, str>, Cow<'_, [u8]>)> = params
            .map(|(name, value)| (name.as_str().into(), value.render(req).into_owned().into()))
            .collect();
        let mut variables = variables(req, script, body.len());
        for (name, value) in &params {
            variables.retain(|(other, _)| other != name);
            variables.push((name.clone(), value.clone()));
        }
        let Some(path) = path_of(req) else { return StatusCode::BAD_REQUEST.into() };
        let remote_addr = match req.peer() {
            Peer::Tcp(peer) => peer.ip().to_string(),
            Peer::Unix => String::new(),
        };
        let key = self.hash_key.as_ref().map(|key| key.render(req).into_owned());
        let id = req.id().into_owned();
        let nodes = self.backend.nodes();
        let peer = peer_of(req);
        let node = self.sticky.as_ref().and_then(|sticky| sticky.node_of(req, nodes));
        let failover = Failover {
            nodes,
            by: By { client: req.remote_ip(), key: key.as_deref(), node, peer, ..By::default() },
            max_tries: self.max_tries,
            repeatable: req.method().is_idempotent(),
            causes: &RetryCause::FAILURES,
            hedge_after: None,
            request: &id,
            sticky: self.sticky.as_ref().map(|sticky| (sticky, req.scheme())),
        };
        let call = Call {
            method: req.method(),
            protocol: protocol_of(req.version()),
            path: &path,
            query: req.query(),
            headers: req.headers(),
            authority: req.authority().map_or("", |host| host.as_str()),
            server_name: req.hostname(),
            server_port: server_port_of(req),
            remote_addr: &remote_addr,
            user: req.user(),
            tls: req.tls().map(|tls| tls.cipher),
            params: &params,
            variables: &variables,
        };
        let answered =
            failover.run(body, None, |pick, body| self.backend.send(pick, &call, body)).await;
        match answered {
            Ok(response) => self.special.honour(req, response),
            Err(status) => status.into(),
        }
    }

    /// Content whose length is known: programs are told it.
    async fn sized(&self, mut body: Body) -> Result<Body, StatusCode> {
        if body.len().is_some() {
            return Ok(body);
        }
        Ok(body.bytes(self.max_buffered).await.map_err(|e| e.status())?.into())
    }
}

/// The path as the client has sent it; but without `.` and `..`, in which a program might see another path
/// than the rules have seen. None if they are hidden before a semicolon, which servlet containers drop.
fn path_of(req: &Request) -> Option<String> {
    let segments = || req.raw_path().split('/');
    let hidden =
        |segment: &str| segment.split_once(';').is_some_and(|(before, _)| is_dot_segment(before));
    if segments().any(hidden) {
        return None;
    }
    match segments().any(is_dot_segment) {
        false => Some(req.raw_path().to_owned()),
        true => String::from_utf8(encode_path(req.path().as_bytes())).ok(),
    }
}

impl std::fmt::Debug for Passing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passing").finish_non_exhaustive()
    }
}
