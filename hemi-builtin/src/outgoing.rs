//! What a node is told of a request that is passed on: by which fields, and which target it asks for.

mod forwarded;

use std::borrow::Cow;

use hemi_core::Explain;
use hemi_core::io::pool;
use hemi_proto::fields::FieldLines;
use hemi_proto::path::is_dot_segment;
use hemi_web::{Request, nominated};
use http::header::{CONNECTION, HeaderName};
use serde::Deserialize;

use crate::clients::Clients;
use crate::field_edits::{FieldEdits, FieldName, FieldValue};
use crate::uri_template::encode_path;

/// Properties of who passes requests on.
#[derive(Debug, Default, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct OutgoingConfig {
    /// Proxies in front of this server whose fields about the client are believed, and added to; of all
    /// others they are replaced.
    trusted_proxies: Vec<Clients>,
    /// Fields that the backend is not sent.
    remove_request_headers: Vec<FieldName>,
    /// Fields that the backend is sent instead of what the client has sent.
    set_request_headers: Vec<(FieldName, FieldValue)>,
    /// Fields that the backend is sent besides.
    add_request_headers: Vec<(FieldName, FieldValue)>,
}

/// Says which fields a node is sent.
#[derive(Debug)]
pub(crate) struct OutgoingFields {
    trusted: Vec<Clients>,
    edits: FieldEdits,
}

impl From<OutgoingConfig> for OutgoingFields {
    fn from(config: OutgoingConfig) -> Self {
        let OutgoingConfig { remove_request_headers, set_request_headers, .. } = config;
        let added = config.add_request_headers;
        let edits = FieldEdits::new(remove_request_headers, set_request_headers, added);
        Self { trusted: config.trusted_proxies, edits }
    }
}

impl OutgoingFields {
    /// The same without a field that clients may send.
    pub(crate) fn without(self, name: HeaderName) -> Self {
        Self { edits: self.edits.without(name), ..self }
    }

    /// The fields that a node is sent, but for those about the connection.
    pub(crate) fn of(&self, req: &Request) -> FieldLines {
        let mut lines = FieldLines::in_buffer(pool::take());
        let nominated = match req.has_field(&CONNECTION) {
            true => nominated(req.field_values(&CONNECTION)),
            false => Vec::new(),
        };
        let trusts = self.trusts(req);
        for (name, value) in req.field_lines() {
            let goes = is_of_connection(name)
                || forwarded::replaces(name, trusts)
                || nominated.iter().any(|n| name.eq_ignore_ascii_case(n.as_str().as_bytes()))
                || self.edits.replaces(name)
                || (name.contains(&b'_') && self.is_imitated_by(name));
            if !goes {
                lines.pass(name, value);
            }
        }
        forwarded::put(req, trusts, &mut lines);
        self.edits.put(req, &mut lines);
        lines
    }

    /// Whether a name with `_` reads as that of a field which we see to, for an application that takes `-` and
    /// `_` for the same, as those of CGI and WSGI do.
    fn is_imitated_by(&self, name: &[u8]) -> bool {
        let read: Vec<u8> = name.iter().map(|&b| if b == b'_' { b'-' } else { b }).collect();
        is_of_connection(&read) || forwarded::replaces(&read, false) || self.edits.replaces(&read)
    }

    /// Whether what the client says about others is believed.
    fn trusts(&self, req: &Request) -> bool {
        self.trusted.iter().any(|clients| clients.hold(req.remote_ip()))
    }
}

/// Whether a field is about one connection, or made anew, by its name in any case.
fn is_of_connection(name: &[u8]) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.len() {
        2 => is("te"),
        4 => is("host"),
        6 => is("expect"),
        7 => is("upgrade") || is("trailer"),
        10 => is("connection") || is("keep-alive"),
        // Of an upgrade to HTTP/2, which is never passed on (RFC 7540, 3.2.1).
        14 => is("content-length") || is("http2-settings"),
        16 => is("proxy-connection"),
        17 => is("transfer-encoding"),
        _ => false,
    }
}

/// Path and query as the client has sent them; but without `.` and `..`, in which a node might see another
/// path than the rules have seen.
pub(crate) fn target(req: &Request) -> Cow<'_, [u8]> {
    if !req.raw_path().split('/').any(is_dot_segment) {
        return req.path_and_query().as_bytes().into();
    }
    let mut target = encode_path(req.path().as_bytes());
    if let Some(query) = req.query() {
        target.push(b'?');
        target.extend_from_slice(query.as_bytes());
    }
    target.into()
}
