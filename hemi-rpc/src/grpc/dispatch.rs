//! A request that is a call: to its service, and the answer back, in whatever form it came.

use std::time::Duration;

use hemi_proto::grpc::show_timeout;
use hemi_proto::rpcx::CodecId;
use hemi_web::{Body, Request, Response};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method as HttpMethod, StatusCode};
use tonic::codec::SingleMessageCompressionOverride;
use tonic::{Code, Status};

use super::called::{Counters, TimeLimit, answer};
use super::coding::{ACCEPTED, Coding};
use super::form::{Carrier, Form, GRPC_TIMEOUT, JSON};
use super::json::{Method, Shape};
use super::messages::{Messages, Want, framed};
use super::replies::{Packing, Replies, Whole, code_of, trailers_of};
use super::rest::Route;
use super::service::GrpcService;
use super::services::GrpcServices;
use super::{connect, rest};

/// A call that is worth asking its service.
pub(super) struct Dispatch<'a> {
    pub(super) services: &'a GrpcServices,
    pub(super) service: &'a GrpcService,
    pub(super) form: &'a Form,
    /// What is known of the method, if anything is.
    pub(super) method: Option<&'a Method>,
    /// There if it is asked for by plain HTTP.
    pub(super) route: Option<&'a Route>,
}

impl Dispatch<'_> {
    /// Has the service answer.
    pub(super) async fn answer(&self, req: &mut Request) -> Response {
        let mut waits = Waits(Some(&self.services.counters));
        let answered = self.try_answer(req, &mut waits).await;
        waits.over();
        match answered {
            Ok(response) => response,
            Err(status) => {
                self.services.counters.ended(status.code());
                let mut response = failed(self.form, &trailers_of(&status), HeaderMap::new());
                if status.code() == Code::Unimplemented {
                    response.headers_mut().insert(self.form.accept_field(), ACCEPTED);
                }
                response
            }
        }
    }

    async fn try_answer(
        &self,
        req: &mut Request,
        waits: &mut Waits<'_>,
    ) -> Result<Response, Status> {
        let (form, limits) = (self.form, &self.services.limits);
        let coding = Coding::named(req.field(&form.encoding_field()))?;
        let timeout = form.timeout(req)?;
        let mut time = TimeLimit::new(shorter(timeout, limits.call_timeout));
        let packs = limits.compress_replies || coding != Coding::Identity;
        let mut replies = if packs && form.carrier != Carrier::Rest {
            Coding::accepted(req.field(&form.accept_field()))
        } else {
            Coding::Identity
        };
        let request = match self.route {
            None => self.translate(req, coding, timeout)?,
            Some(route) => {
                let message = route.message(req, coding, self.most()).await?;
                req.set_body(Body::from(message));
                self.translate(req, Coding::Identity, timeout)?
            }
        };
        let counters = &self.services.counters;
        let answer = answer(self.service.call(request), &mut time, counters).await;
        let (mut parts, body) = answer.into_parts();
        if parts.extensions.get() == Some(&SingleMessageCompressionOverride::Disable) {
            replies = Coding::Identity;
        }
        if parts.headers.contains_key(Status::GRPC_STATUS) {
            counters.ended(code_of(&parts.headers));
            let (status, headers) = apart(parts.headers);
            return Ok(failed(form, &status, headers));
        }
        let shape = match self.route {
            Some(route) => route.shape(),
            None => self.json().map(|method| Shape::Whole(method.output.clone())),
        };
        let packing = Packing::new(replies, shape);
        let more = parts.extensions.remove();
        waits.over();
        let replies_of = Replies::new(body, form.carrier, packing, more, time, counters.clone());
        let mut headers = parts.headers;
        headers.insert(CONTENT_TYPE, form.media_type.clone());
        let gives_one =
            self.route.is_some_and(|_| self.method.is_some_and(|method| method.gives_one));
        if form.carrier == Carrier::Unary || gives_one {
            let answer = unary(form, replies, headers, replies_of.whole().await);
            return match self.route {
                Some(route) => route.finish(answer),
                None => Ok(answer),
            };
        }
        if replies != Coding::Identity {
            headers.insert(form.encoding_field(), replies.name());
        }
        let mut response = Response::new(StatusCode::OK);
        *response.headers_mut() = headers;
        Ok(response.with_body(Body::stream(replies_of)))
    }

    /// What the method takes and gives back, if messages are to be made of JSON.
    fn json(&self) -> Option<&Method> {
        self.method.filter(|_| self.form.json && self.route.is_none())
    }

    /// Bytes that a message may have.
    fn most(&self) -> usize {
        usize::try_from(self.services.limits.max_message_size.0).unwrap_or(usize::MAX)
    }

    /// The request as services take it.
    fn translate(
        &self,
        req: &mut Request,
        coding: Coding,
        timeout: Option<Duration>,
    ) -> Result<http::Request<Messages>, Status> {
        let uri = req.uri().map_err(|e| Status::internal(e.to_string()))?;
        let want = Want {
            coding,
            json: self.json().map(|method| method.input.clone()),
            most: if self.route.is_some() { usize::MAX } else { self.most() },
            one: self.method.is_some_and(|method| method.takes_one),
            drains: req.version() < http::Version::HTTP_2,
        };
        let messages = Messages::new(req.take_body(), self.form.carrier, want);
        let mut translated = http::Request::new(messages);
        *translated.method_mut() = HttpMethod::POST;
        *translated.uri_mut() = self.route.map_or(uri, Route::uri);
        *translated.version_mut() = req.version();
        let mut headers = req.to_headers();
        self.form.strip(&mut headers);
        if let Some(Ok(text)) = timeout.map(|timeout| HeaderValue::try_from(show_timeout(timeout)))
        {
            headers.insert(GRPC_TIMEOUT, text);
        }
        *translated.headers_mut() = headers;
        let mut extensions = req.extensions().clone();
        extensions.insert(req.peer());
        if req.method() == HttpMethod::GET {
            // The query may be of interest.
            extensions.insert(translated.uri().clone());
        }
        if self.form.json && self.method.is_none() {
            extensions.insert(CodecId::JSON);
        }
        *translated.extensions_mut() = extensions;
        Ok(translated)
    }
}

