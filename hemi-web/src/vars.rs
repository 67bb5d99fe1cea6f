//! The `$variables` of a request.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hemi_core::config::{Lookup, PathCheck, Variable};
use hemi_core::fcache::{Content, Fcache, Root};
use hemi_proto::x509::Certificate;
use hemi_proto::{cookie, query};
use http::Version;
use http::header::{CONTENT_TYPE, HeaderName, REFERER, USER_AGENT};

use crate::record::put_ip;
use crate::{Request, trace};

/// A variable of a request, for conditions of rules, templates of components, and logs. What tells of
/// the answer is empty until there is one.
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
    /// `$encodedPath`: the path as it was sent, or as a rewrite left it
    EncodedPath,
    /// `$uri`: path and query as they were sent
    Uri,
    /// `$queryString`: as it was sent, or as a rewrite left it, without the `?`
    QueryString,
    /// `$contentType`
    ContentType,
    /// `$remoteAddr`: the client's address
    RemoteAddr,
    /// `$remotePort`: the client's port
    RemotePort,
    /// `$remoteUser`: who the client is, if a handlet has found out
    RemoteUser,
    /// `$version`: of the protocol, such as `HTTP/1.1`
    Version,
    /// `$tlsVersion`: `TLSv1.3` or `TLSv1.2`; this and the other variables of TLS are empty in the clear
    TlsVersion,
    /// `$tlsCipher`: the cipher suite, as IANA calls it
    TlsCipher,
    /// `$tlsServerName`: the name that the client asked for
    TlsServerName,
    /// `$tlsAlpn`: the protocol agreed on, such as `h2`
    TlsAlpn,
    /// `$tlsResumed`: `1` if the connection goes on with an earlier session, or else `0`
    TlsResumed,
    /// `$tlsClientSubject`: whom the client's certificate is about, as in `CN=mia,O=Shop` (RFC 4514)
    TlsClientSubject,
    /// `$tlsClientSans`: the other names of the same, as in `dns:mia.test,uri:spiffe://shop/mia`
    TlsClientSans,
    /// `$tlsClientSpiffe`: the SPIFFE id among these
    TlsClientSpiffe,
    /// `$tlsClientCert`: the client's certificate, as the field `client-cert` has it (RFC 9440)
    TlsClientCert,
    /// `$userAgent`
    UserAgent,
    /// `$referer`
    Referer,
    /// `$requestId`: tells this request from all others
    RequestId,
    /// `$traceId`: of the request's span, if its webapp has a tracer, else of a valid field `traceparent`
    TraceId,
    /// `$spanId`: the same
    SpanId,
    /// `$internal`: `1` if a program has said what the request is for now, by `x-accel-redirect`, or else `0`
    Internal,
    /// `$webapp`: its name
    Webapp,
    /// `$status`: of the answer
    Status,
    /// `$bytesSent`: bytes of the answer's content
    BytesSent,
    /// `$requestTime`: seconds from the request's head to the end of its answer, with milliseconds
    RequestTime,
    /// `$time`: when the answer was over, as in `2026-11-21T13:05:09.123Z`
    Time,
    /// `$timeCommon`: the same as in `21/Nov/2026:13:05:09 +0000`
    TimeCommon,
    /// `$msec`: the same in seconds since 1970, with milliseconds
    Msec,
    /// `$sent_NAME`: a field of the answer, but for those that the connection adds
    Sent(HeaderName),
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
            "remoteUser" => Self::RemoteUser,
            "version" => Self::Version,
            "tlsVersion" => Self::TlsVersion,
            "tlsCipher" => Self::TlsCipher,
            "tlsServerName" => Self::TlsServerName,
            "tlsAlpn" => Self::TlsAlpn,
            "tlsResumed" => Self::TlsResumed,
            "tlsClientSubject" => Self::TlsClientSubject,
            "tlsClientSans" => Self::TlsClientSans,
            "tlsClientSpiffe" => Self::TlsClientSpiffe,
            "tlsClientCert" => Self::TlsClientCert,
            "userAgent" => Self::UserAgent,
            "referer" => Self::Referer,
            "requestId" => Self::RequestId,
            "traceId" => Self::TraceId,
            "spanId" => Self::SpanId,
            "internal" => Self::Internal,
            "webapp" => Self::Webapp,
            "status" => Self::Status,
            "bytesSent" => Self::BytesSent,
            "requestTime" => Self::RequestTime,
            "time" => Self::Time,
            "timeCommon" => Self::TimeCommon,
            "msec" => Self::Msec,
            _ => match name.split_once('_')? {
                ("header", field) => Self::Header(field_name(field)?),
                ("sent", field) => Self::Sent(field_name(field)?),
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
            "remoteUser",
            "version",
            "tlsVersion",
            "tlsCipher",
            "tlsServerName",
            "tlsAlpn",
            "tlsResumed",
            "tlsClientSubject",
            "tlsClientSans",
            "tlsClientSpiffe",
            "tlsClientCert",
            "userAgent",
            "referer",
            "requestId",
            "traceId",
            "spanId",
            "internal",
            "webapp",
            "status",
            "bytesSent",
            "requestTime",
            "time",
            "timeCommon",
            "msec",
            "header_*",
            "cookie_*",
            "query_*",
            "sent_*",
        ]
    }

    fn is_number(&self) -> bool {
        matches!(
            self,
            Self::RemotePort | Self::Status | Self::BytesSent | Self::RequestTime | Self::Msec
        )
    }

    fn logged() -> &'static [&'static str] {
        &[
            "time",
            "requestId",
            "remoteAddr",
            "remoteUser",
            "hostname",
            "method",
            "uri",
            "version",
            "status",
            "bytesSent",
            "requestTime",
            "referer",
            "userAgent",
        ]
    }
}

