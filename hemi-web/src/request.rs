//! A request, as rules, handlets and revisers see it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;

use hemi_core::listen::Peer;
use hemi_proto::authority::Authority;
use hemi_proto::http1::RequestHead;
use hemi_proto::path::{EncodedSeparators, PathError, normalize};
use http::{Extensions, HeaderMap, Method, StatusCode, Uri, Version};

use crate::body::Body;

/// A request: its head as typed values, its content as it arrives.
#[derive(Debug)]
pub struct Request {
    head: RequestHead,
    /// The path decoded and normalised, if that changes it.
    path: Option<Box<str>>,
    body: Body,
    peer: Peer,
    scheme: Scheme,
    extensions: Extensions,
}

/// Maps of fields that a core keeps at most.
const MAPS_KEPT: usize = 256;

thread_local! {
    static MAPS: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
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
    /// The request of a connection, which has not come yet.
    pub(crate) fn awaited(peer: Peer, scheme: Scheme) -> Self {
        let (head, body, extensions) = (RequestHead::default(), Body::empty(), Extensions::new());
        Self { head, path: None, body, peer, scheme, extensions }
    }

    /// The head, to be read into.
    pub(crate) fn head_mut(&mut self) -> &mut RequestHead {
        &mut self.head
    }

    /// The head.
    pub(crate) fn head(&self) -> &RequestHead {
        &self.head
    }

    /// Completes the request, whose head has come.
    ///
    /// # Errors
    /// 400 if the path can't be decoded, is not UTF-8 then, or would lead above the root.
    pub(crate) fn begin(&mut self) -> Result<(), StatusCode> {
        let raw = self.head.target.raw_path();
        let bad = StatusCode::BAD_REQUEST;
        self.path = match normalize(raw, EncodedSeparators::Keep) {
            Ok(Cow::Borrowed(_)) => None,
            Ok(Cow::Owned(path)) => {
                Some(String::from_utf8(path).map_err(|_| bad)?.into_boxed_str())
            }
            // As the target of CONNECT, or of OPTIONS for the whole server.
            Err(PathError::NotAbsolute) => None,
            Err(_) => return Err(bad),
        };
        Ok(())
    }

    /// Gives the request its content.
    pub(crate) fn set_body(&mut self, body: Body) {
        self.body = body;
    }

    /// Makes room for the next request.
    pub(crate) fn end(&mut self) {
        self.head.clear();
        self.body = Body::empty();
        self.extensions.clear();
    }

    /// Gives the memory of an ended request to others of this core.
    pub(crate) fn release(&mut self) {
        let mut map = std::mem::take(&mut self.head.headers);
        // Of a request that was refused the fields are still there, and the read buffer with them.
        map.clear();
        MAPS.with_borrow_mut(|maps| {
            if maps.len() < MAPS_KEPT && map.capacity() > 0 {
                maps.push(map);
            }
        });
    }

    /// Takes such memory for the next request.
    pub(crate) fn make_room(&mut self) {
        if self.head.headers.capacity() == 0 {
            self.head.headers = MAPS.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The path, percent-decoded, without `.` and `..` segments; starts with `/`, or is `*`. A `/` or `\\`
    /// that was encoded still is.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_else(|| self.head.target.path())
    }

    /// The same as bytes, for those who only compare.
    pub(crate) fn path_bytes(&self) -> &[u8] {
        self.path.as_deref().map_or_else(|| self.head.target.raw_path(), str::as_bytes)
    }

    /// The path as it was sent.
    #[must_use]
    pub fn raw_path(&self) -> &str {
        self.head.target.path()
    }

    /// The query as it was sent, without the `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.head.target.query()
    }

    /// Path and query as they were sent.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        self.head.target.path_and_query()
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
        self.head.authority.as_ref()
    }

    /// The host asked for, in lower case and without port; empty if there is none.
    #[must_use]
    pub fn hostname(&self) -> &str {
        self.head.authority.as_ref().map_or("", Authority::hostname)
    }

    /// The protocol version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// Whether it came in the clear or over TLS.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The fields.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The fields, to be changed by a reviser.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.head.headers
    }

    /// The value of a field, if it is there and is text; of several the first.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
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
        // Content would stand between the 101 and the other protocol's bytes.
        self.head.upgrade && self.head.framing.is_empty()
    }

    /// What revisers and handlets leave for those after them.
    pub fn extensions(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}
