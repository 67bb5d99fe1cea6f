//! The dealet `dnsProxy`: answers questions of the DNS by asking other servers, and remembers what they said.
//!
//! ```gorox
//! stage {
//! 	udpxBackend "resolvers" {
//! 		node { .address = "192.0.2.53:53" }
//! 		node { .address = "198.51.100.53:53" }
//! 	}
//! 	udpxRouter "dns" {
//! 		.address = "127.0.0.1:3053"
//! 		case {
//! 			accessDealet { .allow = ("127.0.0.0/8", "10.0.0.0/8") }
//! 			dnsProxy { .toBackend = "resolvers" }
//! 		}
//! 	}
//! 	tcpxRouter "dnsByTcp" {
//! 		.address = "127.0.0.1:3053"
//! 		case { dnsProxy { .toBackend = "resolvers" } }
//! 	}
//! }
//! ```
//!
//! An answer is remembered for as long as it says that it holds, also one that there is nothing (RFC 2308). The same
//! question of many clients is asked once. Each is asked from a port of its own and with a random id, and what
//! comes is believed only if it answers the very question. What does not fit into a datagram is asked for by TCP.
//! A node that does not answer in time, or says that it can't, is left for another.
//!
//! In a `tcpxRouter` it answers by TCP, and with `tlsMode` over TLS (RFC 7858).

mod ask;
mod cache;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hemi_core::clock;
use hemi_core::config::Ref;
use hemi_core::cores::Counter;
use hemi_core::io::{NotReceived, receive, send};
use hemi_core::metrics::Measures;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_net::{
    Answerer, Deal, Dealet, TcpxConn, UdpxBackend, UdpxBackendKind, UdpxDealet, UdpxFlow,
};
use hemi_proto::dns::forward::{Code, Question, QuestionError};
use serde::Deserialize;

use self::ask::Asking;
use self::cache::{Cache, Cached};

/// Answers questions of the DNS by asking others.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct DnsProxyConfig {
    /// The servers that are asked, by UDP and, where answers are too long for that, by TCP.
    to_backend: Ref<UdpxBackendKind>,
    /// How long a server may take to answer.
    #[serde(default = "two_seconds")]
    timeout: Duration,
    /// How often a question is asked at most, each time of another server if there is one.
    #[serde(default = "three")]
    max_tries: usize,
    /// Answers that are remembered, at most; 0 for none.
    #[serde(default = "ten_thousand")]
    cache_size: usize,
    /// How long an answer is remembered at most, whatever it says.
    #[serde(default = "one_day")]
    max_ttl: Duration,
    /// The same for answers that there is nothing.
    #[serde(default = "one_hour")]
    max_negative_ttl: Duration,
    /// Bytes of an answer by datagram, at most, from servers and to clients (RFC 6891): 512 to 65535.
    #[serde(default = "usual_size")]
    udp_size: u16,
    /// Questions of clients that wait for servers at once, at most; others are dropped.
    #[serde(default = "one_thousand")]
    max_questions: NonZeroUsize,
    /// How long a client may keep its connection without a question, in a `tcpxRouter`.
    #[serde(default = "ten_seconds")]
    idle_timeout: Duration,
}

fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn one_hour() -> Duration {
    Duration::from_secs(3600)
}

fn one_day() -> Duration {
    Duration::from_secs(24 * 3600)
}

fn three() -> usize {
    3
}

fn ten_thousand() -> usize {
    10_000
}

fn one_thousand() -> NonZeroUsize {
    NonZeroUsize::new(1000).unwrap_or(NonZeroUsize::MIN)
}

fn usual_size() -> u16 {
    1232
}

/// Answers questions of the DNS.
#[derive(Debug)]
pub struct DnsProxy(Arc<Inner>);

/// What the tasks of questions share.
#[derive(Debug)]
struct Inner {
    asking: Arc<Asking>,
    cache: Arc<Cache>,
    max_ttl: Duration,
    max_negative_ttl: Duration,
    udp_size: u16,
    waiting: Arc<AtomicUsize>,
    most: usize,
    idle: Duration,
    counters: Arc<Counters>,
}

/// Numbers of the dealet.
#[derive(Debug)]
struct Counters {
    questions: Counter,
    remembered: Counter,
    failed: Counter,
    dropped: Counter,
}

/// A question that waits, until this is dropped.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Component for DnsProxy {
    const SIGN: &'static str = "dnsProxy";
    type Config = DnsProxyConfig;

    fn create(config: DnsProxyConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let (cores, size) = (cx.cores(), config.cache_size);
        let backend: Arc<UdpxBackend> = cx.follow(&config.to_backend)?;
        let udp_size = config.udp_size.max(512);
        let tries = config.max_tries.max(1);
        let inner = Inner {
            asking: Arc::new(Asking::new(backend, config.timeout, tries, udp_size, cores)),
            cache: cx.carry(|| Cache::new(size)),
            max_ttl: config.max_ttl,
            max_negative_ttl: config.max_negative_ttl,
            udp_size,
            waiting: Arc::default(),
            most: config.max_questions.get(),
            idle: config.idle_timeout,
            counters: cx.keep(|| Counters::new(cores)),
        };
        Ok(Self(Arc::new(inner)))
    }
}

