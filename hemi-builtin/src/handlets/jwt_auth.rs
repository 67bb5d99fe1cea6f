//! The handlet `jwtAuth`: lets in who has a token that someone trusted has signed (RFC 7519, RFC 6750).
//!
//! ```gorox
//! stage {
//! 	webapp "api" {
//! 		.hostnames = ("*")
//! 		rule {
//! 			jwtAuth {
//! 				.jwksUrl = "http://127.0.0.1:8080/.well-known/jwks.json"
//! 				.issuers = ("https://login.example.org")
//! 				.audiences = ("api.example.org")
//! 				.claimsToFields = ["email": "x-user-email"]
//! 			}
//! 		}
//! 		rule { .returnCode = 200  .returnText = "Hello, " + $remoteUser }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("api") }
//! }
//! ```
//!
//! The token is that of the field `authorization: Bearer`. Whom it names is `$remoteUser` for all that
//! comes after. Without a token, or with one that is no good, the answer is 401; with one that lacks a
//! scope 403; with two tokens 400; and while there are no keys yet, 503.
//!
//! What is checked, after RFC 8725: the algorithm is an allowed one, and what the key is meant for; no
//! header is `crit`; the claims `exp`, `nbf`, `iss` and `aud`. A token that was good is remembered until
//! it expires, or keys change.

mod claims;
mod keys;
mod sources;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use hemi_core::clock;
use hemi_core::config::{Diagnostic, Secret};
use hemi_core::tls::ConnectorConfig;
use hemi_core::{Component, CreateCx, Error, Explain, HttpUrl, Lifecycle, Prepare, Result, Run};
use hemi_proto::jws::Jws;
use hemi_proto::query;
use hemi_web::{Handlet, Reply, Request, Response};
use http::StatusCode;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    WWW_AUTHENTICATE,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

use crate::field_edits::FieldName;
use crate::realm::{Realm, credentials};

use claims::{Claims, Expected, Flaw};
use keys::{Algorithm, Key};
use sources::Sources;

/// Lets in who has a token.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct JwtAuthConfig {
    /// What the client is told it needs a token for.
    realm: Realm,
    /// How tokens may be signed: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, and
    /// HS256, HS384 and HS512 with `.secret` only. By default RS256, ES256, EdDSA, PS256 and ES384, or
    /// HS256 if there is a secret and nothing else.
    algorithms: Option<Vec<Algorithm>>,
    /// PEM files of public keys. These files and `.jwksFile` are read again within a second after they
    /// have changed; if that fails, what they said before holds.
    keys: Vec<PathBuf>,
    /// The secret that tokens are signed with, for HS256 of 32 bytes at least.
    secret: Option<Secret>,
    /// A file with a JSON Web Key Set.
    jwks_file: Option<PathBuf>,
    /// Where a JSON Web Key Set is fetched. It is waited for 3 s when the stage begins; without keys
    /// requests are answered 503. If it can't be fetched later, the keys known before hold.
    jwks_url: Option<HttpUrl>,
    /// How often it is fetched; besides, at once, but not within 10 s, when a token names another key.
    refresh_every: Duration,
    /// Whether clients of a proxy are asked, in front of a `connectProxy`: the token is that of the field
    /// `proxy-authorization` then, and who has none that is good is answered 407.
    proxy: bool,
    /// The cookie that a token may be in too.
    cookie: Option<String>,
    /// The query parameter that a token may be in too. Such tokens end up in logs.
    query: Option<String>,
    /// Whose tokens are good: the claim `iss`. By default anyone's who has a key.
    issuers: Vec<String>,
    /// For whom tokens must be: the claim `aud`. By default those for nobody in particular.
    audiences: Vec<String>,
    /// Claims that must be there.
    require: Vec<String>,
    /// How much the clocks of others may differ.
    leeway: Duration,
    /// The type that tokens must have, such as `"at+jwt"`; by default any.
    r#type: Option<String>,
    /// The claim that becomes `$remoteUser`.
    user_claim: String,
    /// Fields of the request that claims are put into, for those who handle it: lists joined by commas.
    /// Fields of these names that the client sends are removed.
    claims_to_fields: BTreeMap<String, FieldName>,
    /// Scopes that must be granted: 403 if one is not.
    scopes: Vec<String>,
}

