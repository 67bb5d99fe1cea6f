//! One order: from the names to the certificate (RFC 8555, 7.4).

use std::time::Duration;

use hemi_proto::acme::jose::base64url;
use hemi_proto::acme::{Authorization, Order, State, Step};
use hemi_proto::x509::Certificate;
use http::header::{LINK, LOCATION};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, RsaKeySize};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::answers::{Answer, Hook, Kind};
use super::error::{Failure, Why};
use super::session::Session;
use super::store::{Document, Store, Stored};
use crate::Explain;

/// How long an order may take.
const ORDER: Duration = Duration::from_secs(600);

/// The first pause before a CA is asked again how far it has come, unless it names one; they grow.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Chains that are looked at for the preferred one.
const CHAINS: usize = 5;

/// The key of a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub(super) enum KeyType {
    /// On the curve P-256: what is cheapest.
    #[default]
    P256,
    /// On the curve P-384.
    P384,
    /// RSA of 2048 bits, for very old clients.
    Rsa2048,
}

/// What is ordered.
pub(super) struct Wish<'a> {
    /// A host, or `*.x`.
    pub(super) name: &'a str,
    pub(super) key: KeyType,
    pub(super) challenge: Kind,
    pub(super) hook: Option<&'a Hook>,
    /// The certificate that it takes the place of (RFC 9773, 5).
    pub(super) replaces: Option<&'a str>,
    pub(super) store: &'a Store,
}

/// Obtains a certificate.
pub(super) async fn obtain(session: &Session<'_>, wish: &Wish<'_>) -> Result<Document, Failure> {
    let done = timeout(ORDER, order(session, wish)).await;
    done.unwrap_or_else(|_| Err(Why::TooLong(ORDER).into()))
}

async fn order(session: &Session<'_>, wish: &Wish<'_>) -> Result<Document, Failure> {
    let mut content = json!({ "identifiers": [{ "type": "dns", "value": wish.name }] });
    if let Some(profile) = &session.ca.profile {
        content["profile"] = profile.as_str().into();
    }
    if let Some(id) = wish.replaces.filter(|_| session.directory.renewal_info.is_some()) {
        content["replaces"] = id.into();
    }
    let begun = session.post(&session.directory.new_order, Some(&content)).await;
    let begun = match begun {
        // What it takes the place of is unknown there, or was replaced already.
        Err(Failure { why: Why::Problem(_), .. }) if content.get("replaces").is_some() => {
            content.as_object_mut().map(|content| content.remove("replaces"));
            session.post(&session.directory.new_order, Some(&content)).await?
        }
        begun => begun?,
    };
    let url = begun.headers.get(LOCATION).and_then(|url| url.to_str().ok());
    let url = url.ok_or_else(|| Why::Answer("it names no order".to_owned()))?;
    let mut order: Order =
        serde_json::from_slice(&begun.content).map_err(|e| Why::Answer(e.to_string()))?;
    let mut pause = Pause::default();
    let (mut key, mut proved) = (None, false);
    loop {
        let told = match order.step() {
            Step::Prove if !proved => {
                for url in &order.authorizations {
                    prove(session, wish, url).await?;
                }
                proved = true;
                None
            }
            Step::Finalize if key.is_none() => {
                let made = make_key(wish.key).await?;
                let request = base64url(&request(wish.name, &made)?);
                key = Some(made);
                let content = json!({ "csr": request });
                let (next, told) = session.ask(&order.finalize, Some(&content)).await?;
                order = next;
                if order.step() != Step::Wait {
                    continue;
                }
                told
            }
            Step::Fetch(certificate) => {
                let key = key.ok_or_else(|| Why::Answer("nobody asked for it".to_owned()))?;
                let chain = fetch(session, &certificate).await?;
                return document(session, wish, &key, &chain);
            }
            Step::Failed => {
                let problem = order.error.unwrap_or_default();
                return Err(Why::Problem(problem).into());
            }
            Step::Prove | Step::Finalize | Step::Wait => None,
        };
        pause.wait(told).await;
        order = session.ask(url, None).await?.0;
    }
}

