//! Limits and deadlines of HTTP connections. Their defaults stop slow and greedy clients.

use std::borrow::Cow;
use std::time::Duration;

use hemi_core::Explain;
use hemi_core::config::{ConfigType, Size, number_of_at_least, size_of_at_least};
use hemi_core::cores::Counter;
use hemi_proto::http1::{HeadError, HeadLimits};
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use serde::Deserialize;

/// Properties of a server that speaks HTTP.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpConfig {
    /// Bytes of a request's head, at most, and 1K at least: 431 beyond.
    #[serde(deserialize_with = "size_of_at_least::<1024, _>")]
    pub max_head_size: Size,
    /// Fields of a request, at most, and 10 at least: 431 beyond; more than 16384 there never are.
    #[serde(deserialize_with = "number_of_at_least::<10, _>")]
    pub max_fields: usize,
    /// Bytes of a request's target, at most, and 128 at least: 414 beyond.
    #[serde(deserialize_with = "size_of_at_least::<128, _>")]
    pub max_target_size: Size,
    /// How long a head may take: from the connection's start, and later from its first byte. 408 beyond.
    pub head_timeout: Duration,
    /// How long the next piece of a request's content may take: 408 beyond.
    pub body_timeout: Duration,
    /// Bytes per second that content must come and answers be taken at, on average, after `rateGrace` of
    /// waiting; 0 for no such limit.
    pub min_rate: Size,
    /// See `minRate`.
    pub rate_grace: Duration,
    /// How long the client may take to make room for more of an answer.
    pub send_timeout: Duration,
    /// How long a connection may be idle between requests.
    pub idle_timeout: Duration,
    /// How long one request may take in all, from its head to the end of the answer; 0s for no such limit.
    pub total_timeout: Duration,
    /// Requests on one connection, at most.
    pub max_requests_per_conn: u32,
    /// How long an answer, or the next piece of one, is waited for once the client has said that it sends no more:
    /// most such clients have gone. Of HTTP/1; who cancels a stream of HTTP/2 or HTTP/3 is not waited for.
    pub half_closed_timeout: Duration,
    /// How long a connection may be used, give or take a tenth.
    pub max_conn_age: Duration,
    /// The `server` field of answers; `""` for none.
    pub server_field: ServerField,
    /// Whether HTTP/2 is spoken with clients that offer it by ALPN, over TLS.
    pub http2: bool,
    /// Whether HTTP/2 is spoken in the clear with clients that begin with it, knowing that it is.
    pub h2c_prior_knowledge: bool,
    /// Whether HTTP/2 is spoken in the clear with clients that ask for it by `upgrade: h2c` (RFC 7540,
    /// section 3.2). Not for a server behind a proxy that passes such requests on: what goes on then gets
    /// around the rules of the proxy.
    pub h2c_upgrade: bool,
}

/// What a `HeaderMap` holds in any case.
const MAX_FIELDS: usize = 16 << 10;

impl Default for HttpConfig {
    fn default() -> Self {
        let heads = HeadLimits::default();
        Self {
            max_head_size: Size(heads.head_size as u64),
            max_fields: heads.fields,
            max_target_size: Size(heads.target_size as u64),
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            min_rate: Size(500),
            rate_grace: Duration::from_secs(20),
            send_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            total_timeout: Duration::ZERO,
            max_requests_per_conn: 10_000,
            half_closed_timeout: Duration::from_secs(1),
            max_conn_age: Duration::from_secs(3600),
            server_field: ServerField(Some(HeaderValue::from_static("hemi"))),
            http2: true,
            h2c_prior_knowledge: false,
            h2c_upgrade: false,
        }
    }
}

/// The value of the `server` field, if there is to be one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ServerField(pub Option<HeaderValue>);

impl TryFrom<String> for ServerField {
    type Error = InvalidHeaderValue;

    fn try_from(text: String) -> Result<Self, InvalidHeaderValue> {
        Ok(Self(if text.is_empty() { None } else { Some(HeaderValue::try_from(text)?) }))
    }
}