impl Lifecycle for DnsProxy {
    fn measure(&self, out: &mut Measures) {
        let Counters { questions, remembered, failed, dropped } = &*self.0.counters;
        for (name, help, counter) in [
            ("hemi_dns_questions", "Questions of clients.", questions),
            ("hemi_dns_remembered", "Questions answered from memory.", remembered),
            ("hemi_dns_failed", "Questions that no server has answered.", failed),
            (
                "hemi_dns_dropped",
                "Questions dropped, for maxQuestions, and messages that are none.",
                dropped,
            ),
        ] {
            out.counter(name, help, &[], counter.sum());
        }
        let help = "Answers that are remembered.";
        out.gauge("hemi_dns_answers_remembered", help, &[], self.0.cache.len() as u64);
    }
}

impl UdpxDealet for DnsProxy {
    fn deal_flow(&self, flow: &mut UdpxFlow<'_>) -> Deal {
        for message in flow.burst().datagrams() {
            if let Some(answer) = self.0.answer_now(message, || flow.answerer()) {
                flow.answer(&answer);
            }
        }
        flow.end_as("done");
        Deal::Done
    }
}

impl Dealet for DnsProxy {
    async fn deal(&self, conn: &mut TcpxConn) -> Deal {
        conn.end_as("done");
        let inner = &self.0;
        let (link, buf) = conn.parts();
        loop {
            let message = match receive(link, buf, inner.idle, take_message).await {
                Ok(message) => message,
                Err(NotReceived::Timeout | NotReceived::Closed) => break,
                Err(NotReceived::Io(_) | NotReceived::Malformed(_)) => {
                    conn.end_as("broken");
                    break;
                }
            };
            inner.counters.questions.add(1);
            let answer = match Question::read(&message) {
                Ok(question) => match inner.find(&question).await {
                    Some(cached) => cached.to(&question, inner.udp_size),
                    None => question.answer(Code::FAILED, inner.udp_size),
                },
                Err(QuestionError::Refused(code)) => {
                    Question::refuse(&message, code, inner.udp_size)
                }
                Err(QuestionError::None) => {
                    conn.end_as("broken");
                    break;
                }
            };
            let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
            if send(link, &framed, inner.idle).await.is_err() {
                conn.end_as("broken");
                break;
            }
        }
        Deal::Done
    }
}

/// Takes a message with its length off the front of what has come by TCP.
fn take_message(buf: &mut BytesMut) -> Result<Option<BytesMut>, std::convert::Infallible> {
    let Some(len) = buf.first_chunk().map(|len| usize::from(u16::from_be_bytes(*len))) else {
        return Ok(None);
    };
    if buf.len() < 2 + len {
        buf.reserve(2 + len - buf.len());
        return Ok(None);
    }
    buf.advance(2);
    Ok(Some(buf.split_to(len)))
}

impl Inner {
    /// The answer to a datagram, if that is known already; else a task will give it.
    fn answer_now(
        self: &Arc<Self>,
        message: &[u8],
        answerer: impl FnOnce() -> Answerer,
    ) -> Option<Vec<u8>> {
        self.counters.questions.add(1);
        let question = match Question::read(message) {
            Ok(question) => question,
            Err(QuestionError::Refused(code)) => {
                return Some(Question::refuse(message, code, self.udp_size));
            }
            Err(QuestionError::None) => {
                self.counters.dropped.add(1);
                return None;
            }
        };
        if let Some(cached) = self.remembered(&question) {
            return Some(self.fitting(&question, &cached));
        }
        let waiting = self.wait()?;
        let (inner, answerer) = (self.clone(), answerer());
        tokio::spawn(async move {
            let answer = match inner.ask(&question).await {
                Some(cached) => inner.fitting(&question, &cached),
                None => question.answer(Code::FAILED, inner.udp_size),
            };
            answerer.answer(&answer);
            drop(waiting);
        });
        None
    }

    /// The answer to a question; none if no server has one.
    async fn find(&self, question: &Question) -> Option<Arc<Cached>> {
        if let Some(cached) = self.remembered(question) {
            return Some(cached);
        }
        let _waiting = self.wait()?;
        self.ask(question).await
    }

    fn remembered(&self, question: &Question) -> Option<Arc<Cached>> {
        let cached = self.cache.find(&question.key, clock::now())?;
        self.counters.remembered.add(1);
        Some(cached)
    }

    /// Counts a question that has to wait; none if there are too many.
    fn wait(&self) -> Option<Waiting> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(self.waiting.clone());
        if before >= self.most {
            self.counters.dropped.add(1);
            return None;
        }
        Some(waiting)
    }

    async fn ask(&self, question: &Question) -> Option<Arc<Cached>> {
        let (cache, most) = (self.cache.clone(), (self.max_ttl, self.max_negative_ttl));
        let remember = move |question: &Question, answer| {
            let cached = Arc::new(Cached::new(answer, most.0, most.1));
            cache.keep(&question.key, &cached);
            cached
        };
        let found = self.asking.ask(question, remember).await;
        if found.is_none() {
            self.counters.failed.add(1);
        }
        found
    }

    /// As it fits into a datagram to the client.
    fn fitting(&self, question: &Question, cached: &Cached) -> Vec<u8> {
        let answer = cached.to(question, self.udp_size);
        if answer.len() > question.room().min(self.udp_size.into()) {
            return question.truncated(cached.answer.code, self.udp_size);
        }
        answer
    }
}

impl Counters {
    fn new(cores: usize) -> Self {
        let counter = || Counter::new(cores);
        Self { questions: counter(), remembered: counter(), failed: counter(), dropped: counter() }
    }
}
