//! A request, as rules, handlets and revisers see it.

use std::borrow::Cow;
use std::net::IpAddr;

use bytes::Bytes;
use hemi_core::listen::Peer;
use hemi_proto::authority::Authority;
use hemi_proto::http1::{RequestHead, Target};
use hemi_proto::path::{EncodedSeparators, PathError, normalize};
use http::{Extensions, HeaderMap, Method, StatusCode, Uri, Version};

use crate::body::Body;

/// A request: its head as typed values, its content as it arrives.
#[derive(Debug)]
pub struct Request {
    method: Method,
    target: Target,
    /// The path decoded and normalised, if that changes it.
    path: Option<Box<str>>,
    authority: Option<Authority>,
    version: Version,
    headers: HeaderMap,
    body: Body,
    peer: Peer,
    scheme: Scheme,
    upgrade: bool,
    extensions: Extensions,
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Request {
    /// Makes a request of a head that has arrived.
    ///
    /// # Errors
    /// 400 if the path can't be decoded, is not UTF-8 then, or would lead above the root.
    pub(crate) fn new(
        head: RequestHead,
        body: Body,
        peer: Peer,
        scheme: Scheme,
    ) -> Result<Self, StatusCode> {
        let raw = head.target.path().as_bytes();
        let bad = StatusCode::BAD_REQUEST;
        let path = match normalize(raw, EncodedSeparators::Keep) {
            Ok(Cow::Borrowed(_)) => None,
            Ok(Cow::Owned(path)) => Some(String::from_utf8(path).map_err(|_| bad)?.into_boxed_str()),
            // As the target of CONNECT, or of OPTIONS for the whole server.
            Err(PathError::NotAbsolute) => None,
            Err(_) => return Err(bad),
        };
        Ok(Self {
            method: head.method,
            target: head.target,
            path,
            authority: head.authority,
            version: head.version,
            headers: head.headers,
            body,
            peer,
            scheme,
            // Content would stand between the 101 and the other protocol's bytes.
            upgrade: head.upgrade && head.framing.is_empty(),
            extensions: Extensions::new(),
        })
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path, percent-decoded, without `.` and `..` segments; starts with `/`, or is `*`. A `/` or `\\`
    /// that was encoded still is.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_else(|| self.target.path())
    }

    /// The path as it was sent.
    #[must_use]
    pub fn raw_path(&self) -> &str {
        self.target.path()
    }

    /// The query as it was sent, without the `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.target.query()
    }

    /// Path and query as they were sent.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        self.target.path_and_query()
    }

    /// Path and query as a [`Uri`].
    ///
    /// # Errors
    /// When it has bytes that the `http` crate does not take in a URI.
    pub fn uri(&self) -> Result<Uri, http::uri::InvalidUri> {
        self.path_and_query().parse()
    }

    /// Host and port as asked for: of the target, else of the Host field. None only in HTTP/1.0.
    #[must_use]
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// The host asked for, in lower case and without port; empty if there is none.
    #[must_use]
    pub fn hostname(&self) -> &str {
        self.authority.as_ref().map_or("", Authority::hostname)
    }

    /// The protocol version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether it came in the clear or over TLS.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The fields.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The fields, to be changed by a reviser.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// The value of a field, if it is there and is text; of several the first.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The content, to be read.
    pub fn body(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Takes the content, for instance to stream it on.
    pub fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.body)
    }

    /// The other end of the connection.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The client's address.
    #[must_use]
    pub fn remote_ip(&self) -> Option<IpAddr> {
        self.peer.ip()
    }

    /// Whether the client asks to go on in another protocol, named by its `upgrade` field. A request
    /// with content may not.
    #[must_use]
    pub fn wants_upgrade(&self) -> bool {
        self.upgrade
    }

    /// What revisers and handlets leave for those after them.
    pub fn extensions(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// The bytes of the path as it was sent, shared.
    #[must_use]
    pub fn raw_path_bytes(&self) -> Bytes {
        self.target.path_bytes()
    }

    /// The fields' map, to use its memory again.
    pub(crate) fn into_headers(self) -> HeaderMap {
        self.headers
    }
}
