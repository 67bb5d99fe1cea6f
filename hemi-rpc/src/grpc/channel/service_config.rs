//! What the owners of services say of how they should be called: service configs, in JSON
//! (<https://github.com/grpc/grpc/blob/master/doc/service_config.md>, proposal A6).

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use tonic::Code;

use super::retry::Retry;

/// How often a call is made in all, at most, whatever a config says (proposal A6).
const MOST_ATTEMPTS: u32 = 5;

/// How methods are called: read from JSON by `parse`.
///
/// `methodConfig` with `name`, `timeout`, `waitForReady`, `retryPolicy` and `hedgingPolicy` is kept to, and so is
/// `retryThrottling`; of other keys no notice is taken.
#[derive(Clone, Debug, Default)]
pub struct ServiceConfig {
    /// By `service/method`, `service/`, or nothing for all others.
    methods: HashMap<String, MethodConfig>,
    pub(super) throttling: Option<Throttling>,
}

/// A text that is no service config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the service config can't be used: {0}")]
pub struct BadServiceConfig(String);

/// How a method is called.
#[derive(Clone, Debug, Default)]
pub(super) struct MethodConfig {
    /// How long a call may take, if its caller does not say less.
    pub(super) timeout: Option<Duration>,
    /// Whether a call waits for a node that can be connected to.
    pub(super) waits: bool,
    pub(super) again: Again,
}

/// Whether a call is made more than once.
#[derive(Clone, Debug, Default)]
pub(super) enum Again {
    #[default]
    Never,
    /// When it has come to nothing.
    Retry(Retry),
    /// When there is no answer yet.
    Hedge(Hedging),
}

/// Calls that are made again before their answer is there: whichever comes first is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hedging {
    pub(super) attempts: u32,
    /// How long after the one before.
    pub(super) delay: Duration,
    /// By what codes an answer is none: the next one is sent at once.
    pub(super) codes: Vec<Code>,
}

/// How much more is sent to nodes that fail: in thousandths of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Throttling {
    pub(super) most: i64,
    pub(super) ratio: i64,
}

impl FromStr for ServiceConfig {
    type Err = BadServiceConfig;

    fn from_str(json: &str) -> Result<Self, BadServiceConfig> {
        let read: Config = serde_json::from_str(json).map_err(|e| bad(&e.to_string()))?;
        let mut methods = HashMap::new();
        for method in &read.method_config {
            let config = method.read()?;
            for name in &method.name {
                if methods.insert(name.key()?, config.clone()).is_some() {
                    return Err(bad(&format!("`{}/{}` is there twice", name.service, name.method)));
                }
            }
        }
        let throttling = read.retry_throttling.map(|throttling| throttling.read()).transpose()?;
        Ok(Self { methods, throttling })
    }
}

impl ServiceConfig {
    /// Reads a service config.
    ///
    /// # Errors
    /// When it can't be used: a client of gRPC has to refuse it as a whole then.
    pub fn parse(json: &str) -> Result<Self, BadServiceConfig> {
        json.parse()
    }

    /// How the method of a request is called, whose path is `/service/method`.
    pub(super) fn method(&self, path: &str) -> Option<&MethodConfig> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let service = path.find('/').map_or(path.len(), |at| at + 1);
        let by_service = || self.methods.get(path.get(..service)?);
        self.methods.get(path).or_else(by_service).or_else(|| self.methods.get(""))
    }
}