impl ConfigType for ServerField {
    fn kind() -> Cow<'static, str> {
        String::kind()
    }

    fn show(&self) -> String {
        let bytes = self.0.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        String::from_utf8_lossy(bytes).into_owned().show()
    }
}

impl HttpConfig {
    pub(crate) fn head_limits(&self) -> HeadLimits {
        let bytes = |size: Size| usize::try_from(size.0).unwrap_or(usize::MAX);
        HeadLimits {
            head_size: bytes(self.max_head_size),
            fields: self.max_fields.min(MAX_FIELDS),
            target_size: bytes(self.max_target_size),
        }
    }
}

/// A limit that ended a request or connection: counted, and the reason in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A head that was refused for its form.
    BadHead,
    /// `maxHeadSize`
    HeadSize,
    /// `maxFields`
    Fields,
    /// `maxTargetSize`
    TargetSize,
    /// `headTimeout`
    HeadTimeout,
    /// `bodyTimeout`, or `minRate` of content
    BodyTimeout,
    /// Content that was refused for its form.
    BadBody,
    /// A webapp's `maxBodySize`
    BodySize,
    /// `sendTimeout`, or `minRate` of answers
    SendTimeout,
    /// `idleTimeout`
    IdleTimeout,
    /// `totalTimeout`
    TotalTimeout,
    /// `halfClosedTimeout`
    HalfClosedTimeout,
    /// `maxRequestsPerConn`
    RequestsPerConn,
    /// `maxConnAge`
    ConnAge,
    /// A host that the TLS connection is not good for: 421.
    Misdirected,
    /// Frames of HTTP/2 that are of no use, too many of them
    Glitches,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::BadHead,
        Self::HeadSize,
        Self::Fields,
        Self::TargetSize,
        Self::HeadTimeout,
        Self::BodyTimeout,
        Self::BadBody,
        Self::BodySize,
        Self::SendTimeout,
        Self::IdleTimeout,
        Self::TotalTimeout,
        Self::HalfClosedTimeout,
        Self::RequestsPerConn,
        Self::ConnAge,
        Self::Misdirected,
        Self::Glitches,
    ];

    /// What a head was refused for.
    pub(crate) fn of_head(e: HeadError) -> Self {
        match e {
            HeadError::HeadTooLarge => Self::HeadSize,
            HeadError::TooManyFields => Self::Fields,
            HeadError::TargetTooLong => Self::TargetSize,
            _ => Self::BadHead,
        }
    }

    /// Its name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadHead => "bad_head",
            Self::HeadSize => "head_size",
            Self::Fields => "fields",
            Self::TargetSize => "target_size",
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::BadBody => "bad_body",
            Self::BodySize => "body_size",
            Self::SendTimeout => "send_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::TotalTimeout => "total_timeout",
            Self::HalfClosedTimeout => "half_closed_timeout",
            Self::RequestsPerConn => "requests_per_conn",
            Self::ConnAge => "conn_age",
            Self::Misdirected => "misdirected",
            Self::Glitches => "glitches",
        }
    }
}

/// Numbers of a server that speaks HTTP. They outlive reloads.
#[derive(Debug)]
pub struct HttpCounters {
    /// Requests answered.
    pub requests: Counter,
    /// Requests answered with a status from 500 on.
    pub errors: Counter,
    /// Panics of handlets.
    pub panics: Counter,
    limits: [Counter; Limit::ALL.len()],
}

impl HttpCounters {
    pub(crate) fn new(cores: usize) -> Self {
        let counter = || Counter::new(cores);
        let limits = std::array::from_fn(|_| counter());
        Self { requests: counter(), errors: counter(), panics: counter(), limits }
    }

    /// How often a limit was hit.
    #[must_use]
    pub fn limit(&self, limit: Limit) -> &Counter {
        &self.limits[limit as usize]
    }

    /// What they counted, by their names in metrics.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all =
            [("requests", &self.requests), ("errors", &self.errors), ("panics", &self.panics)];
        let all = all.map(|(name, counter)| (name, counter.sum()));
        all.into_iter().chain(Limit::ALL.map(|limit| (limit.name(), self.limit(limit).sum())))
    }
}
