//! A response, as handlets make it.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use hemi_core::BoxFuture;
use hemi_proto::fields::Fields as Lines;
use hemi_proto::http1::{encode_content_length, encode_fields};
use hemi_proto::http2::hpack;
use hemi_proto::http3::qpack::StaticEncoder;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, HOST, HeaderName,
    HeaderValue, SERVER, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, StatusCode};

use crate::body::{Body, BoxError};
use crate::upgrade::Upgraded;

/// A field that tells about the connection, as answers of other servers may bring it along.
pub(crate) const KEEP_ALIVE: &str = "keep-alive";

/// A response. Date, server and framing fields are the connection's business, and added by it.
#[derive(Debug)]
pub struct Response {
    status: StatusCode,
    fields: Fields,
    body: Body,
    /// The content is the prepared one.
    whole: bool,
    until: Until,
    /// The content is the page that names the status, for want of a better one.
    stock: bool,
    rare: Option<Box<Rare>>,
}

/// What few responses have.
#[derive(Debug, Default)]
struct Rare {
    upgrade: Option<Upgrade>,
    /// Why it is an error: for the log.
    cause: Option<BoxError>,
}

/// When content that streams has its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Where its stream ends.
    End,
    /// There, or when the server drains.
    Drain,
}

/// The fields of a response: its own, or prepared ones that many answers share.
#[derive(Debug)]
enum Fields {
    /// In a box, for answers are passed from hand to hand.
    Own(Box<HeaderMap>),
    Prepared(Arc<Prepared>),
    /// As another server has sent them.
    Passed(Box<Lines>),
}

impl Fields {
    /// Those of another server's answer. What the connections here see to themselves may stay.
    fn of_other(status: StatusCode, lines: Lines) -> Self {
        let of_hop = [TE, TRAILER, UPGRADE, HeaderName::from_static("proxy-connection")];
        let nominates = |value: &[u8]| {
            !(value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close"))
        };
        let plain = !of_hop.iter().any(|name| lines.has(name));
        if plain && !lines.all(&CONNECTION).any(nominates) {
            return Self::Passed(Box::new(lines));
        }
        let mut map = HeaderMap::from(lines);
        for name in nominated(map.get_all(CONNECTION).iter().map(HeaderValue::as_bytes)) {
            if name != UPGRADE {
                map.remove(name);
            }
        }
        let upgrades = status == StatusCode::SWITCHING_PROTOCOLS;
        for name in of_hop.into_iter().filter(|name| !(upgrades && *name == UPGRADE)) {
            map.remove(name);
        }
        Self::Own(Box::new(map))
    }
}

/// Fields that a message says are about its connection, in the values of `connection` (RFC 9110, 7.6.1); but
/// for those that the message itself depends on, which can't be taken from it.
pub fn nominated<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<HeaderName> {
    let options = values.flat_map(|value| value.split(|&b| b == b','));
    let names = options.filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok());
    names.filter(|name| !is_essential(name)).collect()
}

fn is_essential(name: &HeaderName) -> bool {
    [AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, TRANSFER_ENCODING, VIA]
        .contains(name)
        || name.as_str().starts_with("x-forwarded-")
        || matches!(name.as_str(), "close" | "keep-alive" | "forwarded" | "x-real-ip")
}

/// Fields, and maybe content, that are encoded once and sent many times.
#[derive(Debug)]
pub struct Prepared {
    map: HeaderMap,
    content: Bytes,
    /// As HTTP/1 sends it: the fields, the length of the content, an empty line, the content.
    http1: Bytes,
    /// Where in it the fields end.
    fields_end: usize,
    /// Where in it the length of the content ends.
    length_end: usize,
    len: Option<u64>,
    /// The fields as HTTP/2 sends them,
    hpack: Encoded,
    /// and as HTTP/3 does.
    qpack: Encoded,
}

/// Fields as they are sent where they are compressed, then the length of the content; and where the fields end.
type Encoded = OnceLock<(Bytes, usize)>;

impl Prepared {
    /// Encodes the fields of answers with contents of any length, but for those fields that the
    /// connection adds to every answer.
    #[must_use]
    pub fn new(map: HeaderMap) -> Self {
        Self::encode(map, None, Bytes::new())
    }

