//! A response, as handlets make it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hemi_core::BoxFuture;
use hemi_proto::http1::{encode_content_length, encode_fields};
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, HeaderValue, SERVER, TRANSFER_ENCODING,
};
use http::{HeaderMap, StatusCode};

use crate::body::Body;
use crate::upgrade::Upgraded;

/// A response. Date, server and framing fields are the connection's business, and added by it.
#[derive(Debug)]
pub struct Response {
    status: StatusCode,
    fields: Fields,
    body: Body,
    upgrade: Option<Upgrade>,
}

/// The fields of a response: its own, or prepared ones that many answers share.
#[derive(Debug)]
enum Fields {
    /// In a box, for answers are passed from hand to hand.
    Own(Box<HeaderMap>),
    Prepared(Arc<Prepared>),
}

/// Fields that are encoded once and sent many times.
#[derive(Debug)]
pub struct Prepared {
    map: HeaderMap,
    /// The fields, and last the length of the content, if that is prepared too.
    http1: Bytes,
    /// Bytes of the fields alone.
    fields: usize,
    len: Option<u64>,
}

impl Prepared {
    /// Encodes the fields of answers with contents of any length, but for those fields that the
    /// connection adds to every answer.
    #[must_use]
    pub fn new(map: HeaderMap) -> Self {
        Self::encode(map, None)
    }

    /// The same, where most contents have this length.
    #[must_use]
    pub fn with_length(map: HeaderMap, len: u64) -> Self {
        Self::encode(map, Some(len))
    }

    fn encode(mut map: HeaderMap, len: Option<u64>) -> Self {
        for name in [CONNECTION, CONTENT_LENGTH, DATE, SERVER, TRANSFER_ENCODING] {
            map.remove(name);
        }
        let mut http1 = BytesMut::new();
        encode_fields(&mut http1, &map);
        let fields = http1.len();
        if let Some(len) = len {
            encode_content_length(&mut http1, len);
        }
        Self { map, http1: http1.freeze(), fields, len }
    }

    /// The fields as HTTP/1 sends them; with the length of the content, if it is this one.
    pub(crate) fn http1(&self, len: Option<u64>) -> (&[u8], bool) {
        let sized = len.is_some() && len == self.len;
        (if sized { &self.http1 } else { &self.http1[..self.fields] }, sized)
    }
}

/// What goes on after a 101.
struct Upgrade(Box<dyn FnOnce(Upgraded) -> BoxFuture<'static, ()> + Send>);

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upgrade")
    }
}

impl Response {
    /// A response with this status, without fields or content.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self { status, fields: Fields::Own(Box::default()), body: Body::empty(), upgrade: None }
    }

    /// A response with fields that others share.
    #[must_use]
    pub fn prepared(status: StatusCode, fields: Arc<Prepared>, body: impl Into<Body>) -> Self {
        Self { status, fields: Fields::Prepared(fields), body: body.into(), upgrade: None }
    }

    /// Text, as `text/plain` in UTF-8.
    #[must_use]
    pub fn text(text: impl Into<Body>) -> Self {
        Self::typed(HeaderValue::from_static("text/plain; charset=utf-8"), text)
    }

    /// A page, as `text/html` in UTF-8.
    #[must_use]
    pub fn html(page: impl Into<Body>) -> Self {
        Self::typed(HeaderValue::from_static("text/html; charset=utf-8"), page)
    }

    /// Content of the given media type.
    #[must_use]
    pub fn typed(media_type: HeaderValue, body: impl Into<Body>) -> Self {
        Self::new(StatusCode::OK).field(CONTENT_TYPE, media_type).with_body(body)
    }

    /// 101 Switching Protocols: once it is sent, `go_on` has the connection. The fields must name the
    /// protocol in `upgrade`.
    #[must_use]
    pub fn upgrade<F, Fut>(go_on: F) -> Self
    where
        F: FnOnce(Upgraded) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let mut response = Self::new(StatusCode::SWITCHING_PROTOCOLS);
        response.upgrade = Some(Upgrade(Box::new(|upgraded| Box::pin(go_on(upgraded)))));
        response
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same with a field more.
    #[must_use]
    pub fn field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers_mut().append(name, value);
        self
    }

    /// The same with other content.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The fields.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        match &self.fields {
            Fields::Own(map) => map,
            Fields::Prepared(prepared) => &prepared.map,
        }
    }

    /// The fields, to be changed: prepared ones become its own first.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        if let Fields::Prepared(prepared) = &self.fields {
            self.fields = Fields::Own(Box::new(prepared.map.clone()));
        }
        match &mut self.fields {
            Fields::Own(map) => map,
            Fields::Prepared(_) => unreachable!("made its own above"),
        }
    }

    /// The fields as they were prepared, if they are.
    pub(crate) fn prepared_fields(&self) -> Option<&Prepared> {
        match &self.fields {
            Fields::Own(_) => None,
            Fields::Prepared(prepared) => Some(prepared),
        }
    }

    /// The content.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Takes the content, for instance for a reviser to wrap it.
    pub fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.body)
    }

    /// Puts other content in its place.
    pub fn set_body(&mut self, body: impl Into<Body>) {
        self.body = body.into();
    }

    pub(crate) fn take_upgrade(
        &mut self,
    ) -> Option<Box<dyn FnOnce(Upgraded) -> BoxFuture<'static, ()> + Send>> {
        self.upgrade.take().map(|upgrade| upgrade.0)
    }
}

impl From<StatusCode> for Response {
    fn from(status: StatusCode) -> Self {
        crate::error_page::page(status)
    }
}

impl From<&'static str> for Response {
    fn from(text: &'static str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Response {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}
