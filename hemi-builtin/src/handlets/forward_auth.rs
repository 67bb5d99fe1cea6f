//! The handlet `forwardAuth`: asks another server about each request.
//!
//! ```gorox
//! stage {
//! 	webapp "wiki" {
//! 		.hostnames = ("*")
//! 		rule {
//! 			forwardAuth {
//! 				.url = "http://127.0.0.1:9091/verify"
//! 				.copyFields = ("x-auth-user", "x-auth-groups")
//! 				.userField = "x-auth-user"
//! 			}
//! 		}
//! 		rule { .returnCode = 200  .returnText = "Hello, " + $remoteUser }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("wiki") }
//! }
//! ```
//!
//! It is sent a GET without content. What the request is about is in `x-forwarded-method`, `-proto`,
//! `-host`, `-uri` (the path as it will be served: decoded, normalised and encoded again, then the query)
//! and `-for`. If it answers 2xx, the request goes on; any other answer is the client's: its status and
//! content, and of its fields those about signing in and about the content.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hemi_core::client::{Answer, Client, ClientError, ClientLimits};
use hemi_core::clock::{self, Moment};
use hemi_core::config::{Size, Template};
use hemi_core::cores::PerCore;
use hemi_core::tls::ConnectorConfig;
use hemi_core::{Component, CreateCx, Error, Explain, HttpUrl, Lifecycle, Prepare, Result};
use hemi_web::{Handlet, Reply, Request, Response, WebVar};
use http::StatusCode;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName,
    HeaderValue, LOCATION, RETRY_AFTER, SET_COOKIE, VARY, WWW_AUTHENTICATE,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use crate::field_edits::FieldName;
use crate::uri_template::encode_path;

/// Asks another server about each request.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct ForwardAuthConfig {
    /// Where to ask.
    url: HttpUrl,
    /// Fields of the request that it is sent.
    #[serde(default = "authorization_and_cookie")]
    request_fields: Vec<FieldName>,
    /// Fields of its answer that the request is given, for those who handle it. Fields of these names
    /// that the client sends are removed.
    #[serde(default)]
    copy_fields: Vec<FieldName>,
    /// The field of its answer that becomes `$remoteUser`.
    #[serde(default)]
    user_field: Option<FieldName>,
    /// How long it may take to answer, connecting included.
    #[serde(default = "two_seconds")]
    timeout: Duration,
    /// Bytes of the content of its answer, at most: beyond, it has not answered.
    #[serde(default = "sixty_four_kibibytes")]
    max_answer_size: Size,
    /// What to do when it does not answer.
    #[serde(default)]
    on_failure: OnFailure,
    /// Under what name to remember that it has answered 2xx: all that it decides by must be in it, such
    /// as `$method + " " + $authority + $uri`, but for the fields of `requestFields`, which always count.
    /// What has no name is always asked about.
    #[serde(default)]
    cache_key: Option<Template<WebVar>>,
    /// How long that is remembered.
    #[serde(default = "half_a_minute")]
    cache_for: Duration,
    /// Idle connections that each core keeps to it.
    #[serde(default = "sixteen")]
    keep_conns: usize,
}

fn authorization_and_cookie() -> Vec<FieldName> {
    Vec::from([FieldName(AUTHORIZATION), FieldName(COOKIE)])
}

fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

fn sixty_four_kibibytes() -> Size {
    Size(64 << 10)
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

fn sixteen() -> usize {
    16
}

/// What to do without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
enum OnFailure {
    /// Answer 503.
    #[default]
    Deny,
    /// Let the request through, without copied fields.
    Allow,
}

/// Answers that a core remembers, at most.
const REMEMBERED: usize = 10_000;

/// Fields of an answer that the client is sent.
const FOR_CLIENT: [HeaderName; 8] = [
    WWW_AUTHENTICATE,
    LOCATION,
    SET_COOKIE,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    RETRY_AFTER,
    VARY,
];

/// Asks another server about each request.
pub struct ForwardAuth {
    client: Client,
    request_fields: Vec<HeaderName>,
    copy_fields: Vec<HeaderName>,
    user_field: Option<HeaderName>,
    on_failure: OnFailure,
    cache_key: Option<Template<WebVar>>,
    cache_for: Duration,
    remembered: PerCore<HashMap<[u8; 32], Remembered>>,
    /// Whether the last request had no answer: to tell it once.
    failing: AtomicBool,
}

struct Remembered {
    leave: Arc<Leave>,
    until: Moment,
}

/// What a request is given that may go on.
struct Leave {
    fields: Vec<(HeaderName, HeaderValue)>,
    user: Option<Box<str>>,
}

impl Component for ForwardAuth {
    const SIGN: &'static str = "forwardAuth";
    type Config = (ForwardAuthConfig, ConnectorConfig);

    fn create((config, tls): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        if config.cache_key.as_ref().is_some_and(|key| key.literal().is_some()) {
            let message = "`.cacheKey` is the same for all: one's leave would be everyone's";
            return Err(Error::config(cx.span(), message));
        }
        let limits = ClientLimits {
            connect: config.timeout,
            total: config.timeout,
            content: usize::try_from(config.max_answer_size.0).unwrap_or(usize::MAX),
            kept: config.keep_conns,
        };
        let names = |fields: Vec<FieldName>| fields.into_iter().map(|FieldName(n)| n).collect();
        Ok(Self {
            client: Client::new(config.url, limits, tls, cx)?,
            request_fields: names(config.request_fields),
            copy_fields: names(config.copy_fields),
            user_field: config.user_field.map(|FieldName(name)| name),
            on_failure: config.on_failure,
            cache_key: config.cache_key,
            cache_for: config.cache_for,
            remembered: PerCore::new(cx.cores(), HashMap::new),
            failing: AtomicBool::new(false),
        })
    }
}

impl Lifecycle for ForwardAuth {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        self.client.prepare()
    }
}