impl Default for JwtAuthConfig {
    fn default() -> Self {
        Self {
            realm: Realm::default(),
            algorithms: None,
            keys: Vec::new(),
            secret: None,
            jwks_file: None,
            jwks_url: None,
            refresh_every: Duration::from_secs(600),
            proxy: false,
            cookie: None,
            query: None,
            issuers: Vec::new(),
            audiences: Vec::new(),
            require: Vec::from(["exp".to_owned()]),
            leeway: Duration::from_secs(60),
            r#type: None,
            user_claim: "sub".to_owned(),
            claims_to_fields: BTreeMap::new(),
            scopes: Vec::new(),
        }
    }
}

/// Tokens that a core remembers, at most.
const REMEMBERED: usize = 10_000;

/// Lets in who has a token.
pub struct JwtAuth {
    realm: Realm,
    algorithms: Vec<Algorithm>,
    proxy: bool,
    cookie: Option<String>,
    query: Option<String>,
    expected: Expected,
    r#type: Option<String>,
    user_claim: String,
    claims_to_fields: Vec<(String, HeaderName)>,
    scopes: Vec<String>,
    sources: Sources<Good>,
}

/// What follows from a good token.
struct Good {
    user: Option<Box<str>>,
    fields: Vec<(HeaderName, HeaderValue)>,
    granted: bool,
    /// In seconds since 1970.
    until: f64,
}

/// Why a token is none.
enum Refusal {
    Flaw(Flaw),
    /// That which it was signed with is not known.
    UnknownKey,
    NoKeys,
}

/// The key that a token was signed with may be there once keys are fetched again.
struct UnknownKey;

/// What a request has for a token.
struct Token<'r> {
    text: Cow<'r, [u8]>,
    from_query: bool,
}

/// It has several.
struct Several;

impl From<Flaw> for Refusal {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

/// Of a token (RFC 7515, 4.1). Where keys could be found it may say as well; nobody listens.
#[derive(Deserialize)]
struct Header<'a> {
    alg: Cow<'a, str>,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

impl Component for JwtAuth {
    const SIGN: &'static str = "jwtAuth";
    type Config = (JwtAuthConfig, ConnectorConfig);

    fn create((config, tls): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let public =
            !config.keys.is_empty() || config.jwks_file.is_some() || config.jwks_url.is_some();
        if !public && config.secret.is_none() {
            let message = "no token could be verified: there are no keys";
            let help = "write `.jwksUrl`, `.jwksFile`, `.keys` or `.secret`";
            return Err(Diagnostic::new(cx.span(), message).help(help).into());
        }
        let algorithms = config.algorithms.unwrap_or_else(|| match public {
            true => Algorithm::USUAL.to_vec(),
            false => Vec::from([Algorithm::Hs256]),
        });
        for algorithm in &algorithms {
            match (algorithm.secret_len(), &config.secret) {
                (Some(_), None) => {
                    let message = format!("{} needs a `.secret`", algorithm.name());
                    return Err(Error::config(cx.span(), message));
                }
                (Some(len), Some(secret)) if secret.expose().len() < len => {
                    let message = format!(
                        "the secret is too short: {} needs {len} bytes at least",
                        algorithm.name()
                    );
                    return Err(Error::config(cx.span(), message));
                }
                _ => {}
            }
        }
        let is_scope = |scope: &String| {
            !scope.is_empty()
                && scope.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\".contains(&b))
        };
        if !config.scopes.iter().all(is_scope) {
            let message = "a scope has letters, digits and signs only, but no `\"` and `\\`";
            return Err(Error::config(cx.span(), message));
        }
        let mut sources = Sources::new(algorithms.clone(), cx);
        if let Some(secret) = config.secret {
            sources.add_secret(secret.expose());
        }
        for path in config.keys {
            sources.add_pem(cx.path(path));
        }
        if let Some(path) = config.jwks_file {
            sources.add_jwks(cx.path(path));
        }
        if let Some(url) = config.jwks_url {
            sources.add_remote(url, config.refresh_every, tls, cx)?;
        }
        Ok(Self {
            realm: config.realm,
            algorithms,
            proxy: config.proxy,
            cookie: config.cookie,
            query: config.query,
            expected: Expected {
                leeway: config.leeway.as_secs_f64(),
                issuers: config.issuers,
                audiences: config.audiences,
                required: config.require,
            },
            r#type: config.r#type,
            user_claim: config.user_claim,
            claims_to_fields: config
                .claims_to_fields
                .into_iter()
                .map(|(claim, FieldName(field))| (claim, field))
                .collect(),
            scopes: config.scopes,
            sources,
        })
    }
}

impl Lifecycle for JwtAuth {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        self.sources.prepare()
    }

