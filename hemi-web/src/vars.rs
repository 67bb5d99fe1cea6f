//! The `$variables` of a request.

use std::borrow::Cow;

use hemi_core::config::{Lookup, PathCheck, Variable};
use hemi_core::fcache::{Content, Fcache, Root};
use hemi_proto::{cookie, query};
use http::HeaderName;

use crate::Request;

/// A variable of a request, for conditions of rules and templates of components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebVar {
    /// `$method`
    Method,
    /// `$scheme`: `http` or `https`
    Scheme,
    /// `$authority`: host and port as asked for
    Authority,
    /// `$hostname`: the host, in lower case
    Hostname,
    /// `$colonport`: the port with its colon, if one was given
    Colonport,
    /// `$path`: decoded
    Path,
    /// `$encodedPath`: as it was sent
    EncodedPath,
    /// `$uri`: path and query as they were sent
    Uri,
    /// `$queryString`: as it was sent, without the `?`
    QueryString,
    /// `$contentType`
    ContentType,
    /// `$remoteAddr`: the client's address
    RemoteAddr,
    /// `$remotePort`: the client's port
    RemotePort,
    /// `$header_NAME`: a field's value; `_` in the name stands for `-`
    Header(HeaderName),
    /// `$cookie_NAME`
    Cookie(String),
    /// `$query_NAME`: decoded
    Query(String),
}

impl Variable for WebVar {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "method" => Self::Method,
            "scheme" => Self::Scheme,
            "authority" => Self::Authority,
            "hostname" => Self::Hostname,
            "colonport" => Self::Colonport,
            "path" => Self::Path,
            "encodedPath" => Self::EncodedPath,
            "uri" => Self::Uri,
            "queryString" => Self::QueryString,
            "contentType" => Self::ContentType,
            "remoteAddr" => Self::RemoteAddr,
            "remotePort" => Self::RemotePort,
            _ => match name.split_once('_')? {
                ("header", field) => {
                    Self::Header(HeaderName::from_bytes(field.replace('_', "-").as_bytes()).ok()?)
                }
                ("cookie", name) if !name.is_empty() => Self::Cookie(name.to_owned()),
                ("query", name) if !name.is_empty() => Self::Query(name.to_owned()),
                _ => return None,
            },
        })
    }

    fn known() -> &'static [&'static str] {
        &[
            "method",
            "scheme",
            "authority",
            "hostname",
            "colonport",
            "path",
            "encodedPath",
            "uri",
            "queryString",
            "contentType",
            "remoteAddr",
            "remotePort",
            "header_*",
            "cookie_*",
            "query_*",
        ]
    }
}

/// A request, and where the files of its webapp are.
pub(crate) struct Seen<'a> {
    pub(crate) req: &'a Request,
    pub(crate) files: Option<(&'a Fcache, &'a Root)>,
}

/// For templates, and for conditions that look for no files.
impl Lookup<WebVar> for Request {
    fn lookup<'a>(&'a self, var: &'a WebVar) -> Cow<'a, [u8]> {
        let req = self;
        let text = match var {
            WebVar::Method => req.method().as_str(),
            WebVar::Scheme => req.scheme().as_str(),
            WebVar::Authority => req.authority().map_or("", |a| a.as_str()),
            WebVar::Hostname => req.hostname(),
            WebVar::Colonport => req.authority().map_or("", |a| a.colonport()),
            WebVar::Path => return req.path_bytes().into(),
            WebVar::EncodedPath => req.raw_path(),
            WebVar::Uri => req.path_and_query(),
            WebVar::QueryString => req.query().unwrap_or_default(),
            WebVar::ContentType => return field(req, &http::header::CONTENT_TYPE),
            WebVar::Header(name) => return field(req, name),
            WebVar::RemoteAddr => {
                return req
                    .remote_ip()
                    .map_or(Cow::default(), |ip| ip.to_string().into_bytes().into());
            }
            WebVar::RemotePort => return remote_port(req),
            WebVar::Cookie(name) => {
                let value = cookie::value(req.headers(), name.as_bytes());
                return value.map_or(Cow::default(), Cow::from);
            }
            WebVar::Query(name) => {
                let query = req.query().unwrap_or_default().as_bytes();
                return query::value(query, name.as_bytes()).unwrap_or_default();
            }
        };
        text.as_bytes().into()
    }
}

impl Lookup<WebVar> for Seen<'_> {
    fn lookup<'a>(&'a self, var: &'a WebVar) -> Cow<'a, [u8]> {
        self.req.lookup(var)
    }

    fn path_is(&self, check: PathCheck) -> bool {
        let Some((fcache, root)) = self.files else { return false };
        let path = self.req.path().trim_matches('/');
        let Ok(entry) = fcache.open(root, path) else { return false };
        let (file, directory) = match entry.content {
            Content::Small(_) | Content::Large(_) => (true, false),
            Content::Directory => (false, true),
            Content::Special => return false,
        };
        match check {
            PathCheck::File => file,
            PathCheck::Dir => directory && !path.is_empty(),
            PathCheck::Exists => !path.is_empty(),
            PathCheck::DirOrRoot => directory,
            PathCheck::ExistsOrRoot => true,
        }
    }
}

fn field<'a>(req: &'a Request, name: &HeaderName) -> Cow<'a, [u8]> {
    req.headers().get(name).map_or(Cow::default(), |value| value.as_bytes().into())
}

fn remote_port(req: &Request) -> Cow<'static, [u8]> {
    match req.peer() {
        hemi_core::listen::Peer::Tcp(address) => address.port().to_string().into_bytes().into(),
        hemi_core::listen::Peer::Unix => Cow::default(),
    }
}