    /// The same, where most contents have this length.
    #[must_use]
    pub fn with_length(map: HeaderMap, len: u64) -> Self {
        Self::encode(map, Some(len), Bytes::new())
    }

    /// The same with the content itself: for [`Response::whole`].
    #[must_use]
    pub fn with_content(map: HeaderMap, content: Bytes) -> Self {
        Self::encode(map, Some(content.len() as u64), content)
    }

    fn encode(mut map: HeaderMap, len: Option<u64>, content: Bytes) -> Self {
        for name in [CONNECTION, CONTENT_LENGTH, DATE, SERVER, TRANSFER_ENCODING] {
            map.remove(name);
        }
        map.remove(KEEP_ALIVE);
        let mut http1 = BytesMut::new();
        encode_fields(&mut http1, &map);
        let fields_end = http1.len();
        if let Some(len) = len {
            encode_content_length(&mut http1, len);
        }
        let length_end = http1.len();
        http1.extend_from_slice(b"\r\n");
        http1.extend_from_slice(&content);
        let (http1, hpack, qpack) = (http1.freeze(), Encoded::new(), Encoded::new());
        Self { map, content, http1, fields_end, length_end, len, hpack, qpack }
    }

    /// The fields as HTTP/1 sends them; with the length of the content, if it is this one.
    pub(crate) fn http1_fields(&self, len: Option<u64>) -> (&[u8], bool) {
        let sized = len.is_some() && len == self.len;
        (&self.http1[..if sized { self.length_end } else { self.fields_end }], sized)
    }

    /// The fields as HTTP/2 sends them on any connection; with the length of the content, if it is this one.
    pub(crate) fn hpack_fields(&self, len: Option<u64>) -> (&[u8], bool) {
        self.encoded(&self.hpack, len, |name, value, out| hpack::encode_field(out, name, value))
    }

    /// The same for HTTP/3.
    pub(crate) fn qpack_fields(&self, len: Option<u64>) -> (&[u8], bool) {
        self.encoded(&self.qpack, len, |name, value, out| {
            StaticEncoder::put_line(name.as_str(), value.as_bytes(), out);
        })
    }