fn field_name(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.replace('_', "-").as_bytes()).ok()
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
            WebVar::Uri => req.sent_uri(),
            WebVar::QueryString => req.query().unwrap_or_default(),
            WebVar::ContentType => return field(req, &CONTENT_TYPE),
            WebVar::UserAgent => return field(req, &USER_AGENT),
            WebVar::Referer => return field(req, &REFERER),
            WebVar::Header(name) => return field(req, name),
            WebVar::RemoteAddr => {
                let mut text = Vec::new();
                put_ip(&mut text, req.remote_ip());
                return text.into();
            }
            WebVar::RemotePort => return remote_port(req),
            WebVar::RemoteUser => req.user().unwrap_or_default(),
            WebVar::Version => version(req.version()),
            WebVar::TlsVersion => req.tls().map_or("", |tls| tls.version),
            WebVar::TlsCipher => req.tls().map_or("", |tls| tls.cipher),
            WebVar::TlsServerName => {
                req.tls().and_then(|tls| tls.server_name.as_deref()).unwrap_or_default()
            }
            WebVar::TlsAlpn => {
                let alpn = req.tls().and_then(|tls| tls.alpn.as_deref());
                return alpn.unwrap_or_default().into();
            }
            WebVar::TlsClientSubject
            | WebVar::TlsClientSans
            | WebVar::TlsClientSpiffe
            | WebVar::TlsClientCert => return of_client(req, var),
            WebVar::Internal => {
                if req.is_internal() {
                    "1"
                } else {
                    "0"
                }
            }
            WebVar::TlsResumed => req.tls().map_or("", |tls| if tls.resumed { "1" } else { "0" }),
            WebVar::RequestId => {
                return match req.id() {
                    Cow::Borrowed(id) => id.as_bytes().into(),
                    Cow::Owned(id) => id.into_bytes().into(),
                };
            }
            WebVar::TraceId => match req.trace() {
                Some(span) => return span.trace_id().to_string().into_bytes().into(),
                None => trace::parent(req.headers()).map_or("", |parent| parent.trace_id),
            },
            WebVar::SpanId => match req.trace() {
                Some(span) => return span.id().to_string().into_bytes().into(),
                None => trace::parent(req.headers()).map_or("", |parent| parent.span_id),
            },
            WebVar::Cookie(name) => {
                let value = cookie::value(req.headers(), name.as_bytes());
                return value.map_or(Cow::default(), Cow::from);
            }
            WebVar::Query(name) => {
                let query = req.query().unwrap_or_default().as_bytes();
                return query::value(query, name.as_bytes()).unwrap_or_default();
            }
            WebVar::Webapp
            | WebVar::Status
            | WebVar::BytesSent
            | WebVar::RequestTime
            | WebVar::Time
            | WebVar::TimeCommon
            | WebVar::Msec
            | WebVar::Sent(_) => "",
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

/// What the client's certificate says.
fn of_client(req: &Request, var: &WebVar) -> Cow<'static, [u8]> {
    let Some(der) = req.tls().and_then(|tls| tls.client.as_deref()) else { return Cow::default() };
    let text = match var {
        WebVar::TlsClientCert => Some(format!(":{}:", BASE64_STANDARD.encode(der))),
        _ => Certificate::parse(der).map(|cert| match var {
            WebVar::TlsClientSubject => cert.subject.to_string(),
            WebVar::TlsClientSpiffe => cert.spiffe_id().unwrap_or_default().to_owned(),
            _ => cert.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        }),
    };
    text.unwrap_or_default().into_bytes().into()
}

/// The value of a field; of several the first.
pub(crate) fn field<'a>(req: &'a Request, name: &HeaderName) -> Cow<'a, [u8]> {
    req.field(name).unwrap_or_default().into()
}

/// As a request line has it.
pub(crate) fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

fn remote_port(req: &Request) -> Cow<'static, [u8]> {
    match req.peer() {
        hemi_core::listen::Peer::Tcp(address) => address.port().to_string().into_bytes().into(),
        hemi_core::listen::Peer::Unix => Cow::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_is_told_is_a_variable() {
        for name in WebVar::known().iter().chain(WebVar::logged()) {
            assert!(WebVar::named(&name.replace('*', "x")).is_some(), "{name}");
        }
    }
}