fn bad(why: &str) -> BadServiceConfig {
    BadServiceConfig(why.to_owned())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Config {
    method_config: Vec<Method>,
    retry_throttling: Option<RetryThrottling>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Method {
    name: Vec<Name>,
    timeout: Option<String>,
    wait_for_ready: bool,
    retry_policy: Option<RetryPolicy>,
    hedging_policy: Option<HedgingPolicy>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Name {
    service: String,
    method: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetryPolicy {
    max_attempts: u32,
    initial_backoff: String,
    max_backoff: String,
    backoff_multiplier: f64,
    retryable_status_codes: Vec<AnyCode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HedgingPolicy {
    max_attempts: u32,
    #[serde(default)]
    hedging_delay: Option<String>,
    #[serde(default)]
    non_fatal_status_codes: Vec<AnyCode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetryThrottling {
    max_tokens: f64,
    token_ratio: f64,
}

/// A code by its name, or by its number.
#[derive(Deserialize)]
#[serde(untagged)]
enum AnyCode {
    Number(i32),
    Name(String),
}

impl Name {
    fn key(&self) -> Result<String, BadServiceConfig> {
        match (self.service.is_empty(), self.method.is_empty()) {
            (true, true) => Ok(String::new()),
            (true, false) => Err(bad("a name has a method without a service")),
            (false, _) => Ok(format!("{}/{}", self.service, self.method)),
        }
    }
}

impl Method {
    fn read(&self) -> Result<MethodConfig, BadServiceConfig> {
        let again = match (&self.retry_policy, &self.hedging_policy) {
            (Some(_), Some(_)) => {
                return Err(bad("`retryPolicy` and `hedgingPolicy` exclude each other"));
            }
            (Some(policy), None) => Again::Retry(policy.read()?),
            (None, Some(policy)) => Again::Hedge(policy.read()?),
            (None, None) => Again::Never,
        };
        let timeout = self.timeout.as_deref().map(duration).transpose()?;
        Ok(MethodConfig { timeout, waits: self.wait_for_ready, again })
    }
}

impl RetryPolicy {
    fn read(&self) -> Result<Retry, BadServiceConfig> {
        let multiplier = self.backoff_multiplier;
        if !(multiplier > 0.0 && multiplier.is_finite()) {
            return Err(bad("`backoffMultiplier` has to be more than 0"));
        }
        if self.retryable_status_codes.is_empty() {
            return Err(bad("`retryableStatusCodes` names none"));
        }
        Ok(Retry {
            attempts: attempts(self.max_attempts)?,
            codes: codes(&self.retryable_status_codes)?,
            first_pause: positive("initialBackoff", &self.initial_backoff)?,
            longest_pause: positive("maxBackoff", &self.max_backoff)?,
            multiplier,
        })
    }
}

impl HedgingPolicy {
    fn read(&self) -> Result<Hedging, BadServiceConfig> {
        Ok(Hedging {
            attempts: attempts(self.max_attempts)?,
            delay: self.hedging_delay.as_deref().map_or(Ok(Duration::ZERO), duration)?,
            codes: codes(&self.non_fatal_status_codes)?,
        })
    }
}

impl RetryThrottling {
    fn read(&self) -> Result<Throttling, BadServiceConfig> {
        if !(self.max_tokens > 0.0 && self.max_tokens <= 1000.0) {
            return Err(bad("`maxTokens` has to be more than 0, and 1000 at most"));
        }
        if !(self.token_ratio > 0.0 && self.token_ratio <= 1000.0) {
            return Err(bad("`tokenRatio` has to be more than 0"));
        }
        // Three decimals count.
        let thousandths = |number: f64| (number * 1000.0) as i64;
        Ok(Throttling {
            most: thousandths(self.max_tokens),
            ratio: thousandths(self.token_ratio).max(1),
        })
    }
}

fn attempts(most: u32) -> Result<u32, BadServiceConfig> {
    match most {
        0 | 1 => Err(bad("`maxAttempts` has to be more than 1")),
        _ => Ok(most.min(MOST_ATTEMPTS)),
    }
}

fn positive(what: &str, text: &str) -> Result<Duration, BadServiceConfig> {
    let time = duration(text)?;
    if time.is_zero() { Err(bad(&format!("`{what}` has to be more than 0"))) } else { Ok(time) }
}

/// `"1.5s"`: seconds with at most nine decimals, as JSON has a `google.protobuf.Duration`.
/// Seconds of a time, at most: some ten thousand years (google.protobuf.Duration).
const MOST: u64 = 315_576_000_000;

fn duration(text: &str) -> Result<Duration, BadServiceConfig> {
    let read = || {
        let (whole, part) = match text.strip_suffix('s')?.split_once('.') {
            Some((whole, part)) if !part.is_empty() => (whole, part),
            Some(_) => return None,
            None => (text.strip_suffix('s')?, ""),
        };
        let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || part.len() > 9 || !is_number(whole) || !is_number(part) {
            return None;
        }
        let nanos = format!("{part:0<9}").parse().ok()?;
        let whole = whole.parse().ok().filter(|seconds| *seconds <= MOST)?;
        Some(Duration::new(whole, nanos))
    };
    read().ok_or_else(|| bad(&format!("\"{text}\" is no time, such as \"1.5s\"")))
}

fn codes(read: &[AnyCode]) -> Result<Vec<Code>, BadServiceConfig> {
    read.iter().map(AnyCode::read).collect()
}

impl AnyCode {
    fn read(&self) -> Result<Code, BadServiceConfig> {
        match self {
            Self::Number(number @ 0..=16) => Ok(Code::from_i32(*number)),
            Self::Number(number) => Err(bad(&format!("{number} is no code"))),
            Self::Name(name) => {
                let at = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name));
                let code = at.and_then(|at| i32::try_from(at).ok()).map(Code::from_i32);
                code.ok_or_else(|| bad(&format!("\"{name}\" is no code")))
            }
        }
    }
}

/// Codes in their order.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {"name": [{"service": "a.A", "method": "M"}, {"service": "a.A", "method": "N"}], "timeout": "1.5s"},
            {"name": [{"service": "a.A"}], "waitForReady": true, "retryPolicy": {
                "maxAttempts": 9, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 1.5,
                "retryableStatusCodes": ["UNAVAILABLE", 10]}},
            {"name": [{}], "hedgingPolicy": {
                "maxAttempts": 3, "hedgingDelay": "0.000000001s", "nonFatalStatusCodes": ["aborted"]}}
        ],
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1236}
    }"#;

    #[test]
    fn the_most_specific_name_counts() {
        let config = ServiceConfig::parse(CONFIG).unwrap();
        let method = |path: &str| config.method(path).unwrap();
        for path in ["/a.A/M", "/a.A/N"] {
            assert_eq!(method(path).timeout, Some(Duration::from_millis(1500)));
            assert!(matches!(method(path).again, Again::Never));
        }
        let service = method("/a.A/Other");
        assert!(service.waits && service.timeout.is_none());
        let Again::Retry(retry) = &service.again else { panic!("{service:?}") };
        assert_eq!((retry.attempts, &retry.codes), (5, &vec![Code::Unavailable, Code::Aborted]));
        let times = (retry.first_pause.as_millis(), retry.longest_pause.as_millis());
        assert_eq!((times, retry.multiplier), ((100, 1000), 1.5));
        for path in ["/a.AB/M", "/b.B/M", "/", "a.A", ""] {
            let Again::Hedge(hedging) = &method(path).again else { panic!("{path}") };
            let (delay, codes) = (Duration::from_nanos(1), vec![Code::Aborted]);
            assert_eq!(hedging, &Hedging { attempts: 3, delay, codes });
        }
        assert_eq!(config.throttling, Some(Throttling { most: 10_000, ratio: 123 }));
        assert!(ServiceConfig::parse("{}").unwrap().method("/a.A/M").is_none());
    }

    #[test]
    fn what_can_not_be_used_is_refused() {
        let retry = |changed: &str, to: &str| CONFIG.replace(changed, to);
        for (json, why) in [
            ("[1]".to_owned(), "invalid"),
            (retry("1.5s", "1.5"), "\"1.5\" is no time"),
            (retry("1.5s", "-1s"), "no time"),
            (retry("1.5s", "1.s"), "no time"),
            (retry("1.5s", "1.0000000001s"), "no time"),
            (retry("\"maxAttempts\": 9", "\"maxAttempts\": 1"), "more than 1"),
            (retry("\"0.1s\"", "\"0s\""), "`initialBackoff`"),
            (retry("\"backoffMultiplier\": 1.5", "\"backoffMultiplier\": 0"), "more than 0"),
            (retry("[\"UNAVAILABLE\", 10]", "[]"), "names none"),
            (retry("\"UNAVAILABLE\"", "\"UNAVAILABEL\""), "\"UNAVAILABEL\" is no code"),
            (retry("10]", "17]"), "17 is no code"),
            (retry("{\"service\": \"a.A\"}", "{\"method\": \"M\"}"), "without a service"),
            (retry("\"N\"", "\"M\""), "`a.A/M` is there twice"),
            (retry("\"waitForReady\": true", "\"hedgingPolicy\": {\"maxAttempts\": 2}"), "exclude"),
            (retry("\"maxTokens\": 10", "\"maxTokens\": 0"), "`maxTokens`"),
            (retry("0.1236", "-1"), "`tokenRatio`"),
        ] {
            let told = ServiceConfig::parse(&json).unwrap_err().to_string();
            assert!(told.contains(why), "{told}: {json}");
        }
    }
}