/// The sooner end; 0s is none.
/// A caller that waits for its service to begin to answer: who hangs up before has cancelled the call.
struct Waits<'a>(Option<&'a Counters>);

impl Waits<'_> {
    /// What becomes of the call is somebody else's to count now.
    fn over(&mut self) {
        self.0 = None;
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if let Some(counters) = self.0 {
            counters.ended(Code::Cancelled);
        }
    }
}

fn shorter(timeout: Option<Duration>, most: Duration) -> Option<Duration> {
    let most = Some(most).filter(|most| !most.is_zero());
    timeout.into_iter().chain(most).min()
}

/// What the call has come to, and what else stands in the head of an answer without messages.
fn apart(headers: HeaderMap) -> (HeaderMap, HeaderMap) {
    let (mut status, mut others) = (HeaderMap::new(), HeaderMap::new());
    let mut last: Option<HeaderName> = None;
    for (name, value) in headers {
        last = name.or(last);
        let Some(name) = &last else { continue };
        let to = if connect::is_status(name.as_str()) { &mut status } else { &mut others };
        to.append(name.clone(), value);
    }
    (status, others)
}

/// Says that a call has come to nothing.
pub(super) fn failed(form: &Form, trailers: &HeaderMap, mut headers: HeaderMap) -> Response {
    headers.remove(http::header::CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, form.media_type.clone());
    let mut response = Response::new(StatusCode::OK);
    let content = match form.carrier {
        Carrier::Grpc | Carrier::Web | Carrier::WebText => {
            headers.extend(trailers.clone());
            Body::empty()
        }
        Carrier::Stream => framed(0x02, &connect::end(trailers)).into(),
        Carrier::Unary => {
            response = Response::new(connect::http_status(code_of(trailers)));
            headers.insert(CONTENT_TYPE, JSON);
            connect::error(trailers).to_string().into()
        }
        Carrier::Rest => {
            response = Response::new(connect::http_status(code_of(trailers)));
            rest::error(trailers).to_string().into()
        }
    };
    *response.headers_mut() = headers;
    response.with_body(content)
}

/// The answer to a plain request.
fn unary(form: &Form, coding: Coding, mut headers: HeaderMap, whole: Whole) -> Response {
    let Whole { message, trailers } = whole;
    let (status, trailers) = apart(trailers);
    for (name, value) in &trailers {
        if let Ok(name) = HeaderName::try_from(format!("trailer-{name}")) {
            headers.append(name, value.clone());
        }
    }
    let code = code_of(&status);
    let Some((packed, message)) = message.filter(|_| code == Code::Ok) else {
        if code != Code::Ok {
            return failed(form, &status, headers);
        }
        let status = trailers_of(&Status::unimplemented("the method has given no answer"));
        return failed(form, &status, headers);
    };
    if packed {
        headers.insert(CONTENT_ENCODING, coding.name());
    }
    let mut response = Response::new(StatusCode::OK);
    *response.headers_mut() = headers;
    response.with_body(message)
}