impl Handlet for ForwardAuth {
    async fn handle(&self, req: &mut Request) -> Reply {
        let answer = self.client.get(self.question(req)).await;
        self.note(answer.as_ref().err());
        match answer {
            Ok(answer) if answer.status.is_success() => {
                let leave = Arc::new(self.leave(&answer));
                self.remember(self.key(req), &leave);
                self.admit(req, &leave);
                Reply::Next
            }
            Ok(answer) => refusal(answer).into(),
            Err(_) if self.on_failure == OnFailure::Allow => {
                self.admit(req, &Leave { fields: Vec::new(), user: None });
                Reply::Next
            }
            Err(_) => StatusCode::SERVICE_UNAVAILABLE.into(),
        }
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        let leave = self.known(self.key(req)?)?;
        self.admit(req, &leave);
        Some(Reply::Next)
    }
}

impl ForwardAuth {
    /// The fields that tell what the request is about.
    fn question(&self, req: &Request) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for name in &self.request_fields {
            for value in req.headers().get_all(name) {
                fields.append(name, value.clone());
            }
        }
        let mut uri = encode_path(req.path().as_bytes());
        if let Some(query) = req.query() {
            uri.push(b'?');
            uri.extend_from_slice(query.as_bytes());
        }
        let ip = req.remote_ip().map(|ip| ip.to_string());
        let told = [
            ("x-forwarded-method", req.method().as_str().as_bytes()),
            ("x-forwarded-proto", req.scheme().as_str().as_bytes()),
            ("x-forwarded-host", req.authority().map_or("", |a| a.as_str()).as_bytes()),
            ("x-forwarded-uri", &uri),
            ("x-forwarded-for", ip.as_deref().unwrap_or_default().as_bytes()),
        ];
        for (name, value) in told {
            // What has no value must not have the client's either.
            match HeaderValue::from_bytes(value) {
                Ok(value) if !value.is_empty() => fields.insert(name, value),
                _ => fields.remove(name),
            };
        }
        fields
    }

    fn leave(&self, answer: &Answer) -> Leave {
        let copied = self.copy_fields.iter().flat_map(|name| {
            answer.headers.get_all(name).iter().map(|value| (name.clone(), value.clone()))
        });
        let user = self.user_field.as_ref().and_then(|name| answer.headers.get(name));
        let user = user.and_then(|user| std::str::from_utf8(user.as_bytes()).ok());
        Leave { fields: copied.collect(), user: user.map(Into::into) }
    }

    /// Lets a request go on with these fields, and none that the client says are of the other server.
    fn admit(&self, req: &mut Request, leave: &Leave) {
        for name in &self.copy_fields {
            req.headers_mut().remove(name);
        }
        for (name, value) in &leave.fields {
            req.headers_mut().append(name, value.clone());
        }
        if let Some(user) = &leave.user {
            req.set_user(user.clone());
        }
    }

    /// The name under which an answer is remembered.
    fn key(&self, req: &Request) -> Option<[u8; 32]> {
        let key = self.cache_key.as_ref()?.render(req);
        if key.is_empty() {
            return None;
        }
        // What it was sent of one client is not to hold for another.
        let sent = self.request_fields.iter().enumerate().flat_map(|(index, name)| {
            req.headers().get_all(name).iter().map(move |value| (index + 1, value.as_bytes()))
        });
        let mut digest = Sha256::new();
        for (index, part) in std::iter::once((0, &*key)).chain(sent) {
            digest.update((index as u64).to_le_bytes());
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Some(digest.finalize().into())
    }

    fn known(&self, key: [u8; 32]) -> Option<Arc<Leave>> {
        let remembered = self.remembered.mine();
        let found = remembered.get(&key).filter(|found| clock::now() < found.until);
        found.map(|found| found.leave.clone())
    }

    fn remember(&self, key: Option<[u8; 32]>, leave: &Arc<Leave>) {
        let Some(key) = key else { return };
        let (mut remembered, now) = (self.remembered.mine(), clock::now());
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, old| now < old.until);
        }
        if remembered.len() < REMEMBERED {
            let until = now.after(self.cache_for);
            remembered.insert(key, Remembered { leave: leave.clone(), until });
        }
    }

    /// Tells when the other server begins to fail, and when it is back.
    fn note(&self, error: Option<&ClientError>) {
        let failing = error.is_some();
        // Written only when it changes, for all cores share it.
        if self.failing.load(Ordering::Relaxed) == failing
            || self.failing.swap(failing, Ordering::Relaxed) == failing
        {
            return;
        }
        let url = self.client.url().as_str();
        match error {
            Some(e) => warn!(url, "no answer about requests: {e}"),
            None => info!(url, "answers about requests again"),
        }
    }
}

/// What the client is told.
fn refusal(answer: Answer) -> Response {
    let mut response = Response::new(answer.status);
    for name in FOR_CLIENT {
        for value in answer.headers.get_all(&name) {
            response = response.field(name.clone(), value.clone());
        }
    }
    response.with_body(answer.content)
}
