//! Requests to a CA: signed, with a nonce each (RFC 8555, 6), by an account that is made when it is needed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hemi_proto::acme::{Directory, Problem, retry_after};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::account::Account;
use super::ca::Ca;
use super::error::{Failure, Why};
use super::store::{Lock, Store};
use crate::client::Answer;
use crate::config::url::{Origin, Scheme};
use crate::{HttpUrl, clock};

/// A CA, and who asks it.
pub(super) struct Session<'a> {
    pub(super) ca: &'a Ca,
    pub(super) directory: Directory,
    pub(super) account: Arc<Account>,
    /// The nonce that the last answer brought.
    nonce: Mutex<Option<String>>,
}

/// How often a request is sent anew because the CA did not like its nonce.
const TRIES: usize = 10;

/// What a field may be at most to be believed, as a pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);

const AGENT: &str = concat!("hemi/", env!("CARGO_PKG_VERSION"));

impl<'a> Session<'a> {
    /// Begins to ask a CA.
    pub(super) async fn open(ca: &'a Ca, email: &[String], store: &Store) -> Result<Self, Failure> {
        let directory: Directory = parse(&get(ca, &ca.directory).await?)?;
        let nonce = Mutex::default();
        let mut known = ca.account.lock().await;
        if let Some(account) = &*known {
            let account = account.clone();
            return Ok(Self { ca, directory, account, nonce });
        }
        // Others are not to make another one meanwhile.
        let _lock = lock(store, &Store::account_lock(ca.name())).await?;
        let (files, name) = (store.clone(), ca.name().to_owned());
        let kept = super::aside(move || files.account(&name)).await??;
        let account = match kept {
            Some(document) => Account::of(document)?,
            None => Account::new()?,
        };
        let mut session = Self { ca, directory, account: Arc::new(account), nonce };
        if !session.account.is_known() {
            session.register(email, store).await?;
        }
        *known = Some(session.account.clone());
        drop(known);
        Ok(session)
    }

    /// Makes an account with our key, or finds the one that is there (RFC 8555, 7.3).
    async fn register(&mut self, email: &[String], store: &Store) -> Result<(), Failure> {
        let contact: Vec<_> = email.iter().map(|address| format!("mailto:{address}")).collect();
        let mut content = json!({ "termsOfServiceAgreed": true });
        if !contact.is_empty() {
            content["contact"] = contact.into();
        }
        let url = self.directory.new_account.clone();
        match &self.ca.binding {
            Some(binding) => {
                content["externalAccountBinding"] = self.account.bind(binding, &url);
            }
            None if self.directory.meta.external_account_required => {
                return Err(Why::Unbound.into());
            }
            None => {}
        }
        let answer = self.post(&url, Some(&content)).await?;
        let account = answer.headers.get(LOCATION).and_then(|url| url.to_str().ok());
        let account = account.ok_or_else(|| Why::Answer("it names no account".to_owned()))?;
        let known = Account::of(self.account.document())?.known_by(account.to_owned());
        let (files, name, document) = (store.clone(), self.ca.name().to_owned(), known.document());
        super::aside(move || files.keep_account(&name, &document)).await??;
        tracing::info!(ca = self.ca.name(), account, "registered with the CA");
        self.account = Arc::new(known);
        Ok(())
    }

    /// Forgets an account that the CA knows no more, but not its key.
    pub(super) async fn forget_account(&self, store: &Store) -> Result<(), Failure> {
        let mut known = self.ca.account.lock().await;
        let unknown = Account::of(self.account.document())?.known_by(String::new());
        let (files, name, document) =
            (store.clone(), self.ca.name().to_owned(), unknown.document());
        super::aside(move || files.keep_account(&name, &document)).await??;
        *known = None;
        Ok(())
    }

