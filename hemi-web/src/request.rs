//! A request, as rules, handlets and revisers see it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hemi_core::listen::Peer;
use hemi_core::tls::TlsInfo;
use hemi_core::tracer::Span;
use hemi_proto::authority::Authority;
use hemi_proto::http1::{RequestHead, Target};
use hemi_proto::path::{EncodedSeparators, PathError, is_dot_segment, normalize};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderName, UPGRADE};
use http::{Extensions, HeaderMap, Method, StatusCode, Uri, Version};

use crate::body::Body;
use crate::notes::{Hook, Notes, RequestId, ShownId};
use crate::session::{Session, Sessions};
use crate::{Interim, Response};

/// A request: its head as typed values, its content as it arrives.
#[derive(Debug)]
pub struct Request {
    head: RequestHead,
    /// The path decoded and normalised, if that changes it.
    path: Option<Box<str>>,
    body: Body,
    peer: Peer,
    tls: Option<Arc<TlsInfo>>,
    id: RequestId,
    extensions: Extensions,
    /// What only some requests have.
    notes: Option<Box<Notes>>,
    /// Answers on the way to the answer; there once a handlet has had to wait.
    interim: Option<Interim>,
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// Not a path and query that a request may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a path and query that a request may have")]
pub struct BadTarget;

/// Bytes of a path and query that a request is given, at most.
const MAX_TARGET: usize = 64 << 10;

/// So often the rules of a webapp are asked about one request from the start again.
const MAX_ROUNDS: u8 = 10;

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
    pub(crate) fn awaited(peer: Peer, tls: Option<Arc<TlsInfo>>) -> Self {
        Self {
            head: RequestHead::default(),
            path: None,
            body: Body::empty(),
            peer,
            tls,
            id: RequestId::of_connection(),
            extensions: Extensions::new(),
            notes: None,
            interim: None,
        }
    }

    /// Another request of the same connection, which has not come yet.
    pub(crate) fn sibling(&self) -> Self {
        Self { id: self.id, ..Self::awaited(self.peer, self.tls.clone()) }
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
        self.id.next();
        self.path = None;
        self.path = decode(&self.head.target).map_err(|_| StatusCode::BAD_REQUEST)?;
        Ok(())
    }

    /// Knows nothing of a request whose head can't be read: not what the one before it was for.
    pub(crate) fn unread(&mut self) {
        self.head.clear();
        self.head.authority = None;
        self.path = None;
        self.id.next();
    }

    /// Makes room for the next request.
    pub(crate) fn end(&mut self) {
        self.head.clear();
        self.body.clear();
        self.extensions.clear();
        if self.notes.is_some() {
            self.notes = None;
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

    /// The path, encoded: as it was sent, or given by [`Request::set_target`].
    #[must_use]
    pub fn raw_path(&self) -> &str {
        self.head.target.path()
    }

    /// The query, encoded and without the `?`: as it was sent, or given by [`Request::set_target`].
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.head.target.query()
    }

    /// Path and query, encoded: as they were sent, or given by [`Request::set_target`].
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        self.head.target.path_and_query()
    }

    /// Path and query as they were sent, whatever the request was given since.
    #[must_use]
    pub fn sent_uri(&self) -> &str {
        let sent = self.notes.as_ref().and_then(|notes| notes.sent.as_ref());
        sent.unwrap_or(&self.head.target).path_and_query()
    }

    /// Gives the request another path and query, encoded as they would be sent; see [`Reply::Again`] for
    /// when rules are to be asked about it anew.
    ///
    /// [`Reply::Again`]: crate::Reply::Again
    ///
    /// # Errors
    /// When it does not start with `/`, has a byte or escape that no target has, or a `.` or `..`
    /// segment, encoded or not, or is longer than 64 KiB.
    pub fn set_target(&mut self, path_and_query: impl Into<Bytes>) -> Result<(), BadTarget> {
        let text = path_and_query.into();
        if text.len() > MAX_TARGET || text.first() != Some(&b'/') {
            return Err(BadTarget);
        }
        let (target, _) = Target::parse(&Method::GET, text).map_err(|_| BadTarget)?;
        if target.path().split('/').any(is_dot_segment) {
            return Err(BadTarget);
        }
        self.path = decode(&target)?;
        let sent = std::mem::replace(&mut self.head.target, target);
        self.notes().sent.get_or_insert(sent);
        Ok(())
    }

