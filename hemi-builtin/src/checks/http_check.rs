//! The check `httpCheck`: asks a node for a page, and looks at the answer.
//!
//! ```gorox
//! stage {
//! 	http1Backend "api" {
//! 		node { .address = "127.0.0.1:7001" }
//! 		node { .address = "127.0.0.1:7002" }
//! 		httpCheck { .path = "/health"  .expectStatus = ("200")  .expectBody = "ok"  .interval = 5s }
//! 	}
//! 	webapp "site" { .hostnames = ("*")  rule { httpProxy { .toBackend = "api" } } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Inside a backend whose nodes are spoken to over TLS, so it does: `.tlsMode` and the other properties of TLS are
//! the backend's unless they are said again. Each check is a connection of its own.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;

use bytes::BytesMut;
use hemi_core::backend::{Check, CheckConfig, Endpoint};
use hemi_core::client::ask_over;
use hemi_core::config::ConfigType;
use hemi_core::tls::{Connector, ConnectorConfig, Link};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result};
use hemi_proto::http1::encode_request;
use http::header::{CONNECTION, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::field_edits::FieldName;

/// Bytes of an answer's content that are looked at; a longer one is no answer.
const CONTENT: usize = 256 << 10;

/// Asks a node for a page, and looks at the answer.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpCheckConfig {
    /// The method: one that changes nothing.
    method: CheckMethod,
    /// Path and query of the page.
    path: CheckTarget,
    /// The host that is asked for; none for the node's own name.
    host: Option<CheckValue>,
    /// Fields of the request.
    headers: Vec<(FieldName, CheckValue)>,
    /// The statuses that are right, singly (`"200"`) or by class (`"2xx"`).
    expect_status: Vec<Statuses>,
    /// What the content has to have in it; empty for any content.
    expect_body: String,
    /// Whether the node is spoken to over TLS.
    tls_mode: bool,
}

impl Default for HttpCheckConfig {
    fn default() -> Self {
        Self {
            method: CheckMethod(Method::GET),
            path: CheckTarget("/".to_owned()),
            host: None,
            headers: Vec::new(),
            expect_status: Vec::from([Statuses::Class(2), Statuses::Class(3)]),
            expect_body: String::new(),
            tls_mode: false,
        }
    }
}

/// Asks a node for a page, and looks at the answer.
pub struct HttpCheck {
    check: CheckConfig,
    config: HttpCheckConfig,
    connector: Option<Arc<Connector>>,
}

impl Component for HttpCheck {
    const SIGN: &'static str = "httpCheck";
    const ABOUT: Option<&'static str> = Some("Asks a node for a page, and looks at the answer.");
    type Config = (CheckConfig, HttpCheckConfig, ConnectorConfig);

    fn create((check, config, tls): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let connector = match config.tls_mode {
            true => Some(Arc::new(Connector::new(tls, &["http/1.1"], cx)?)),
            false => None,
        };
        Ok(Self { check, config, connector })
    }
}

impl Lifecycle for HttpCheck {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        self.connector.as_ref().map_or(Ok(()), |connector| connector.prepare())
    }
}

impl Check for HttpCheck {
    fn config(&self) -> &CheckConfig {
        &self.check
    }

    async fn check(&self, node: &Endpoint) -> Result<(), String> {
        let (host, connector) = (node.hostname(), self.connector.as_ref());
        let connected = Link::connect(node.target(), &host, connector).await;
        let link = connected.map_err(|e| format!("cannot connect: {e}"))?;
        let request = self.request(node)?;
        let method = &self.config.method.0;
        let answer = ask_over(link, method, &request, CONTENT).await.map_err(|e| e.to_string())?;
        let config = &self.config;
        if !config.expect_status.iter().any(|statuses| statuses.hold(answer.status)) {
            return Err(format!("it answers {}", answer.status.as_u16()));
        }
        let expected = config.expect_body.as_bytes();
        if memchr::memmem::find(&answer.content, expected).is_none() {
            return Err("its answer has not the content that is expected".to_owned());
        }
        Ok(())
    }
}