    /// Sends a signed request; without content it asks for what is there.
    pub(super) async fn post(&self, url: &str, content: Option<&Value>) -> Result<Answer, Failure> {
        let target = self.url(url)?;
        let client = self.ca.client.at(target);
        let mut tries = 0;
        loop {
            tries += 1;
            let kept = self.nonce.lock().unwrap_or_else(PoisonError::into_inner).take();
            let nonce = match kept {
                Some(nonce) => nonce,
                None => self.new_nonce().await?,
            };
            let body = self.account.sign(&nonce, url, content)?.to_string();
            let mut fields = fields();
            fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/jose+json"));
            let answer = client.post(fields, body.as_bytes()).await;
            let answer = answer.map_err(|error| Why::Client { url: url.to_owned(), error })?;
            *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = nonce_of(&answer);
            match check(answer) {
                Err(Failure { why: Why::Problem(problem), .. })
                    if problem.is("badNonce") && tries < TRIES => {}
                result => return result,
            }
        }
    }

    /// The same, with the answer in JSON, and how long the CA wants to be left alone.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        url: &str,
        content: Option<&Value>,
    ) -> Result<(T, Option<Duration>), Failure> {
        let answer = self.post(url, content).await?;
        Ok((parse(&answer)?, pause(&answer)))
    }

    async fn new_nonce(&self) -> Result<String, Failure> {
        let answer = get(self.ca, &self.url(&self.directory.new_nonce)?).await?;
        nonce_of(&answer).ok_or_else(|| Why::Answer("it has no nonce".to_owned()).into())
    }

    /// A URL that the CA has named: one to be asked over TLS, unless its directory is not.
    fn url(&self, url: &str) -> Result<HttpUrl, Failure> {
        checked(self.ca, url)
    }
}

/// Waits for the right to work at something.
pub(super) async fn lock(store: &Store, what: &str) -> Result<Lock, Failure> {
    loop {
        let (files, name) = (store.clone(), what.to_owned());
        if let Some(lock) = super::aside(move || files.try_lock(&name)).await?? {
            return Ok(lock);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What a CA says at a URL that it has named, without a signature; and how long it wants to be left alone.
pub(super) async fn look<T: DeserializeOwned>(
    ca: &Ca,
    url: &str,
) -> Result<(T, Option<Duration>), Failure> {
    let answer = get(ca, &checked(ca, url)?).await?;
    Ok((parse(&answer)?, pause(&answer)))
}

/// The directory of a CA.
pub(super) async fn directory(ca: &Ca) -> Result<Directory, Failure> {
    parse(&get(ca, &ca.directory).await?)
}

fn checked(ca: &Ca, url: &str) -> Result<HttpUrl, Failure> {
    let parsed: HttpUrl = url.parse().map_err(|_| Why::Answer(format!("{url:?} is no URL")))?;
    let tls = |url: &HttpUrl| matches!(url.origin, Origin::Tcp { scheme: Scheme::Https, .. });
    let unix = matches!(parsed.origin, Origin::Unix(_));
    if unix || (tls(&ca.directory) && !tls(&parsed)) {
        return Err(Why::Answer(format!("{url:?} is not asked over TLS")).into());
    }
    Ok(parsed)
}

async fn get(ca: &Ca, url: &HttpUrl) -> Result<Answer, Failure> {
    let answer = ca.client.at(url.clone()).get(fields()).await;
    check(answer.map_err(|error| Why::Client { url: url.as_str().to_owned(), error })?)
}

fn fields() -> HeaderMap {
    HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(AGENT))])
}

fn nonce_of(answer: &Answer) -> Option<String> {
    answer.headers.get("replay-nonce")?.to_str().ok().map(str::to_owned)
}

fn pause(answer: &Answer) -> Option<Duration> {
    let field = answer.headers.get(RETRY_AFTER)?;
    Some(retry_after(field.as_bytes(), clock::calendar())?.min(LONGEST_PAUSE))
}

fn check(answer: Answer) -> Result<Answer, Failure> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let problem: Option<Problem> = serde_json::from_slice(&answer.content).ok();
    let why = match problem.filter(|problem| !problem.kind.is_empty()) {
        Some(problem) => Why::Problem(problem),
        None => Why::Status(answer.status.as_u16()),
    };
    Err(Failure { why, pause: pause(&answer) })
}

fn parse<T: DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    serde_json::from_slice(&answer.content).map_err(|e| Why::Answer(e.to_string()).into())
}
