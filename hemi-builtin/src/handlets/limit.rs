//! The handlet `limit`: how many requests there may be in a time, and how many at once.
//!
//! ```gorox
//! stage {
//! 	webapp "api" {
//! 		.hostnames = ("*")
//! 		rule {
//! 			limit "perClient" { .rate = 10  .per = 1s  .burst = 20  .concurrent = 8 }
//! 			limit "perToken" { .key = $header_authorization  .rate = 1000  .per = 1h }
//! 		}
//! 		rule { .returnCode = 200  .returnText = "hello" }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("api") }
//! }
//! ```
//!
//! Requests are counted by a key, most often the client's address; those whose key is empty are not
//! limited. `rate` is spread evenly over `per`, but for a burst: the generic cell rate algorithm. What is
//! too much is answered 429, all else is left to the next handlet or rule. The counts outlive reloads for
//! as long as the handlet stays as it is. Time goes in ticks of 1 to 10 ms: a burst should be no less
//! than what comes in one.

mod shared;

use std::borrow::Cow;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hemi_core::config::{ConfigType, Diagnostic, Template};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request, Response, WebVar};
use http::StatusCode;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use serde::Deserialize;
use tracing::{info, warn};

use self::shared::Shared;
use crate::buckets::{Buckets, Left, Quota, Taken, UnderWay, network_of};
use crate::redis::{RedisFault, RedisUrl};

/// Limits how many requests there are.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct LimitConfig {
    /// By what requests are counted; by default the client's address, in IPv6 the network of 64 bits
    /// around it, of which a client has all.
    #[serde(default)]
    key: Option<Template<WebVar>>,
    /// Requests of a key in `per`; any number by default.
    #[serde(default)]
    rate: Option<NonZeroU32>,
    /// See `rate`.
    #[serde(default = "one_second")]
    per: Duration,
    /// Requests of a key at once; as many as `rate` by default. It takes as long as the rate says until
    /// there is room for more.
    #[serde(default)]
    burst: Option<NonZeroU32>,
    /// How long a request is held back until there is room, instead of being refused.
    #[serde(default)]
    delay: Duration,
    /// Requests held back at once, at most; further ones are refused.
    #[serde(default = "one_thousand")]
    max_delayed: usize,
    /// Requests of a key that are being answered, at most; any number by default.
    #[serde(default)]
    concurrent: Option<NonZeroU32>,
    /// What is answered to those that are too much: 400 to 599.
    #[serde(default)]
    status: RefusalStatus,
    /// Whether answers say what is left, in the fields `ratelimit` and `ratelimit-policy` (as of the
    /// draft draft-ietf-httpapi-ratelimit-headers-10), under the name of the handlet.
    #[serde(default = "yes")]
    fields: bool,
    /// Keys remembered at once, at most; further ones take the places of those last seen long ago.
    #[serde(default = "hundred_thousand")]
    max_keys: NonZeroUsize,
    /// Whether to say in the log alone what would be refused or held back.
    #[serde(default)]
    dry_run: bool,
    /// Where requests are counted together with other instances that have a handlet of this name:
    /// `"redis://host:port/db"`, or `"unix:///path"`. Those being answered each counts for itself.
    #[serde(default)]
    store: Option<RedisUrl>,
    /// How long to wait for that.
    #[serde(default = "tenth_of_a_second")]
    store_timeout: Duration,
    /// What becomes of requests that can't be counted there.
    #[serde(default)]
    on_store_failure: OnStoreFailure,
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

fn tenth_of_a_second() -> Duration {
    Duration::from_millis(100)
}

fn one_thousand() -> usize {
    1_000
}

fn hundred_thousand() -> NonZeroUsize {
    NonZeroUsize::new(100_000).unwrap_or(NonZeroUsize::MIN)
}

fn yes() -> bool {
    true
}

/// What to do without the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
enum OnStoreFailure {
    /// Let requests through.
    #[default]
    Allow,
    /// Refuse them.
    Deny,
}

/// A status for requests that are too much: 400 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
struct RefusalStatus(StatusCode);

/// A number that is no such status.
#[derive(Debug, thiserror::Error)]
#[error("{0} refuses nothing: write a status from 400 to 599")]
struct NoRefusal(u16);

impl Default for RefusalStatus {
    fn default() -> Self {
        Self(StatusCode::TOO_MANY_REQUESTS)
    }
}

impl TryFrom<u16> for RefusalStatus {
    type Error = NoRefusal;

