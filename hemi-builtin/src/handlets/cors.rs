//! The handlet `cors`: lets pages of other sites use this one (the CORS protocol of the Fetch standard).
//!
//! ```gorox
//! stage {
//! 	webapp "api" {
//! 		.hostnames = ("api.test")
//! 		rule {
//! 			cors {
//! 				.origins = ("https://shop.test", "https://*.shop.test")
//! 				.methods = ("GET", "POST", "DELETE")
//! 				.headers = ("content-type", "x-csrf-token")
//! 				.credentials = true
//! 			}
//! 		}
//! 		rule { .returnCode = 200  .returnText = "hello" }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("api") }
//! }
//! ```
//!
//! It answers what browsers ask before a request, the preflight: 204, or 403 to other origins. All other
//! requests are left to the next handlet or rule; whoever answers them, the browser is told whether a
//! page may see it. That keeps nobody from asking.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use hemi_core::config::{ConfigType, Diagnostic, Spanned};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_proto::authority::Authority;
use hemi_web::{Handlet, Reply, Request, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN,
};
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::vary::vary_by;

/// Says what pages of other sites may do.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct CorsConfig {
    /// The origins of those pages: `"https://shop.test"`, `"https://*.shop.test"`, `"*"` for all, or
    /// `"null"` for pages that hide theirs, which any page can do.
    origins: Spanned<Vec<OriginPattern>>,
    /// The methods they may use, besides GET, HEAD and POST, which browsers let them use anyway; `"*"`
    /// for all.
    #[serde(default)]
    methods: Vec<Token>,
    /// The fields they may send, besides some that browsers let them send anyway; `"*"` for all but
    /// `authorization`.
    #[serde(default)]
    headers: Vec<Token>,
    /// The fields of answers they may see, besides some that browsers show them anyway; `"*"` for all.
    #[serde(default)]
    exposed_headers: Vec<Token>,
    /// Whether cookies and the like are sent along, as on the site's own pages. Then nothing may be `"*"`,
    /// nor an origin `"null"`.
    #[serde(default)]
    credentials: bool,
    /// How long browsers remember the answer to a preflight; they have limits of their own.
    #[serde(default = "ten_minutes")]
    max_age: Duration,
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

/// Origins (RFC 6454, 6.1), in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum OriginPattern {
    Any,
    /// `null` too.
    Exact(String),
    /// `https://` and `.shop.test:8443` for `https://*.shop.test:8443`
    Below {
        scheme: String,
        suffix: String,
    },
}

/// A text that is no such pattern.
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{0}\" is not an origin: write \"https://shop.test\", \"https://*.shop.test\", \"*\" or \"null\", without a path"
)]
struct BadOrigin(String);

impl TryFrom<String> for OriginPattern {
    type Error = BadOrigin;

    fn try_from(text: String) -> Result<Self, BadOrigin> {
        match &*text {
            "*" => Ok(Self::Any),
            "null" => Ok(Self::Exact(text)),
            _ => Self::parse(&text).ok_or(BadOrigin(text)),
        }
    }
}

impl OriginPattern {
    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (scheme, host) = text.split_once("://")?;
        let in_scheme = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
        if scheme.is_empty() || !scheme.bytes().all(in_scheme) {
            return None;
        }
        let below = host.strip_prefix("*.");
        let authority = Authority::parse(below.unwrap_or(host).to_owned().into()).ok()?;
        if authority.is_empty() || authority.hostname().contains('*') {
            return None;
        }
        // Browsers leave out the port that the scheme stands for.
        let port = match (scheme, authority.port()) {
            ("https", Some(443)) | ("http", Some(80)) => "",
            _ => authority.colonport(),
        };
        let host = authority.hostname();
        Some(match below {
            Some(_) => {
                Self::Below { scheme: format!("{scheme}://"), suffix: format!(".{host}{port}") }
            }
            None => Self::Exact(format!("{scheme}://{host}{port}")),
        })
    }

    fn matches(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => origin == exact.as_bytes(),
            Self::Below { scheme, suffix } => {
                let rest = origin.strip_prefix(scheme.as_bytes());
                let labels = rest.and_then(|rest| rest.strip_suffix(suffix.as_bytes()));
                let in_name = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
                labels.is_some_and(|labels| !labels.is_empty() && labels.iter().all(in_name))
            }
        }
    }
}

impl ConfigType for OriginPattern {
    fn kind() -> Cow<'static, str> {
        "origin".into()
    }

    fn show(&self) -> String {
        match self {
            Self::Any => "\"*\"".to_owned(),
            Self::Exact(origin) => origin.show(),
            Self::Below { scheme, suffix } => format!("{scheme}*{suffix}").show(),
        }
    }
}

/// The name of a method or field, or `*`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Token(String);

