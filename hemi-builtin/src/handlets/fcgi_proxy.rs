//! The handlet `fcgiProxy`: has scripts be run by a FastCGI server, such as PHP-FPM.
//!
//! ```gorox
//! stage {
//! 	fcgiBackend "php" { node { .address = "/run/php/php8.2-fpm.sock" } }
//! 	webapp "blog" {
//! 		.hostnames = ("*")
//! 		.webRoot = %topDir + "/blog"
//! 		rule $path -f && $path !$ ".php" { static {} }
//! 		rule { fcgiProxy { .toBackend = "php"  .script = "/index.php" } }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("blog") }
//! }
//! ```
//!
//! Without `.script`, the path says which script is meant: `/a/b.php/c` is the script `/a/b.php` with the path
//! `/c`, and `/a/` is `/a/index.php`. A script that is no file beneath `.webRoot` is left to the next
//! handlet, so that no upload can be run by a made-up path.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use hemi_core::backend::By;
use hemi_core::config::{Ref, Size, Template};
use hemi_core::fcache::{Content, Fcache, FcacheKind, Root};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_proto::cgi::variable_of;
use hemi_web::{Body, DynGateway, GatewayKind, Handlet, Reply, Request, Response, WebVar};
use http::header::{CONTENT_TYPE, COOKIE, HOST};
use http::{HeaderMap, HeaderName, StatusCode, Version};
use serde::Deserialize;

use crate::failover::{Failover, RetryCause};
use crate::site_path::SitePath;

/// Has scripts be run by a FastCGI server.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct FcgiProxyConfig {
    /// The backend.
    to_backend: Ref<GatewayKind>,
    /// The directory of the scripts, as the FastCGI server finds it, too.
    web_root: PathBuf,
    /// The script for all paths, such as `"/index.php"`; empty: the path says which.
    #[serde(default)]
    script: Option<SitePath>,
    /// The script that stands for its directory.
    #[serde(default = "index_php")]
    index_file: String,
    /// Endings of scripts, at which a path is split into that of the script and the rest.
    #[serde(default = "dot_php")]
    split_path: Vec<String>,
    /// Whether the script has to be a file here: to be turned off if the FastCGI server has its own files.
    #[serde(default = "yes")]
    check_script: bool,
    /// Variables for the script, besides those of CGI.
    #[serde(default)]
    params: Vec<(String, Template<WebVar>)>,
    /// Bytes of content that does not say beforehand how long it is, at most, for it is waited for: 413
    /// beyond.
    #[serde(default = "eight_mebibytes")]
    max_buffered: Size,
    /// Nodes that a request is sent to, one after the other, until one answers.
    #[serde(default = "three")]
    max_tries: u8,
}

fn index_php() -> String {
    "index.php".to_owned()
}

fn dot_php() -> Vec<String> {
    Vec::from([".php".to_owned()])
}

fn yes() -> bool {
    true
}

fn eight_mebibytes() -> Size {
    Size(8 << 20)
}

fn three() -> u8 {
    3
}

/// Has scripts be run by a FastCGI server.
pub struct FcgiProxy {
    backend: Arc<dyn DynGateway>,
    fcache: Arc<Fcache>,
    root: Root,
    /// Its path.
    web_root: String,
    script: Option<SitePath>,
    index_file: String,
    split_path: Vec<String>,
    check_script: bool,
    params: Vec<(String, Template<WebVar>)>,
    max_buffered: u64,
    max_tries: usize,
}

/// A script, and what of the path is for it.
struct Script<'p> {
    name: Cow<'p, str>,
    rest: &'p str,
}

impl Component for FcgiProxy {
    const SIGN: &'static str = "fcgiProxy";
    type Config = FcgiProxyConfig;

    fn create(config: FcgiProxyConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let fcache = cx.fixture::<FcacheKind>()?;
        let web_root = cx.path(config.web_root);
        Ok(Self {
            backend: cx.follow(&config.to_backend)?,
            root: fcache.root(web_root.clone()),
            fcache,
            web_root: web_root.to_string_lossy().trim_end_matches('/').to_owned(),
            script: config.script,
            index_file: config.index_file,
            split_path: config.split_path,
            check_script: config.check_script,
            params: config.params,
            max_buffered: config.max_buffered.0,
            max_tries: config.max_tries.max(1).into(),
        })
    }
}

impl Lifecycle for FcgiProxy {}

impl Handlet for FcgiProxy {
    async fn handle(&self, req: &mut Request) -> Reply {
        let script = self.script_of(req.path());
        if self.check_script && !self.is_file(&script.name) {
            return Reply::Next;
        }
        let (name, rest) = (script.name.into_owned(), script.rest.to_owned());
        let body = match self.sized(req.take_body()).await {
            Ok(body) => body,
            Err(status) => return status.into(),
        };
        let answered = self.pass_on(req, &name, &rest, body).await;
        answered.unwrap_or_else(Response::from).into()
    }
}