/// Proves that a name is ours.
async fn prove(session: &Session<'_>, wish: &Wish<'_>, url: &str) -> Result<(), Failure> {
    let (found, _): (Authorization, _) = session.ask(url, None).await?;
    match found.status {
        State::Valid => return Ok(()),
        State::Pending => {}
        other => return Err(Why::Answer(format!("an authorization is {other:?}")).into()),
    }
    let kind = wish.challenge;
    let challenge = found.challenges.iter().find(|challenge| challenge.kind == kind.name());
    let challenge = challenge.ok_or_else(|| {
        let offered = found.challenges.iter().map(|challenge| &*challenge.kind);
        Why::NoChallenge(offered.collect::<Vec<_>>().join(", "))
    })?;
    let (host, token) = (&*found.identifier.value, &*challenge.token);
    if host != wish.name.strip_prefix("*.").unwrap_or(wish.name) {
        return Err(Why::Answer(format!("it is about {host:?}")).into());
    }
    let text = session.account.authorize(token);
    let answer = Answer::put(kind, host, token, &text, wish.store, wish.hook).await?;
    let checked = checked(session, url, &challenge.url, kind).await;
    answer.end().await;
    checked
}

/// Has the CA look for the answer, and waits until it has.
async fn checked(
    session: &Session<'_>,
    url: &str,
    challenge: &str,
    kind: Kind,
) -> Result<(), Failure> {
    session.post(challenge, Some(&json!({}))).await?;
    let (mut pause, mut told) = (Pause::default(), None);
    loop {
        pause.wait(told).await;
        let (found, again): (Authorization, _) = session.ask(url, None).await?;
        told = again;
        match found.status {
            State::Valid => return Ok(()),
            State::Pending | State::Processing => {}
            _ => {
                let problem = found.error().cloned().unwrap_or_default();
                return Err(Why::Challenge { kind: kind.name(), problem }.into());
            }
        }
    }
}

/// Fetches the certificate with its chain, in PEM: the preferred chain, if there is such.
async fn fetch(session: &Session<'_>, url: &str) -> Result<String, Failure> {
    let answer = session.post(url, None).await?;
    let text = |content: &[u8]| {
        let text = String::from_utf8(content.to_vec());
        text.map_err(|_| Why::Answer("the certificate is not PEM".to_owned()))
    };
    let first = text(&answer.content)?;
    let Some(preferred) = &session.ca.preferred_chain else { return Ok(first) };
    if ends_with(&first, preferred) {
        return Ok(first);
    }
    let links = answer.headers.get_all(LINK).iter().filter_map(|link| link.to_str().ok());
    for link in links.filter_map(alternate).take(CHAINS) {
        let other = text(&session.post(link, None).await?.content)?;
        if ends_with(&other, preferred) {
            return Ok(other);
        }
    }
    Ok(first)
}

/// The URL of another chain (RFC 8555, 7.4.2).
fn alternate(link: &str) -> Option<&str> {
    let (url, params) = link.trim().strip_prefix('<')?.split_once('>')?;
    params.replace('"', "").contains("rel=alternate").then_some(url)
}

/// Whether the last certificate of a chain was issued by this name.
fn ends_with(chain: &str, issuer: &str) -> bool {
    let last = CertificateDer::pem_slice_iter(chain.as_bytes()).last().and_then(Result::ok);
    let last = last.as_deref().and_then(Certificate::parse);
    last.is_some_and(|last| last.issuer.common_name().is_some_and(|name| name == issuer))
}

async fn make_key(kind: KeyType) -> Result<KeyPair, Failure> {
    let made = super::aside(move || match kind {
        KeyType::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyType::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyType::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
    });
    made.await?.map_err(|e| Why::Key(format!("cannot make a key: {e}")).into())
}

/// What the CA is to sign (RFC 2986), in DER.
fn request(name: &str, key: &KeyPair) -> Result<Vec<u8>, Why> {
    let cannot = |e: rcgen::Error| Why::Key(format!("cannot make a request: {e}"));
    let mut params = CertificateParams::new(Vec::from([name.to_owned()])).map_err(cannot)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key).map_err(cannot)?.der().to_vec())
}

fn document(
    session: &Session<'_>,
    wish: &Wish<'_>,
    key: &KeyPair,
    chain: &str,
) -> Result<Document, Failure> {
    let document = Stored::document(session.ca.name(), &key.serialize_pem(), chain);
    let stored = Stored::of(&document).filter(Stored::is_valid);
    let host = wish.name.replace('*', "any");
    let of_name = |stored: &Stored| crate::tls::covers(&stored.key, &host);
    if !stored.is_some_and(|stored| of_name(&stored)) {
        let message = "the certificate is not for our key and name, or not valid now";
        return Err(Why::Answer(message.to_owned()).into());
    }
    Ok(document)
}

/// Pauses that grow, unless the CA says how long they are to be.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(PAUSE)
    }
}

impl Pause {
    async fn wait(&mut self, told: Option<Duration>) {
        sleep(told.unwrap_or(self.0)).await;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }
}
