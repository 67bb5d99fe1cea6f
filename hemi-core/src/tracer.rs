//! The kind `tracer`: takes spans, which tell what was done for a request, and when.
//!
//! All spans of one request belong to a *trace*, which may have begun in another service, and may go on in
//! others: see [`Span::traceparent`].

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::{NonZeroU64, NonZeroU128};
use std::sync::Arc;
use std::time::SystemTime;

use hemi_proto::traceparent::parse_traceparent;

use crate::config::KindName;
use crate::{Component, Kind, Lifecycle, Parts, Place, Rank, Registry, Result, clock};

/// Attributes of a span, at most; others are dropped, and counted.
const MAX_ATTRIBUTES: usize = 64;

/// Bytes of a text in a span, at most; the rest is cut off.
const MAX_TEXT: usize = 1 << 10;

/// Bytes of the field `tracestate`, at most: a longer one is not passed on (W3C Trace Context, 3.3.1.5).
const MAX_STATE: usize = 512;

/// The kind of tracers. Others refer to one by its name.
#[derive(Debug)]
pub struct TracerKind;

impl KindName for TracerKind {
    const NAME: &'static str = "tracer";
}

impl Kind for TracerKind {
    type Object = dyn Tracer;
    const RANK: Rank = Rank::LOGGER;
    const PLACE: Place = Place::Referred;
}

/// Puts spans somewhere.
pub trait Tracer: Send + Sync {
    /// Whether a trace that begins here is recorded.
    fn samples(&self, trace: TraceId) -> bool;

    /// Takes a span that has ended. Never waits: what can't be kept is dropped, and counted.
    fn take(&self, span: Ended);

    /// Spans dropped so far.
    fn dropped(&self) -> u64;
}

/// Tells a trace from all others; shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(NonZeroU128);

/// Tells a span from all others of its trace; shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(NonZeroU64);

impl TraceId {
    fn random() -> Self {
        let number = u128::from(random()) << 64 | u128::from(random());
        Self(NonZeroU128::new(number).unwrap_or(NonZeroU128::MIN))
    }

    /// As bytes, the most significant first.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }
}

impl SpanId {
    fn random() -> Self {
        Self(NonZeroU64::new(random()).unwrap_or(NonZeroU64::MIN))
    }

    /// As bytes, the most significant first.
    #[must_use]
    pub fn bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// xoroshiro128+: a sequence per thread, of a length that two threads of all times do not meet in.
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<[u64; 2]> = const { Cell::new([0; 2]) };
    }
    let [a, mut b] = match STATE.get() {
        // The hash of nothing, with keys that the system has chosen.
        [0, 0] => [(); 2].map(|()| RandomState::new().hash_one(()) | 1),
        state => state,
    };
    let number = a.wrapping_add(b);
    b ^= a;
    STATE.set([a.rotate_left(24) ^ b ^ (b << 16), b.rotate_left(37)]);
    number
}

/// Which span of another service a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    trace: TraceId,
    span: SpanId,
    sampled: bool,
    state: Option<Arc<str>>,
}

impl Remote {
    /// Reads the fields `traceparent` and `tracestate`, the latter as one line; none if the first is to be
    /// ignored.
    #[must_use]
    pub fn parse(traceparent: &[u8], tracestate: &str) -> Option<Self> {
        let parent = parse_traceparent(traceparent)?;
        let trace = u128::from_str_radix(parent.trace_id, 16).ok().and_then(NonZeroU128::new)?;
        let span = u64::from_str_radix(parent.span_id, 16).ok().and_then(NonZeroU64::new)?;
        let passed_on = !tracestate.is_empty() && tracestate.len() <= MAX_STATE;
        let state = passed_on.then(|| tracestate.into());
        Some(Self { trace: TraceId(trace), span: SpanId(span), sampled: parent.sampled, state })
    }
}

/// What a span is in relation to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Something inside.
    Internal,
    /// A request that was answered.
    Server,
    /// A request that was made.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Int(i64),
    /// Any number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

/// A span that has begun. It ends when it is dropped.
pub struct Span {
    tracer: Arc<dyn Tracer>,
    trace: TraceId,
    id: SpanId,
    state: Option<Arc<str>>,
    /// What is told of it; none if its trace is not recorded.
    told: Option<Box<Ended>>,
}

