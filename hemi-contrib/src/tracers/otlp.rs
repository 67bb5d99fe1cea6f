//! The tracer `otlpTracer`: spans for a collector of OpenTelemetry, by OTLP over HTTP.
//!
//! ```gorox
//! stage {
//! 	otlpTracer "traces" {
//! 		.endpoint = "http://127.0.0.1:4318/v1/traces"
//! 		.serviceName = "shop"
//! 		.sample = 10
//! 	}
//! 	webapp "site" { .hostnames = ("*")  .useTracer = "traces"  rule { .returnCode = 200 } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Spans are gathered per core and sent in batches: a request never waits for the collector. What that does
//! not take is dropped, and counted; nothing is sent twice. A request that comes with a field `traceparent`
//! is recorded if that says so, whatever `.sample` is. To speak TLS is left to a collector nearby.

mod proto;

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use hemi_core::client::{Client, ClientError, ClientLimits};
use hemi_core::cores::{Counter, PerCore};
use hemi_core::metrics::Measures;
use hemi_core::tls::ConnectorConfig;
use hemi_core::tracer::{Ended, TraceId, Tracer};
use hemi_core::{Component, CreateCx, Explain, HttpUrl, Lifecycle, Prepare, Result, Run};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use prost::Message;
use serde::Deserialize;
use tokio::sync::Notify;
use tracing::{info, warn};

use self::proto::ExportTraceServiceRequest;

/// Sends spans to a collector.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct OtlpTracerConfig {
    /// Where the collector takes traces, such as `"http://127.0.0.1:4318/v1/traces"`.
    pub endpoint: HttpUrl,
    /// What the service calls itself.
    #[serde(default = "gorox")]
    pub service_name: String,
    /// Record one of so many traces that begin here.
    #[serde(default = "all")]
    pub sample: NonZeroU32,
    /// Spans gathered on each core, at most; others are dropped.
    #[serde(default = "two_thousand")]
    pub max_spans: NonZeroUsize,
    /// Spans sent at once, at most.
    #[serde(default = "five_hundred")]
    pub batch: NonZeroUsize,
    /// How long a span waits before it is sent, at most, unless the collector is slow.
    #[serde(default = "two_seconds")]
    pub delay: Duration,
    /// How long the collector may take to answer.
    #[serde(default = "ten_seconds")]
    pub timeout: Duration,
}

fn gorox() -> String {
    "gorox".to_owned()
}

fn all() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn two_thousand() -> NonZeroUsize {
    const { NonZeroUsize::new(2000).unwrap() }
}

fn five_hundred() -> NonZeroUsize {
    const { NonZeroUsize::new(500).unwrap() }
}

fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

/// Sends spans to a collector.
pub struct OtlpTracer {
    service_name: String,
    max_spans: usize,
    batch: usize,
    delay: Duration,
    collector: Client,
    /// Traces with a number below are recorded.
    sampled_below: u128,
    gathered: PerCore<Vec<Ended>>,
    /// Told when a core has gathered a batch.
    urgent: Notify,
    counters: Arc<Counters>,
}

/// Numbers of a tracer. They outlive reloads.
struct Counters {
    sent: Counter,
    dropped: Counter,
}

impl Component for OtlpTracer {
    const SIGN: &'static str = "otlpTracer";
    type Config = (OtlpTracerConfig, ConnectorConfig);

    fn create((config, tls): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let cores = cx.cores();
        let limits = ClientLimits {
            connect: config.timeout,
            total: config.timeout,
            content: MAX_ANSWER,
            kept: 0,
        };
        Ok(Self {
            service_name: config.service_name,
            max_spans: config.max_spans.get(),
            batch: config.batch.get(),
            delay: config.delay,
            collector: Client::new(config.endpoint, limits, tls, cx)?,
            sampled_below: (RANDOM_BITS + 1) / u128::from(config.sample.get()),
            gathered: PerCore::new(cores, Vec::new),
            urgent: Notify::new(),
            counters: cx
                .keep(|| Counters { sent: Counter::new(cores), dropped: Counter::new(cores) }),
        })
    }
}

/// Bytes of the collector's answer, at most.
const MAX_ANSWER: usize = 64 << 10;

/// Numbers that are looked at: those bits of a trace's id that have to be random (W3C Trace Context level 2).
const RANDOM_BITS: u128 = (1 << 56) - 1;

impl Lifecycle for OtlpTracer {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        self.collector.prepare()
    }

    async fn run(&self, cx: &Run) {
        let (mut over, mut fails) = (false, false);
        while !over {
            tokio::select! {
                () = cx.shut().cancelled() => over = true,
                () = self.urgent.notified() => {}
                () = tokio::time::sleep(self.delay) => {}
            }
            let sent = self.send_gathered();
            // When the time to drain is over, nobody waits for the collector any more.
            let Some(failure) = cx.stop().run_until_cancelled(sent).await else { return };
            match failure {
                Some(why) if !fails => {
                    warn!(
                        "cannot send spans to {}, and drops them: {why}",
                        self.collector.url().as_str()
                    );
                    fails = true;
                }
                None if fails => {
                    let dropped = self.counters.dropped.sum();
                    info!(
                        "sends spans to {} again; {dropped} were dropped",
                        self.collector.url().as_str()
                    );
                    fails = false;
                }
                Some(_) | None => {}
            }
        }
    }

    fn measure(&self, out: &mut Measures) {
        let Counters { sent, dropped } = &*self.counters;
        out.counter("hemi_tracer_spans_sent", "Spans that were taken.", &[], sent.sum());
        out.counter("hemi_tracer_spans_dropped", "Spans that were dropped.", &[], dropped.sum());
    }
}

impl OtlpTracer {
    /// Sends what was gathered. Gives the last failure; none too if there was nothing to send after one.
    async fn send_gathered(&self) -> Option<Failure> {
        let mut spans = Vec::new();
        for mut gathered in self.gathered.each() {
            spans.append(&mut gathered);
        }
        let mut failure = None;
        let mut rest = spans.into_iter();
        while rest.len() > 0 {
            let batch: Vec<_> = rest.by_ref().take(self.batch).collect();
            let count = batch.len() as u64;
            let message = ExportTraceServiceRequest::new(&self.service_name, batch);
            match self.post(&message.encode_to_vec()).await {
                Ok(()) => self.counters.sent.add(count),
                Err(why) => {
                    self.counters.dropped.add(count);
                    failure = Some(why);
                }
            }
        }
        failure
    }
}

/// Why spans were not taken.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("it answers {0}")]
    Status(StatusCode),
}

impl OtlpTracer {
    async fn post(&self, message: &[u8]) -> std::result::Result<(), Failure> {
        let media_type = HeaderValue::from_static("application/x-protobuf");
        let fields = HeaderMap::from_iter([(CONTENT_TYPE, media_type)]);
        let answer = self.collector.post(fields, message).await?;
        if answer.status.is_success() { Ok(()) } else { Err(Failure::Status(answer.status)) }
    }
}

impl Tracer for OtlpTracer {
    fn samples(&self, trace: TraceId) -> bool {
        u128::from_be_bytes(trace.bytes()) & RANDOM_BITS < self.sampled_below
    }

    fn take(&self, span: Ended) {
        let mut gathered = self.gathered.mine();
        if gathered.len() >= self.max_spans {
            drop(gathered);
            self.counters.dropped.add(1);
            return;
        }
        gathered.push(span);
        let full = gathered.len() == self.batch;
        drop(gathered);
        if full {
            self.urgent.notify_one();
        }
    }

    fn dropped(&self) -> u64 {
        self.counters.dropped.sum()
    }
}