    fn try_from(code: u16) -> Result<Self, NoRefusal> {
        let status = StatusCode::from_u16(code).ok().filter(|_| (400..600).contains(&code));
        status.map(Self).ok_or(NoRefusal(code))
    }
}

impl ConfigType for RefusalStatus {
    fn kind() -> Cow<'static, str> {
        "status".into()
    }

    fn show(&self) -> String {
        self.0.as_u16().to_string()
    }
}

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Limits requests.
#[derive(Debug)]
pub struct Limit {
    config: LimitConfig,
    name: String,
    quota: Option<Quota>,
    /// The value of `ratelimit-policy`, if it is to be told.
    policy: Option<HeaderValue>,
    buckets: Arc<Buckets>,
    shared: Option<Shared>,
    delayed: AtomicUsize,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug)]
enum Refused {
    /// There would be room after so long.
    Rate(Duration),
    Concurrent,
    /// So many are held back already.
    Delayed,
    /// Nobody knows how many there were.
    Store,
}

impl Component for Limit {
    const SIGN: &'static str = "limit";
    type Config = LimitConfig;

    fn create(config: LimitConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let mistake =
            |message: &str, help: &str| Err(Diagnostic::new(cx.span(), message).help(help).into());
        if config.rate.is_none() && config.concurrent.is_none() {
            return mistake("`limit` limits nothing", "add `.rate = …` or `.concurrent = …`");
        }
        let quota = match config.rate {
            None => None,
            Some(rate) => {
                let burst = config.burst.unwrap_or(rate);
                match Quota::new(rate.get(), config.per, burst.get()) {
                    Some(quota) => Some(quota),
                    None => {
                        let message = "`.rate`, `.per` and `.burst` make no sense together";
                        return mistake(message, "write something like `.rate = 10  .per = 1s`");
                    }
                }
            }
        };
        // What stands for a name where there is none has a number.
        let named = !cx.name().contains('#');
        if config.store.is_some() && (!named || quota.is_none()) {
            let message =
                "a `limit` with `.store` needs a name, by which instances share it, and `.rate`";
            return mistake(message, "write `limit \"name\" { .rate = … }`");
        }
        let name = if named { cx.name().to_owned() } else { "default".to_owned() };
        let policy = quota.filter(|_| config.fields && !config.dry_run);
        let policy = policy.and_then(|quota| {
            let burst = quota.left(Duration::ZERO).requests;
            let policy = format!("{};q={burst};w={}", item(&name), seconds(quota.window()));
            HeaderValue::try_from(policy).ok()
        });
        let cores = cx.cores();
        let shared =
            config.store.as_ref().map(|url| Shared::new(url, config.store_timeout, cores, &name));
        let buckets = cx.carry(|| Buckets::new(config.max_keys.get()));
        Ok(Self { quota, policy, name, buckets, shared, config, delayed: AtomicUsize::new(0) })
    }
}

impl Lifecycle for Limit {}

impl Handlet for Limit {
    async fn handle(&self, req: &mut Request) -> Reply {
        let Some(key) = self.key(req) else { return Reply::Next };
        let taken = match (&self.quota, &self.shared) {
            (None, _) => return self.pass(req, key, None),
            (Some(quota), None) => self.buckets.take(key, quota, self.patience()),
            (Some(quota), Some(shared)) => {
                match shared.take(&self.text(req), quota, self.patience()).await {
                    Ok(taken) => taken,
                    Err(fault) => return self.uncounted(req, key, &fault),
                }
            }
        };
        match taken {
            Taken::Over { wait } => self.refuse(req, Refused::Rate(wait)),
            Taken::Passed { wait, left } if wait.is_zero() => self.pass(req, key, Some(left)),
            Taken::Passed { wait, left } => {
                let Some(_delayed) = Delayed::one_more(&self.delayed, self.config.max_delayed)
                else {
                    return self.refuse(req, Refused::Delayed);
                };
                tokio::time::sleep(wait).await;
                self.pass(req, key, Some(left))
            }
        }
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        if !req.is_new_to(self) {
            return Some(Reply::Next);
        }
        let Some(key) = self.key(req) else { return Some(Reply::Next) };
        let Some(quota) = &self.quota else { return Some(self.pass(req, key, None)) };
        if self.shared.is_some() {
            return None;
        }
        match self.buckets.take(key, quota, Duration::ZERO) {
            Taken::Passed { left, .. } => Some(self.pass(req, key, Some(left))),
            // It gets its turn there.
            Taken::Over { wait } if wait <= self.patience() => None,
            Taken::Over { wait } => Some(self.refuse(req, Refused::Rate(wait))),
        }
    }
}