/// A span that has ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Ended {
    /// Its trace.
    pub trace: TraceId,
    /// Itself.
    pub id: SpanId,
    /// The span it was made for.
    pub parent: Option<SpanId>,
    /// What other services have noted about the trace, as the field `tracestate` has it.
    pub state: Option<Arc<str>>,
    /// What it is in relation to others.
    pub kind: SpanKind,
    /// What was done.
    pub name: Cow<'static, str>,
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// What there is to know besides.
    pub attributes: Vec<(Cow<'static, str>, Value)>,
    /// How many attributes there were besides.
    pub dropped_attributes: u32,
    /// Why it failed, if it did; may be empty.
    pub failure: Option<Cow<'static, str>>,
}

impl Span {
    /// Begins the span of a request: in the trace that it comes from, recorded if that is, else in a new
    /// one, recorded if the tracer samples it.
    #[must_use]
    pub fn begin(
        tracer: &Arc<dyn Tracer>,
        from: Option<Remote>,
        name: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (trace, parent, sampled, state) = match from {
            Some(Remote { trace, span, sampled, state }) => (trace, Some(span), sampled, state),
            None => {
                let trace = TraceId::random();
                (trace, None, tracer.samples(trace), None)
            }
        };
        let outer = Outer { tracer, trace, parent, state: state.as_ref(), sampled };
        outer.begin(SpanKind::Server, || name.into())
    }

    /// Begins a span for something that is done for this one.
    #[must_use]
    pub fn start(&self, name: impl Into<Cow<'static, str>>) -> Self {
        self.as_outer().begin(SpanKind::Internal, || name.into())
    }

    /// Begins a span for a request that is made for this one: to be sent on with that span's
    /// [`Span::traceparent`].
    #[must_use]
    pub fn start_client(&self, name: impl Into<Cow<'static, str>>) -> Self {
        self.as_outer().begin(SpanKind::Client, || name.into())
    }

    fn as_outer(&self) -> Outer<'_> {
        Outer {
            tracer: &self.tracer,
            trace: self.trace,
            parent: Some(self.id),
            state: self.state.as_ref(),
            sampled: self.is_recorded(),
        }
    }

    /// Whether anybody will see it. If not, what it is told is forgotten at once.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.told.is_some()
    }

    /// The trace.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.trace
    }

    /// Itself.
    #[must_use]
    pub fn id(&self) -> SpanId {
        self.id
    }

    /// The value of the field `traceparent` for requests that are made for it (W3C Trace Context, 3.2).
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace, self.id, u8::from(self.is_recorded()))
    }

    /// The value of the field `tracestate` that goes with it, if there is one.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Gives it an attribute, in the place of one of that name. There are 64 at most, and of a text
    /// 1 KiB is kept.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let Some(told) = &mut self.told else { return };
        let name = name.into();
        let value = match value.into() {
            Value::Text(text) => Value::Text(cut(text)),
            value => value,
        };
        match told.attributes.iter().position(|(known, _)| *known == name) {
            Some(at) => told.attributes[at].1 = value,
            None if told.attributes.len() < MAX_ATTRIBUTES => told.attributes.push((name, value)),
            None => told.dropped_attributes += 1,
        }
    }

    /// Gives it another name.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(told) = &mut self.told {
            told.name = cut(name.into());
        }
    }

    /// Says that it has failed, and why; empty if there is no more to say than the attributes do.
    pub fn fail(&mut self, why: impl Into<Cow<'static, str>>) {
        if let Some(told) = &mut self.told {
            told.failure = Some(cut(why.into()));
        }
    }

    /// Ends it now.
    pub fn end(self) {}
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(mut told) = self.told.take() {
            // The calendar may have been set back meanwhile.
            told.ended = clock::exact_calendar().max(told.began);
            self.tracer.take(*told);
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.traceparent()).finish()
    }
}

/// What a span begins in.
struct Outer<'a> {
    tracer: &'a Arc<dyn Tracer>,
    trace: TraceId,
    parent: Option<SpanId>,
    state: Option<&'a Arc<str>>,
    sampled: bool,
}

