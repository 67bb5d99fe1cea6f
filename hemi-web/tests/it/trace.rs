//! Spans of requests, and what handlets do with them.

use std::sync::{Arc, Mutex};

use hemi_core::tracer::{Ended, SpanKind, TraceId, Tracer, Value};
use hemi_web::testing::{Answer, Client};
use hemi_web::{Extract, Mapper, Matched, Path, Request, Rule, Webapp};
use http::StatusCode;

/// Samples all traces, or none, and keeps what it is told.
#[derive(Default)]
struct Keeps {
    all: bool,
    spans: Mutex<Vec<Ended>>,
}

impl Tracer for Keeps {
    fn samples(&self, _: TraceId) -> bool {
        self.all
    }

    fn take(&self, span: Ended) {
        self.spans.lock().unwrap().push(span);
    }

    fn dropped(&self) -> u64 {
        0
    }
}

/// What is sent on to another service.
struct SentOn(String);

impl<S: Send + Sync> Extract<S> for SentOn {
    type Error = StatusCode;

    async fn extract(req: &mut Request, _: &Matched<'_, S>) -> Result<Self, StatusCode> {
        let trace = req.trace().ok_or(StatusCode::NOT_IMPLEMENTED)?;
        let mut query = trace.start_client("query");
        query.set("db.rows", 3);
        let state = query.tracestate().unwrap_or("-");
        Ok(Self(format!("{} {state}", query.traceparent())))
    }
}

async fn item(Path(id): Path<u32>, SentOn(sent_on): SentOn) -> Result<String, StatusCode> {
    if id == 0 { Err(StatusCode::BAD_GATEWAY) } else { Ok(sent_on) }
}

fn asked(all: bool, target: &str, fields: &[(&str, &str)]) -> (Answer, Vec<Ended>) {
    let keeps = Arc::new(Keeps { all, ..Keeps::default() });
    let mapper = Mapper::new().get("/items/{id}", item);
    let webapp = Webapp::new("shop").traced_by(keeps.clone());
    let client = Client::new(webapp.rule(Rule::new().handlet(mapper)));
    let mut ask = client.get(target);
    for (name, value) in fields {
        ask = ask.header(name, value);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = runtime.block_on(ask.send());
    let spans = std::mem::take(&mut *keeps.spans.lock().unwrap());
    (answer, spans)
}

fn attribute(span: &Ended, name: &str) -> Option<Value> {
    span.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn traces_go_on_through_a_handlet() {
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let fields = [("traceparent", &*traceparent), ("tracestate", "a=1"), ("tracestate", "b=2")];
    // Nobody samples here, but the trace that it comes from is recorded.
    let (answer, spans) = asked(false, "/items/7", &fields);
    let [query, request] = &spans[..] else { panic!("{spans:?}") };
    let sent_on = format!("00-{TRACE}-{}-01 a=1,b=2", query.id);
    assert_eq!(answer.text(), sent_on);
    assert_eq!((query.parent, query.kind), (Some(request.id), SpanKind::Client));
    assert_eq!(attribute(query, "db.rows"), Some(Value::Int(3)));
    assert_eq!(request.parent.unwrap().to_string(), "00f067aa0ba902b7");
    assert_eq!((request.kind, &*request.name), (SpanKind::Server, "GET /items/{id}"));
    for (name, value) in [
        ("http.request.method", Value::from("GET")),
        ("http.route", Value::from("/items/{id}")),
        ("http.response.status_code", Value::Int(200)),
        ("url.path", Value::from("/items/7")),
        ("url.scheme", Value::from("http")),
        ("server.address", Value::from("test")),
        ("client.address", Value::from("127.0.0.1")),
        ("network.protocol.version", Value::from("1.1")),
    ] {
        assert_eq!(attribute(request, name), Some(value), "{name}");
    }
    assert_eq!(request.failure, None);
}

#[test]
fn what_is_not_sampled_is_not_told_but_passed_on() {
    let (answer, spans) = asked(false, "/items/7", &[]);
    assert!(answer.text().ends_with("-00 -"), "{}", answer.text());
    assert_eq!(spans, []);
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-00");
    let (answer, spans) = asked(true, "/items/7", &[("traceparent", &traceparent)]);
    assert!(answer.text().starts_with(&format!("00-{TRACE}-")), "{}", answer.text());
    assert_eq!(spans, []);
}

#[test]
fn faults_of_this_side_are_failures() {
    for (target, status, failed) in
        [("/items/0", 502, true), ("/items/x", 400, false), ("/no", 404, false)]
    {
        let (answer, spans) = asked(true, target, &[("user-agent", "me")]);
        assert_eq!(answer.status(), status, "{target}");
        let request = spans.last().unwrap();
        assert_eq!((request.parent, request.failure.is_some()), (None, failed), "{target}");
        let told = attribute(request, "http.response.status_code");
        assert_eq!(told, Some(Value::Int(status.into())), "{target}");
        assert_eq!(attribute(request, "error.type").is_some(), failed, "{target}");
        assert_eq!(attribute(request, "user_agent.original"), Some(Value::from("me")));
    }
}