impl Limit {
    /// What stands for the request's key; none if it is empty.
    fn key(&self, req: &Request) -> Option<u64> {
        let Some(key) = &self.config.key else {
            return req.remote_ip().map(|ip| self.buckets.hash(network_of(ip)));
        };
        let key = key.render(req);
        (!key.is_empty()).then(|| self.buckets.hash(&*key))
    }

    /// The key itself.
    fn text(&self, req: &Request) -> Vec<u8> {
        match &self.config.key {
            Some(key) => key.render(req).into_owned(),
            None => {
                let network = req.remote_ip().map(|ip| network_of(ip).to_string());
                network.unwrap_or_default().into_bytes()
            }
        }
    }

    /// How long a request may be held back.
    fn patience(&self) -> Duration {
        if self.config.dry_run { Duration::ZERO } else { self.config.delay }
    }

    /// Lets a request through whose turn it is, unless too many are being answered.
    fn pass(&self, req: &mut Request, key: u64, left: Option<Left>) -> Reply {
        if let Some(most) = self.config.concurrent {
            match self.buckets.enter(key, most.get()) {
                Some(under_way) => hold(req, under_way),
                None => return self.refuse(req, Refused::Concurrent),
            }
        }
        if let (Some(policy), Some(left)) = (self.policy.clone(), left) {
            let told = tell(&self.name, left);
            req.revise(move |response| put(response, policy, told));
        }
        Reply::Next
    }

    fn refuse(&self, req: &Request, why: Refused) -> Reply {
        if self.config.dry_run {
            let key = self.text(req);
            let key = String::from_utf8_lossy(&key);
            info!(limit = self.name, ?key, ?why, request = %req.id(), "would be refused");
            return Reply::Next;
        }
        let mut response = Response::from(self.config.status.0);
        let wait = match why {
            Refused::Rate(wait) => wait,
            // Nobody knows better than that it takes a moment.
            Refused::Concurrent | Refused::Delayed | Refused::Store => Duration::ZERO,
        };
        response.headers_mut().insert(RETRY_AFTER, seconds(wait).max(1).into());
        if let (Some(policy), Refused::Rate(wait)) = (self.policy.clone(), why) {
            let left = Left { requests: 0, more_in: wait };
            put(&mut response, policy, tell(&self.name, left));
        }
        response.into()
    }

    /// Does what is to be done when the store does not answer.
    fn uncounted(&self, req: &mut Request, key: u64, fault: &RedisFault) -> Reply {
        // The store says once in a while why it does not answer; not for each request.
        if fault.is_new() {
            warn!(limit = self.name, "requests are not counted: {fault}");
        }
        match self.config.on_store_failure {
            OnStoreFailure::Allow => self.pass(req, key, None),
            OnStoreFailure::Deny => self.refuse(req, Refused::Store),
        }
    }
}

/// Lets a request count as under way until its answer is sent.
fn hold(req: &mut Request, under_way: UnderWay) {
    #[derive(Clone, Default)]
    struct Held(Vec<Arc<UnderWay>>);
    req.extensions().get_or_insert_default::<Held>().0.push(Arc::new(under_way));
}

/// A request that is held back, which counts until this is dropped.
struct Delayed<'a>(&'a AtomicUsize);

impl<'a> Delayed<'a> {
    fn one_more(delayed: &'a AtomicUsize, most: usize) -> Option<Self> {
        let before = delayed.fetch_add(1, Ordering::Relaxed);
        let this = Self(delayed);
        (before < most).then_some(this)
    }
}

impl Drop for Delayed<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The value of `ratelimit`: what is left, and how long it is until there is more.
fn tell(name: &str, left: Left) -> Option<HeaderValue> {
    let told = format!("{};r={};t={}", item(name), left.requests, seconds(left.more_in));
    HeaderValue::try_from(told).ok()
}

/// Puts both fields, of which each limit has a line.
fn put(response: &mut Response, policy: HeaderValue, told: Option<HeaderValue>) {
    let fields = response.headers_mut();
    fields.append(RATELIMIT_POLICY, policy);
    if let Some(told) = told {
        fields.append(RATELIMIT, told);
    }
}

/// A name as a string of structured fields (RFC 9651, 3.3.3).
fn item(name: &str) -> String {
    let fits = |c: &char| c.is_ascii_graphic() && !matches!(c, '"' | '\\') || *c == ' ';
    format!("\"{}\"", name.chars().filter(fits).collect::<String>())
}

/// Whole seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