impl Outer<'_> {
    fn begin(self, kind: SpanKind, name: impl FnOnce() -> Cow<'static, str>) -> Span {
        let id = SpanId::random();
        let told = self.sampled.then(|| {
            let began = clock::exact_calendar();
            Box::new(Ended {
                trace: self.trace,
                id,
                parent: self.parent,
                state: self.state.cloned(),
                kind,
                name: cut(name()),
                began,
                ended: began,
                attributes: Vec::new(),
                dropped_attributes: 0,
                failure: None,
            })
        });
        let (tracer, state) = (self.tracer.clone(), self.state.cloned());
        Span { tracer, trace: self.trace, id, state, told }
    }
}

/// The beginning of a text, if it is too long.
fn cut(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= MAX_TEXT {
        text
    } else {
        text[..text.floor_char_boundary(MAX_TEXT)].to_owned().into()
    }
}

impl Parts {
    /// Adds a tracer to a stage that is built in code.
    ///
    /// # Errors
    /// When the stage has a tracer of that name.
    pub fn tracer<T: Tracer + Lifecycle>(&mut self, name: &str, tracer: T) -> Result<Arc<T>> {
        let tracer = Arc::new(tracer);
        self.add::<TracerKind>(name, tracer.clone(), tracer.clone())?;
        Ok(tracer)
    }
}

/// Registers tracers.
pub trait TracerRegistry {
    /// Adds a tracer.
    fn tracer<T: Tracer + Component>(&mut self) -> &mut Self;
}

impl TracerRegistry for Registry {
    fn tracer<T: Tracer + Component>(&mut self) -> &mut Self {
        self.add::<TracerKind, T>(|tracer: Arc<T>| tracer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;

    use super::*;

    /// Samples all, and keeps it.
    #[derive(Default)]
    struct Keeps(Mutex<Vec<Ended>>);

    impl Tracer for Keeps {
        fn samples(&self, _: TraceId) -> bool {
            true
        }

        fn take(&self, span: Ended) {
            self.0.lock().unwrap().push(span);
        }

        fn dropped(&self) -> u64 {
            0
        }
    }

    #[test]
    fn ids_differ() {
        let ids: HashSet<_> = (0..10_000).map(|_| TraceId::random()).collect();
        let others = std::thread::spawn(|| (0..10_000).map(|_| TraceId::random()).collect());
        let others: HashSet<_> = others.join().unwrap();
        assert_eq!((ids.len(), others.len()), (10_000, 10_000));
        assert!(ids.is_disjoint(&others));
    }

    #[test]
    fn spans_stay_in_their_trace_and_are_bounded() {
        let keeps = Arc::new(Keeps::default());
        let tracer: Arc<dyn Tracer> = keeps.clone();
        let traceparent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let remote = Remote::parse(traceparent, "a=1,b=2");
        let outer = Span::begin(&tracer, remote, "outer");
        let mut inner = outer.start_client("é".repeat(1000));
        for number in 0..70 {
            inner.set(format!("a{number}"), number);
        }
        inner.set("a0", "x".repeat(2000));
        inner.fail("because");
        assert_eq!(inner.tracestate(), Some("a=1,b=2"));
        assert!(inner.traceparent().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(inner.traceparent().ends_with("-01"));
        inner.end();
        let (inner, outer_id) = (keeps.0.lock().unwrap().remove(0), outer.id());
        drop(outer);
        let outer = keeps.0.lock().unwrap().remove(0);
        assert_eq!((inner.parent, inner.kind), (Some(outer_id), SpanKind::Client));
        assert_eq!(outer.parent.unwrap().to_string(), "00f067aa0ba902b7");
        assert_eq!((inner.attributes.len(), inner.dropped_attributes), (64, 6));
        assert_eq!(inner.attributes[0].1, Value::from("x".repeat(1024)));
        assert_eq!(inner.name.len(), 1024);
        assert_eq!(inner.failure.as_deref(), Some("because"));
        assert!(outer.began <= inner.began && inner.ended <= outer.ended);
    }

    #[test]
    fn what_is_not_recorded_passes_on_its_trace_and_tells_nothing() {
        let keeps = Arc::new(Keeps::default());
        let tracer: Arc<dyn Tracer> = keeps.clone();
        let traceparent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let long = "x".repeat(600);
        let mut span = Span::begin(&tracer, Remote::parse(traceparent, &long), "outer");
        span.set("a", true);
        assert_eq!((span.is_recorded(), span.tracestate()), (false, None));
        let inner = span.start("inner").traceparent();
        assert!(
            inner.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && inner.ends_with("-00")
        );
        drop(span);
        assert!(keeps.0.lock().unwrap().is_empty());
    }
}
