//! The variables of CGI: what a program is told of a request (RFC 3875, 4.1).

use std::borrow::Cow;

use hemi_core::listen::Peer;
use hemi_proto::cgi::variable_of;
use hemi_web::Request;
use http::header::{CONTENT_TYPE, COOKIE, HOST};
use http::{HeaderMap, HeaderName, Version};

/// Names and values, each name once.
pub(in crate::handlets) type Variables<'r> = Vec<(Cow<'r, str>, Cow<'r, [u8]>)>;

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
pub(in crate::handlets) fn variables<'r>(
    req: &'r Request,
    script: &'r Script<'_>,
    length: Option<u64>,
) -> Variables<'r> {
    let mut variables = Vec::with_capacity(32);
    let mut put = |name: &'static str, value: Cow<'r, str>| {
        let value = match value {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        variables.push((Cow::Borrowed(name), value));
    };
    put("GATEWAY_INTERFACE", "CGI/1.1".into());
    put("SERVER_SOFTWARE", "hemi".into());
    put("SERVER_PROTOCOL", protocol_of(req.version()).into());
    put("SERVER_NAME", req.hostname().into());
    put("SERVER_PORT", server_port_of(req).to_string().into());
    put("REQUEST_METHOD", req.method().as_str().into());
    put("REQUEST_SCHEME", req.scheme().as_str().into());
    put("REQUEST_URI", req.sent_uri().into());
    put("QUERY_STRING", req.query().unwrap_or_default().into());
    put("DOCUMENT_URI", req.path().into());
    put("SCRIPT_NAME", (&*script.name).into());
    if !script.root.is_empty() {
        put("DOCUMENT_ROOT", script.root.into());
        put("SCRIPT_FILENAME", format!("{}{}", script.root, script.name).into());
        // PHP refuses to be run by just anybody without it.
        put("REDIRECT_STATUS", "200".into());
    }
    if !script.rest.is_empty() {
        put("PATH_INFO", (&*script.rest).into());
        if !script.root.is_empty() {
            put("PATH_TRANSLATED", format!("{}{}", script.root, script.rest).into());
        }
    }
    if req.tls().is_some() {
        put("HTTPS", "on".into());
    }
    if let Peer::Tcp(peer) = req.peer() {
        put("REMOTE_ADDR", peer.ip().to_string().into());
        put("REMOTE_PORT", peer.port().to_string().into());
    }
    if let Some(user) = req.user() {
        put("REMOTE_USER", user.into());
    }
    if let Some(host) = req.authority() {
        put("HTTP_HOST", host.as_str().into());
    }
    if let Some(length) = length.filter(|n| *n > 0 || req.headers().contains_key(CONTENT_TYPE)) {
        put("CONTENT_LENGTH", length.to_string().into());
    }
    if let Some(media_type) = req.headers().get(CONTENT_TYPE) {
        variables.push(("CONTENT_TYPE".into(), media_type.as_bytes().into()));
    }
    for name in req.headers().keys().filter(|name| **name != HOST) {
        if let Some(variable) = variable_of(name) {
            variables.push((variable.into(), joined(req.headers(), name)));
        }
    }
    variables
}

/// All lines of a field as one value.
fn joined<'r>(fields: &'r HeaderMap, name: &HeaderName) -> Cow<'r, [u8]> {
    let mut lines = fields.get_all(name).iter().map(|line| line.as_bytes());
    let (first, more) = (lines.next().unwrap_or_default(), lines);
    let separator: &[u8] = if *name == COOKIE { b"; " } else { b", " };
    more.fold(first.into(), |all, line| [&*all, separator, line].concat().into())
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