    async fn run(&self, cx: &Run) {
        tokio::select! {
            () = cx.shut().cancelled() => {}
            () = self.sources.follow() => {}
        }
        // Requests under way are still checked, by what is known.
    }
}

impl Handlet for JwtAuth {
    async fn handle(&self, req: &mut Request) -> Reply {
        match self.check(req) {
            Ok(reply) => return reply,
            Err(UnknownKey) => self.sources.refresh().await,
        }
        self.check(req).unwrap_or_else(|UnknownKey| self.refuse(UNKNOWN_KEY))
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        match self.check(req) {
            Ok(reply) => Some(reply),
            Err(UnknownKey) if self.sources.can_be_refreshed() => None,
            Err(UnknownKey) => Some(self.refuse(UNKNOWN_KEY)),
        }
    }
}

const UNKNOWN_KEY: Flaw = "no known key has signed the token";

impl JwtAuth {
    fn check(&self, req: &mut Request) -> Result<Reply, UnknownKey> {
        for (_, field) in &self.claims_to_fields {
            req.headers_mut().remove(field);
        }
        let (good, from_query) = match self.token(req) {
            Ok(Some(token)) => (self.good(&token.text), token.from_query),
            // Who has not tried is told no error (RFC 6750, 3.1).
            Ok(None) => return Ok(self.challenge(StatusCode::UNAUTHORIZED, "")),
            Err(Several) => {
                let error = ", error=\"invalid_request\"";
                return Ok(self.challenge(StatusCode::BAD_REQUEST, error));
            }
        };
        match good {
            Ok(good) => {
                if from_query {
                    req.revise(keep_private);
                }
                Ok(self.admit(req, &good))
            }
            Err(Refusal::Flaw(flaw)) => Ok(self.refuse(flaw)),
            Err(Refusal::UnknownKey) => Err(UnknownKey),
            Err(Refusal::NoKeys) => Ok(StatusCode::SERVICE_UNAVAILABLE.into()),
        }
    }