impl FcgiProxy {
    fn script_of<'p>(&self, path: &'p str) -> Script<'p> {
        if let Some(script) = &self.script {
            return Script { name: script.as_str().to_owned().into(), rest: path };
        }
        let ends = self.split_path.iter().filter_map(|ending| end_of(path, ending));
        if let Some((name, rest)) = ends.min().map(|end| path.split_at(end)) {
            return Script { name: name.into(), rest };
        }
        let name = match path.ends_with('/') {
            true => format!("{path}{}", self.index_file).into(),
            false => path.into(),
        };
        Script { name, rest: "" }
    }

    fn is_file(&self, name: &str) -> bool {
        let entry = self.fcache.open(&self.root, name.trim_start_matches('/'));
        entry.is_ok_and(|e| matches!(e.content, Content::Small(_) | Content::Large(_)))
    }

    /// Content whose length is known: scripts are told it.
    async fn sized(&self, mut body: Body) -> Result<Body, StatusCode> {
        if body.len().is_some() {
            return Ok(body);
        }
        Ok(body.bytes(self.max_buffered).await.map_err(|e| e.status())?.into())
    }

    async fn pass_on(
        &self,
        req: &mut Request,
        script: &str,
        rest: &str,
        body: Body,
    ) -> Result<Response, StatusCode> {
        let length = body.len().unwrap_or_default();
        let variables = self.variables(req, script, rest, length);
        let (id, method) = (req.show_id(), req.method().clone());
        let failover = Failover {
            nodes: self.backend.nodes(),
            by: By { client: req.remote_ip(), key: None },
            max_tries: self.max_tries,
            repeatable: method.is_idempotent(),
            causes: &RetryCause::FAILURES,
            request: &id,
        };
        failover
            .run(body, None, |pick, body| self.backend.send(pick, &method, &variables, body))
            .await
    }

    /// What the script is told (RFC 3875, 4.1).
    fn variables(
        &self,
        req: &Request,
        script: &str,
        rest: &str,
        length: u64,
    ) -> Vec<(Cow<'static, str>, Cow<'static, [u8]>)> {
        let mut variables = Vec::with_capacity(32);
        let mut put = |name: &'static str, value: &str| {
            variables.push((Cow::Borrowed(name), Cow::Owned(value.as_bytes().to_vec())));
        };
        put("GATEWAY_INTERFACE", "CGI/1.1");
        put("SERVER_SOFTWARE", "hemi");
        put("SERVER_PROTOCOL", protocol(req.version()));
        put("SERVER_NAME", req.hostname());
        let is_https = req.tls().is_some();
        let default_port = if is_https { 443 } else { 80 };
        let port = req.authority().and_then(|host| host.port()).unwrap_or(default_port);
        put("SERVER_PORT", &port.to_string());
        put("REQUEST_METHOD", req.method().as_str());
        put("REQUEST_SCHEME", req.scheme().as_str());
        put("REQUEST_URI", req.sent_uri());
        put("QUERY_STRING", req.query().unwrap_or_default());
        put("DOCUMENT_URI", req.path());
        put("DOCUMENT_ROOT", &self.web_root);
        put("SCRIPT_NAME", script);
        put("SCRIPT_FILENAME", &format!("{}{script}", self.web_root));
        if !rest.is_empty() {
            put("PATH_INFO", rest);
            put("PATH_TRANSLATED", &format!("{}{rest}", self.web_root));
        }
        // PHP refuses to be run by just anybody without it.
        put("REDIRECT_STATUS", "200");
        if is_https {
            put("HTTPS", "on");
        }
        if let hemi_core::listen::Peer::Tcp(peer) = req.peer() {
            put("REMOTE_ADDR", &peer.ip().to_string());
            put("REMOTE_PORT", &peer.port().to_string());
        }
        if let Some(user) = req.user() {
            put("REMOTE_USER", user);
        }
        if let Some(host) = req.authority() {
            put("HTTP_HOST", host.as_str());
        }
        if length > 0 || req.headers().contains_key(CONTENT_TYPE) {
            put("CONTENT_LENGTH", &length.to_string());
        }
        if let Some(media_type) = req.headers().get(CONTENT_TYPE) {
            variables.push(("CONTENT_TYPE".into(), media_type.as_bytes().to_vec().into()));
        }
        for name in req.headers().keys().filter(|name| **name != HOST) {
            if let Some(variable) = variable_of(name) {
                variables.push((variable.into(), joined(req.headers(), name).into()));
            }
        }
        for (name, value) in &self.params {
            let value = value.render(req).into_owned().into();
            variables.retain(|(other, _)| other != name);
            variables.push((name.clone().into(), value));
        }
        variables
    }
}

/// Where the first segment of a path ends that has this ending.
fn end_of(path: &str, ending: &str) -> Option<usize> {
    let ends = path.match_indices(ending).map(|(at, found)| at + found.len());
    let mut ends = ends.filter(|end| matches!(path.as_bytes().get(*end), None | Some(b'/')));
    ends.next().filter(|_| !ending.is_empty())
}

/// All lines of a field as one value.
fn joined(fields: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    let separator: &[u8] = if *name == COOKIE { b"; " } else { b", " };
    let lines: Vec<_> = fields.get_all(name).iter().map(|line| line.as_bytes()).collect();
    lines.join(separator)
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

impl std::fmt::Debug for FcgiProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FcgiProxy").field("web_root", &self.web_root).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_after_the_first_script() {
        for (path, end) in [
            ("/a.php", Some(6)),
            ("/a.php/b", Some(6)),
            ("/a.php/b.php", Some(6)),
            ("/a.phps", None),
            ("/a.phps/b.php", Some(13)),
            ("/a", None),
            ("/.php", Some(5)),
        ] {
            assert_eq!(end_of(path, ".php"), end, "{path}");
        }
        assert_eq!(end_of("/a", ""), None);
    }
}