    /// Has the request be for another path and query, because a program that was asked said so and not the
    /// client: a GET, or a HEAD if it was one, without content. `$internal` is `1` from now on.
    ///
    /// # Errors
    /// As [`Request::set_target`].
    pub fn redirect_within(&mut self, path_and_query: impl Into<Bytes>) -> Result<(), BadTarget> {
        self.set_target(path_and_query)?;
        if self.head.method != Method::HEAD {
            self.head.method = Method::GET;
        }
        self.body = Body::empty();
        for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, EXPECT, UPGRADE] {
            self.head.headers.remove(name);
        }
        self.head.upgrade = false;
        self.notes().internal = true;
        Ok(())
    }

    /// Whether a program has said what the request is for now: see [`Request::redirect_within`].
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.notes.as_ref().is_some_and(|notes| notes.internal)
    }

    /// Whether a handlet sees the request for the first time, not again after [`Reply::Again`]: for those
    /// that count requests, or add something to them. Asking is what counts as seeing.
    ///
    /// [`Reply::Again`]: crate::Reply::Again
    pub fn is_new_to<H>(&mut self, handlet: &H) -> bool {
        let handlet = std::ptr::from_ref(handlet).addr();
        let seen_by = &mut self.notes().seen_by;
        let is_new = !seen_by.contains(&handlet);
        if is_new {
            seen_by.push(handlet);
        }
        is_new
    }

    /// Counts how often rules are asked from the start again; false if it was too often.
    pub(crate) fn begins_again(&mut self) -> bool {
        let notes = self.notes();
        notes.rounds += 1;
        notes.rounds <= MAX_ROUNDS
    }

    /// Path and query as a [`Uri`].
    ///
    /// # Errors
    /// When it has bytes that the `http` crate does not take in a URI.
    pub fn uri(&self) -> Result<Uri, http::uri::InvalidUri> {
        Uri::from_maybe_shared(self.head.target.path_and_query_bytes())
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
        if self.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }

    /// What is known of the TLS connection that it came by, if it did.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }

    /// The fields, in a map that is made when it is first asked for; see also [`Request::field`].
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
        let value = std::str::from_utf8(self.head.headers.first(name)?).ok()?;
        value.bytes().all(|b| b == b'\t' || b.is_ascii_graphic() || b == b' ').then_some(value)
    }

    /// The value of a field, of several the first: for those who look for a few only, and need no map.
    #[must_use]
    pub fn field(&self, name: &HeaderName) -> Option<&[u8]> {
        self.head.headers.first(name)
    }

    /// Whether there is such a field, by the same way.
    #[must_use]
    pub fn has_field(&self, name: &HeaderName) -> bool {
        self.head.headers.has(name)
    }

    /// Name and value of each field, by the same way. A name may have letters in upper case.
    pub fn field_lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.head.headers.lines()
    }

    /// The values of all fields of this name, by the same way.
    pub fn field_values<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.head.headers.all(name)
    }

    /// The fields in a map of its own, for who passes the request on.
    #[must_use]
    pub fn to_headers(&self) -> HeaderMap {
        self.head.headers.to_map()
    }

    /// The content, to be read.
    pub fn body(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Takes the content, for instance to stream it on.
    pub fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.body)
    }

    /// Gives the request its content, for instance what a reviser has made of it.
    pub fn set_body(&mut self, body: Body) {
        self.body = body;
    }

    /// The other end of the connection.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    pub(crate) fn set_peer(&mut self, peer: Peer) {
        self.peer = peer;
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

    /// Tells this request from all others: the id that [`Request::set_id`] gave it, else one made of the
    /// process, the connection and the request's number on it.
    #[must_use]
    pub fn id(&self) -> Cow<'_, str> {
        match self.notes.as_ref().and_then(|notes| notes.id.as_deref()) {
            Some(id) => id.into(),
            None => self.id.to_string().into(),
        }
    }

    /// The same to be shown, maybe: costs nothing until then.
    #[must_use]
    pub fn show_id(&self) -> ShownId<'_> {
        let given = self.notes.as_ref().and_then(|notes| notes.id.as_deref());
        ShownId { given, own: self.id }
    }

    /// Appends the same to `text`.
    pub(crate) fn put_id(&self, text: &mut Vec<u8>) {
        match self.notes.as_ref().and_then(|notes| notes.id.as_deref()) {
            Some(id) => text.extend_from_slice(id.as_bytes()),
            None => self.id.put(text),
        }
    }

    /// Gives the request another id, such as the one it came with.
    pub fn set_id(&mut self, id: impl Into<Box<str>>) {
        self.notes().id = Some(id.into());
    }

    /// Who the client is, if a handlet has found out.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.notes.as_ref()?.user.as_deref()
    }

    /// Says who the client is: for those that come after, and for the log.
    pub fn set_user(&mut self, user: impl Into<Box<str>>) {
        self.notes().user = Some(user.into());
    }

    /// The span of the request, if its webapp has a tracer: to begin others in it, and to pass its trace on
    /// to other services. What is to go with it there besides is in the field `baggage`.
    ///
    /// ```
    /// # async fn fetch(_: String) {}
    /// async fn page(req: &mut hemi_web::Request) {
    ///     let span = req.trace().map(|trace| trace.start_client("fetch the page"));
    ///     fetch(span.as_ref().map_or_else(String::new, |span| span.traceparent())).await;
    ///     // It ends here.
    /// }
    /// ```
    #[must_use]
    pub fn trace(&self) -> Option<&Span> {
        self.notes.as_ref()?.span.as_ref()
    }

    /// The same, to be told more.
    pub fn trace_mut(&mut self) -> Option<&mut Span> {
        self.notes.as_mut()?.span.as_mut()
    }

    pub(crate) fn set_trace(&mut self, span: Span) {
        self.notes().span = Some(span);
    }

    pub(crate) fn take_trace(&mut self) -> Option<Span> {
        self.notes.as_mut()?.span.take()
    }

    /// Has the response changed before it is sent, whoever makes it: the page of a 404 or of a panic
    /// too. Changes are made in the order they were asked for.
    pub fn revise(&mut self, change: impl FnOnce(&mut Response) + Send + 'static) {
        self.notes().hooks.push(Hook(Box::new(change)));
    }

    /// Takes what [`Request::revise`] asked for.
    pub(crate) fn take_hooks(&mut self) -> Vec<Hook> {
        self.notes.as_mut().map(|notes| std::mem::take(&mut notes.hooks)).unwrap_or_default()
    }

    /// Sends 103 Early Hints with these fields, `link` most often, while the answer is still made
    /// (RFC 8297). False if the client would not understand it, or has been sent too many.
    pub fn early_hints(&self, fields: HeaderMap) -> bool {
        self.interim.as_ref().is_some_and(|interim| interim.push(fields))
    }

    /// Where [`Request::early_hints`] go, for who passes on those of others; none if the client would not
    /// understand them.
    #[must_use]
    pub fn hints(&self) -> Option<&Interim> {
        self.interim.as_ref().filter(|_| self.head.version > Version::HTTP_10)
    }

    /// Where the connection finds what [`Request::early_hints`] leaves.
    pub(crate) fn interim(&mut self) -> Option<Interim> {
        // HTTP/1.0 knows no such answers (RFC 9110, 15.2).
        let knows = self.head.version > Version::HTTP_10;
        knows.then(|| self.interim.get_or_insert_default().clone())
    }

    /// Gives the request the sessions of its webapp.
    pub(crate) fn set_sessions(&mut self, sessions: Sessions) {
        self.notes().sessions = Some(sessions);
    }

    pub(crate) fn sessions(&self) -> Option<&Sessions> {
        self.notes.as_ref()?.sessions.as_ref()
    }

    /// Keeps the client's session, to be saved in the end.
    pub(crate) fn set_session(&mut self, session: Session) {
        self.notes().session = Some(session);
    }

    /// The client's session, if it was asked for.
    pub(crate) fn open_session(&self) -> Option<&Session> {
        self.notes.as_ref()?.session.as_ref()
    }

    /// Whether nothing was left for those after, who would have to see the answer.
    pub(crate) fn is_plain(&self) -> bool {
        self.notes.is_none()
    }

    fn notes(&mut self) -> &mut Notes {
        self.notes.get_or_insert_default()
    }

    /// What revisers and handlets leave for those after them.
    pub fn extensions(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}

/// The path of a target decoded and normalised, if that changes it.
fn decode(target: &Target) -> Result<Option<Box<str>>, BadTarget> {
    if target.has_normal_path() {
        return Ok(None);
    }
    match normalize(target.raw_path(), EncodedSeparators::Keep) {
        Ok(Cow::Borrowed(_)) => Ok(None),
        Ok(Cow::Owned(path)) => match String::from_utf8(path) {
            Ok(path) => Ok(Some(path.into())),
            Err(_) => Err(BadTarget),
        },
        // As the target of CONNECT, or of OPTIONS for the whole server.
        Err(PathError::NotAbsolute) => Ok(None),
        Err(_) => Err(BadTarget),
    }
}