    fn encoded<'a>(
        &self,
        lines: &'a Encoded,
        len: Option<u64>,
        put: impl Fn(&HeaderName, &HeaderValue, &mut BytesMut),
    ) -> (&'a [u8], bool) {
        let (lines, fields_end) = lines.get_or_init(|| {
            let mut lines = BytesMut::new();
            self.map.iter().for_each(|(name, value)| put(name, value, &mut lines));
            let fields_end = lines.len();
            if let Some(len) = self.len {
                put(&CONTENT_LENGTH, &len.into(), &mut lines);
            }
            (lines.freeze(), fields_end)
        });
        let sized = len.is_some() && len == self.len;
        (if sized { lines } else { &lines[..*fields_end] }, sized)
    }

    /// The content.
    pub(crate) fn content(&self) -> &Bytes {
        &self.content
    }

    /// All that HTTP/1 sends after status, server and date.
    pub(crate) fn http1_whole(&self) -> &[u8] {
        &self.http1
    }

    /// Bytes of the content.
    pub(crate) fn content_len(&self) -> u64 {
        self.content.len() as u64
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
        Self::of(status, Fields::Own(Box::default()), Body::empty())
    }

    /// A response with fields that others share.
    #[must_use]
    pub fn prepared(status: StatusCode, fields: Arc<Prepared>, body: impl Into<Body>) -> Self {
        Self::of(status, Fields::Prepared(fields), body.into())
    }

    /// A response with fields and content that others share; best for content up to a few KiB.
    #[must_use]
    pub fn whole(status: StatusCode, prepared: Arc<Prepared>) -> Self {
        Self { whole: true, ..Self::of(status, Fields::Prepared(prepared), Body::empty()) }
    }

    fn of(status: StatusCode, fields: Fields, body: Body) -> Self {
        let (until, rare) = (Until::End, None);
        Self { status, fields, body, whole: false, until, stock: false, rare }
    }

    /// The answer of another server, with the fields that came with it, but for those that are about its
    /// connection (RFC 9110, 7.6.1).
    #[must_use]
    pub fn passed_on(status: StatusCode, fields: Lines) -> Self {
        Self::of(status, Fields::of_other(status, fields), Body::empty())
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
        Self::new(StatusCode::SWITCHING_PROTOCOLS).go_on(|upgraded| Box::pin(go_on(upgraded)))
    }

    /// The same for a 101 that there is already.
    #[must_use]
    pub fn go_on<F>(mut self, go_on: F) -> Self
    where
        F: FnOnce(Upgraded) -> BoxFuture<'static, ()> + Send + 'static,
    {
        self.rare.get_or_insert_default().upgrade = Some(Upgrade(Box::new(go_on)));
        self
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
        self.set_body(body);
        self
    }

    /// The same, whose content has no end of its own: it is ended, as if it were whole, when the server
    /// drains. For streams that clients come back to, as they do to server-sent events.
    #[must_use]
    pub fn until_drain(mut self) -> Self {
        self.until = Until::Drain;
        self
    }

    pub(crate) fn until(&self) -> Until {
        self.until
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
            Fields::Passed(lines) => lines,
        }
    }

    /// The fields as another server has sent them, if they are.
    pub(crate) fn passed_fields(&self) -> Option<&Lines> {
        match &self.fields {
            Fields::Passed(lines) if !lines.is_map() => Some(lines),
            _ => None,
        }
    }

    /// The fields, to be changed: prepared ones become its own first.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        if self.whole {
            self.body = self.take_body();
        }
        if let Fields::Prepared(prepared) = &self.fields {
            self.fields = Fields::Own(Box::new(prepared.map.clone()));
        }
        match &mut self.fields {
            Fields::Own(map) => map,
            Fields::Passed(lines) => lines,
            Fields::Prepared(_) => unreachable!("made its own above"),
        }
    }

    /// Takes a field away: where there is none, for less than by [`Response::headers_mut`].
    pub fn remove_field(&mut self, name: &HeaderName) {
        let is_there = match &self.fields {
            Fields::Own(map) => map.contains_key(name),
            Fields::Prepared(prepared) => prepared.map.contains_key(name),
            Fields::Passed(lines) => lines.has(name),
        };
        if is_there {
            self.headers_mut().remove(name);
        }
    }

    /// The fields as they were prepared, if they are.
    pub(crate) fn prepared_fields(&self) -> Option<&Prepared> {
        match &self.fields {
            Fields::Own(_) | Fields::Passed(_) => None,
            Fields::Prepared(prepared) => Some(prepared),
        }
    }

    /// The prepared answer, if it is sent as it was prepared.
    pub(crate) fn as_whole(&self) -> Option<&Prepared> {
        self.prepared_fields().filter(|_| self.whole)
    }

    /// Bytes of the content, if their number is known.
    #[must_use]
    pub fn content_len(&self) -> Option<u64> {
        match self.as_whole() {
            Some(prepared) => Some(prepared.content_len()),
            None => self.body.len(),
        }
    }

    /// Takes the content, for instance for a reviser to wrap it.
    pub fn take_body(&mut self) -> Body {
        match &self.fields {
            Fields::Prepared(prepared) if std::mem::take(&mut self.whole) => {
                prepared.content.clone().into()
            }
            _ => std::mem::take(&mut self.body),
        }
    }

    /// Puts other content in its place.
    pub fn set_body(&mut self, body: impl Into<Body>) {
        self.body = body.into();
        self.whole = false;
        self.stock = false;
    }

    /// Whether the content is only the page that names the status, as made from a [`StatusCode`].
    #[must_use]
    pub fn is_stock(&self) -> bool {
        self.stock
    }

    /// The same, which is to be replaced by a better page if there is one.
    pub(crate) fn stock(mut self) -> Self {
        self.stock = true;
        self
    }

    /// The same, with what is to be logged as the cause of the error that it tells of.
    pub(crate) fn caused_by(mut self, cause: BoxError) -> Self {
        self.rare.get_or_insert_default().cause = Some(cause);
        self
    }

    pub(crate) fn take_cause(&mut self) -> Option<BoxError> {
        self.rare.as_mut()?.cause.take()
    }

    pub(crate) fn take_upgrade(
        &mut self,
    ) -> Option<Box<dyn FnOnce(Upgraded) -> BoxFuture<'static, ()> + Send>> {
        self.rare.as_mut()?.upgrade.take().map(|upgrade| upgrade.0)
    }
}

impl From<StatusCode> for Response {
    fn from(status: StatusCode) -> Self {
        crate::error_page::page(status).stock()
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