    /// The token, from wherever it may be; a request has one only (RFC 6750, 2).
    fn token<'r>(&self, req: &'r Request) -> Result<Option<Token<'r>>, Several> {
        let name = if self.proxy { PROXY_AUTHORIZATION } else { AUTHORIZATION };
        let mut fields = req.headers().get_all(name).iter();
        let field = fields.next();
        if fields.next().is_some() {
            return Err(Several);
        }
        let from_field = field.and_then(|field| credentials(field.as_bytes(), "bearer"));
        let from_field = from_field.map(Cow::Borrowed);
        let from_cookie = self.cookie.as_ref().and_then(|name| req.cookie(name));
        let from_cookie = from_cookie.map(|text| Cow::Borrowed(text.as_bytes()));
        let query = req.query().unwrap_or_default().as_bytes();
        let from_query = self.query.as_ref().and_then(|n| query::value(query, n.as_bytes()));
        let is_from_query = from_query.is_some();
        let mut found = [from_field, from_cookie, from_query].into_iter().flatten();
        let token = found.next().map(|text| Token { text, from_query: is_from_query });
        if found.next().is_some() { Err(Several) } else { Ok(token) }
    }

    /// What follows from a token, if it is good.
    fn good(&self, token: &[u8]) -> Result<Arc<Good>, Refusal> {
        let digest = Sha256::digest(token).into();
        let now = clock::calendar().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut known = self.sources.known();
        if let Some(good) = known.good.get(&digest).filter(|good| now < good.until) {
            return Ok(good.clone());
        }
        let good = Arc::new(self.verify(token, &known.keys, now)?);
        if known.good.len() >= REMEMBERED {
            known.good.clear();
        }
        known.good.insert(digest, good.clone());
        Ok(good)
    }

    fn verify(&self, token: &[u8], keys: &[Arc<Key>], now: f64) -> Result<Good, Refusal> {
        if keys.is_empty() {
            return Err(Refusal::NoKeys);
        }
        let jws = Jws::parse(token).map_err(|_| "this is no token")?;
        let header: Header<'_> =
            serde_json::from_slice(&jws.header).map_err(|_| "the token has a bad header")?;
        if header.crit.is_some() {
            return Err("the token needs what is not known here".into());
        }
        let algorithm = Algorithm::named(&header.alg).filter(|a| self.algorithms.contains(a));
        let algorithm = algorithm.ok_or("the token is signed in a way that is not allowed")?;
        if self.r#type.as_ref().is_some_and(|wanted| !is_type(header.typ.as_deref(), wanted)) {
            return Err("the token is of another type".into());
        }
        let id = header.kid.as_deref();
        let mut fitting = keys.iter().filter(|key| key.may_be(id));
        if !fitting.any(|key| key.verifies(algorithm, jws.signed, &jws.signature)) {
            return match id.is_some_and(|id| keys.iter().any(|key| key.is(id))) {
                true => Err("the token's signature is wrong".into()),
                false => Err(Refusal::UnknownKey),
            };
        }
        let claims: Claims =
            serde_json::from_slice(&jws.payload).map_err(|_| "the token has no claims")?;
        let until = self.expected.check(&claims, now)?;
        Ok(Good {
            user: claims::text(&claims, &self.user_claim).map(Into::into),
            fields: self.fields(&claims),
            granted: self.scopes.iter().all(|scope| claims::grants(&claims, scope)),
            until,
        })
    }

    fn fields(&self, claims: &Claims) -> Vec<(HeaderName, HeaderValue)> {
        let field = |(claim, name): &(String, HeaderName)| {
            let value = HeaderValue::try_from(claims::text(claims, claim)?).ok()?;
            Some((name.clone(), value))
        };
        self.claims_to_fields.iter().filter_map(field).collect()
    }

    fn admit(&self, req: &mut Request, good: &Good) -> Reply {
        if let Some(user) = &good.user {
            req.set_user(user.clone());
        }
        if !good.granted {
            let scopes = self.scopes.join(" ");
            let error = format!(", error=\"insufficient_scope\", scope=\"{scopes}\"");
            return self.challenge(StatusCode::FORBIDDEN, &error);
        }
        for (name, value) in &good.fields {
            req.headers_mut().insert(name, value.clone());
        }
        Reply::Next
    }

    fn refuse(&self, flaw: Flaw) -> Reply {
        let error = format!(", error=\"invalid_token\", error_description=\"{flaw}\"");
        self.challenge(StatusCode::UNAUTHORIZED, &error)
    }

    fn challenge(&self, status: StatusCode, error: &str) -> Reply {
        let challenge = self.realm.challenge("Bearer", error);
        let (status, name) = match (self.proxy, status) {
            (false, _) => (status, WWW_AUTHENTICATE),
            (true, StatusCode::UNAUTHORIZED) => {
                (StatusCode::PROXY_AUTHENTICATION_REQUIRED, PROXY_AUTHENTICATE)
            }
            (true, _) => (status, PROXY_AUTHENTICATE),
        };
        Response::from(status).field(name, challenge).into()
    }
}

/// Whether a type is the wanted one; what stands before the `/` may be left out (RFC 7515, 4.1.9).
fn is_type(typ: Option<&str>, wanted: &str) -> bool {
    let short = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.strip_prefix("application/").map(str::to_owned).unwrap_or(name)
    };
    typ.is_some_and(|typ| short(typ) == short(wanted))
}

/// An answer to a request whose target is a secret (RFC 6750, 2.3).
fn keep_private(response: &mut Response) {
    let private = HeaderValue::from_static("private");
    response.headers_mut().entry(CACHE_CONTROL).or_insert(private);
}
