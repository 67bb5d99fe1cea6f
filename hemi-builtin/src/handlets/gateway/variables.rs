//! The variables of CGI: what a program is told of a request (RFC 3875, 4.1).

use std::borrow::Cow;

use hemi_core::listen::Peer;
use hemi_proto::cgi::variable_of;
use hemi_web::Request;
use http::header::{CONTENT_TYPE, COOKIE, HOST};
use http::{HeaderMap, HeaderName, Version};

/// Names and values, each name once.
pub(in crate::handlets) type Variables = Vec<(Cow<'static, str>, Cow<'static, [u8]>)>;

/// What a path leads to.
#[derive(Debug, Default)]
pub(in crate::handlets) struct Script<'p> {
    /// The part of the path that names it.
    pub(in crate::handlets) name: Cow<'p, str>,
    /// The rest, which is for it.
    pub(in crate::handlets) rest: Cow<'p, str>,
    /// Where the site's files are, and its own with them; empty if it is no file.
    pub(in crate::handlets) root: &'p str,
}

impl Script<'_> {
    pub(in crate::handlets) fn into_owned(self) -> Script<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Script { name: owned(self.name), rest: owned(self.rest), root: "" }
    }
}

/// What a script is told of a request with content of this length.
pub(in crate::handlets) fn variables(
    req: &Request,
    script: &Script<'_>,
    length: Option<u64>,
) -> Variables {
    let mut variables = Vec::with_capacity(32);
    let mut put = |name: &'static str, value: &str| {
        variables.push((Cow::Borrowed(name), Cow::Owned(value.as_bytes().to_vec())));
    };
    put("GATEWAY_INTERFACE", "CGI/1.1");
    put("SERVER_SOFTWARE", "hemi");
    put("SERVER_PROTOCOL", protocol_of(req.version()));
    put("SERVER_NAME", req.hostname());
    put("SERVER_PORT", &server_port_of(req).to_string());
    put("REQUEST_METHOD", req.method().as_str());
    put("REQUEST_SCHEME", req.scheme().as_str());
    put("REQUEST_URI", req.sent_uri());
    put("QUERY_STRING", req.query().unwrap_or_default());
    put("DOCUMENT_URI", req.path());
    put("SCRIPT_NAME", &script.name);
    if !script.root.is_empty() {
        put("DOCUMENT_ROOT", script.root);
        put("SCRIPT_FILENAME", &format!("{}{}", script.root, script.name));
        // PHP refuses to be run by just anybody without it.
        put("REDIRECT_STATUS", "200");
    }
    if !script.rest.is_empty() {
        put("PATH_INFO", &script.rest);
        if !script.root.is_empty() {
            put("PATH_TRANSLATED", &format!("{}{}", script.root, script.rest));
        }
    }
    if req.tls().is_some() {
        put("HTTPS", "on");
    }
    if let Peer::Tcp(peer) = req.peer() {
        put("REMOTE_ADDR", &peer.ip().to_string());
        put("REMOTE_PORT", &peer.port().to_string());
    }
    if let Some(user) = req.user() {
        put("REMOTE_USER", user);
    }
    if let Some(host) = req.authority() {
        put("HTTP_HOST", host.as_str());
    }
    if let Some(length) = length.filter(|n| *n > 0 || req.headers().contains_key(CONTENT_TYPE)) {
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
    variables
}

/// All lines of a field as one value.
fn joined(fields: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    let separator: &[u8] = if *name == COOKIE { b"; " } else { b", " };
    let lines: Vec<_> = fields.get_all(name).iter().map(|line| line.as_bytes()).collect();
    lines.join(separator)
}

/// The port asked for.
pub(in crate::handlets) fn server_port_of(req: &Request) -> u16 {
    let default = if req.tls().is_some() { 443 } else { 80 };
    req.authority().and_then(|host| host.port()).unwrap_or(default)
}

/// The version of HTTP.
pub(in crate::handlets) fn protocol_of(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}