/// A text that is no such name.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not the name of a method or field")]
struct BadToken(String);

impl TryFrom<String> for Token {
    type Error = BadToken;

    fn try_from(text: String) -> Result<Self, BadToken> {
        // Names of methods and fields are tokens alike (RFC 9110, 5.6.2).
        match Method::from_bytes(text.as_bytes()) {
            Ok(_) => Ok(Self(text)),
            Err(_) => Err(BadToken(text)),
        }
    }
}

impl ConfigType for Token {
    fn kind() -> Cow<'static, str> {
        "name".into()
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

/// Lets pages of other sites in.
#[derive(Debug)]
pub struct Cors {
    origins: Vec<OriginPattern>,
    credentials: bool,
    /// What the answer to a preflight has, besides the origin.
    preflight: HeaderMap,
    /// The same of other answers.
    actual: Arc<HeaderMap>,
}

impl Component for Cors {
    const SIGN: &'static str = "cors";
    type Config = CorsConfig;

    fn create(config: CorsConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let CorsConfig { origins, methods, headers, exposed_headers, credentials, max_age } =
            config;
        if origins.value.len() > 1 && origins.value.contains(&OriginPattern::Any) {
            let message = "\"*\" is all origins: there are no others";
            return Err(Diagnostic::new(origins.span, message).help("write (\"*\")").into());
        }
        let is_anybodys = |origin: &OriginPattern| match origin {
            OriginPattern::Any => true,
            OriginPattern::Exact(origin) => origin == "null",
            OriginPattern::Below { .. } => false,
        };
        let mut tokens = methods.iter().chain(&headers).chain(&exposed_headers);
        let any = origins.value.iter().any(is_anybodys) || tokens.any(|token| token.0 == "*");
        if credentials && any {
            let message = "with `.credentials` nothing may be \"*\" or \"null\": any page could act for the user";
            return Err(Diagnostic::new(cx.span(), message)
                .help("write which origins, methods and fields are meant")
                .into());
        }
        let mut actual = HeaderMap::new();
        put_list(&mut actual, ACCESS_CONTROL_EXPOSE_HEADERS, &exposed_headers);
        let mut preflight = HeaderMap::new();
        put_list(&mut preflight, ACCESS_CONTROL_ALLOW_METHODS, &methods);
        put_list(&mut preflight, ACCESS_CONTROL_ALLOW_HEADERS, &headers);
        preflight.insert(ACCESS_CONTROL_MAX_AGE, max_age.as_secs().into());
        if credentials {
            for fields in [&mut actual, &mut preflight] {
                let value = HeaderValue::from_static("true");
                fields.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, value);
            }
        }
        Ok(Self { origins: origins.value, credentials, preflight, actual: Arc::new(actual) })
    }
}

/// Puts a list, unless it is empty.
fn put_list(fields: &mut HeaderMap, name: HeaderName, tokens: &[Token]) {
    let list: Vec<&str> = tokens.iter().map(|token| &*token.0).collect();
    if let Ok(value) = HeaderValue::try_from(list.join(", "))
        && !list.is_empty()
    {
        fields.insert(name, value);
    }
}

impl Lifecycle for Cors {}

impl Handlet for Cors {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.check(req)
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        Some(self.check(req))
    }
}

impl Cors {
    fn check(&self, req: &mut Request) -> Reply {
        let allowed = self.allowed(req.headers());
        let asks_first = *req.method() == Method::OPTIONS
            && req.headers().contains_key(ORIGIN)
            && req.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks_first {
            let fields = self.actual.clone();
            req.revise(move |response| tell(response.headers_mut(), allowed, &fields));
            return Reply::Next;
        }
        let status = match allowed {
            Some(_) => StatusCode::NO_CONTENT,
            None => StatusCode::FORBIDDEN,
        };
        let mut response = Response::from(status);
        tell(response.headers_mut(), allowed, &self.preflight);
        response.into()
    }

    /// What `access-control-allow-origin` is for a request; none if its origin may not.
    fn allowed(&self, fields: &HeaderMap) -> Option<HeaderValue> {
        let mut lines = fields.get_all(ORIGIN).iter();
        let origin = lines.next().filter(|_| lines.next().is_none())?;
        if !self.origins.iter().any(|pattern| pattern.matches(origin.as_bytes())) {
            return None;
        }
        let any = self.origins.contains(&OriginPattern::Any) && !self.credentials;
        Some(if any { HeaderValue::from_static("*") } else { origin.clone() })
    }
}

/// Says in the fields of an answer who may see it. Caches are told that others are told otherwise.
fn tell(answer: &mut HeaderMap, allowed: Option<HeaderValue>, fields: &HeaderMap) {
    vary_by(answer, "origin");
    if let Some(origin) = allowed {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer.extend(fields.clone());
    }
}