impl HttpCheck {
    fn request(&self, node: &Endpoint) -> Result<BytesMut, String> {
        let config = &self.config;
        let mut fields = HeaderMap::new();
        let host = config.host.as_ref().map(|host| host.0.clone());
        fields.insert(HOST, host.unwrap_or_else(|| node.authority()));
        fields.insert(USER_AGENT, HeaderValue::from_static("hemi-check"));
        for (FieldName(name), value) in &config.headers {
            fields.insert(name, value.0.clone());
        }
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
        let mut request = BytesMut::new();
        encode_request(&mut request, &config.method.0, config.path.0.as_bytes(), &fields)
            .map_err(|_| "the request can't be written".to_owned())?;
        Ok(request)
    }
}

impl std::fmt::Debug for HttpCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpCheck").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A method that changes nothing.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct CheckMethod(Method);

/// Path and query of a page.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct CheckTarget(String);

/// A status, or all that begin with the same digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum Statuses {
    One(u16),
    Class(u16),
}

/// The value of a field.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct CheckValue(HeaderValue);

/// What is none of these.
#[derive(Debug, thiserror::Error)]
enum BadCheck {
    #[error("\"{0}\" is no method for a check: write GET, HEAD or OPTIONS")]
    Method(String),
    #[error("\"{0}\" is no path: begin it with a slash, and leave out spaces")]
    Target(String),
    #[error("\"{0}\" is no value of a field")]
    Value(String),
    #[error("\"{0}\" is no status: write one like \"204\", or a class like \"2xx\"")]
    Status(String),
}

impl TryFrom<String> for CheckMethod {
    type Error = BadCheck;

    fn try_from(text: String) -> Result<Self, BadCheck> {
        match text.as_str() {
            "GET" => Ok(Self(Method::GET)),
            "HEAD" => Ok(Self(Method::HEAD)),
            "OPTIONS" => Ok(Self(Method::OPTIONS)),
            _ => Err(BadCheck::Method(text)),
        }
    }
}

impl TryFrom<String> for CheckTarget {
    type Error = BadCheck;

    fn try_from(text: String) -> Result<Self, BadCheck> {
        let is_target = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic());
        if is_target { Ok(Self(text)) } else { Err(BadCheck::Target(text)) }
    }
}

impl TryFrom<String> for CheckValue {
    type Error = BadCheck;

    fn try_from(text: String) -> Result<Self, BadCheck> {
        HeaderValue::try_from(&text).map(Self).map_err(|_| BadCheck::Value(text))
    }
}

impl TryFrom<String> for Statuses {
    type Error = BadCheck;

    fn try_from(text: String) -> Result<Self, BadCheck> {
        let class = text.strip_suffix("xx").and_then(|class| u16::from_str(class).ok());
        match (class, text.parse()) {
            (Some(class @ 2..=5), _) => Ok(Self::Class(class)),
            (_, Ok(code @ 200..600)) => Ok(Self::One(code)),
            _ => Err(BadCheck::Status(text)),
        }
    }
}

impl Statuses {
    fn hold(self, status: StatusCode) -> bool {
        match self {
            Self::One(code) => status.as_u16() == code,
            Self::Class(class) => status.as_u16() / 100 == class,
        }
    }
}

impl ConfigType for CheckMethod {
    fn kind() -> Cow<'static, str> {
        "method".into()
    }

    fn show(&self) -> String {
        self.0.as_str().to_owned().show()
    }
}

impl ConfigType for CheckTarget {
    fn kind() -> Cow<'static, str> {
        "path".into()
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

impl ConfigType for CheckValue {
    fn kind() -> Cow<'static, str> {
        String::kind()
    }

    fn show(&self) -> String {
        String::from_utf8_lossy(self.0.as_bytes()).into_owned().show()
    }
}

impl ConfigType for Statuses {
    fn kind() -> Cow<'static, str> {
        "status".into()
    }

    fn show(&self) -> String {
        match self {
            Self::One(code) => code.to_string().show(),
            Self::Class(class) => format!("{class}xx").show(),
        }
    }
}
