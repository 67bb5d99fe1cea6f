//! Challenges, and how they are answered: by files that every process of the store looks at when a CA asks, or by
//! a program that changes the DNS.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use hemi_proto::acme::jose::{base64url, unbase64url};
use hemi_proto::acme::{is_host, is_token};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use serde::Deserialize;

use super::error::Why;
use super::hook;
use super::store::Store;
use crate::Explain;
use crate::tls::provider;

/// How it is proved that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind {
    /// By a server over TLS, at port 443 (RFC 8737).
    TlsAlpn01,
    /// By a server in the clear, at port 80 (RFC 8555, 8.3).
    Http01,
    /// In the DNS, by a program (RFC 8555, 8.4).
    Dns01,
}

impl Kind {
    /// As CAs write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
        }
    }
}

/// A program that changes the DNS.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) timeout: Duration,
}

/// An answer that the CA can find. To be [ended](Answer::end); one that is dropped is ended too, but in the DNS.
pub(super) struct Answer {
    store: Store,
    key: Option<String>,
    record: Option<(Hook, String, String)>,
}

impl Answer {
    /// Answers a challenge for `host`, by the text that authorizes it.
    pub(super) async fn put(
        kind: Kind,
        host: &str,
        token: &str,
        text: &str,
        store: &Store,
        hook: Option<&Hook>,
    ) -> Result<Self, Why> {
        let hash = base64url(digest(&SHA256, text.as_bytes()).as_ref());
        let (key, content) = match kind {
            Kind::Http01 if is_token(token) => (http_key(token), text.to_owned()),
            Kind::Http01 => return Err(Why::Answer("its token is none".to_owned())),
            Kind::TlsAlpn01 => (tls_key(host), hash),
            Kind::Dns01 => {
                let hook = hook.ok_or_else(|| Why::Hook("is not there".to_owned()))?;
                let record = format!("_acme-challenge.{host}");
                hook.run("present", &record, &hash).await?;
                let record = Some((hook.clone(), record, hash));
                return Ok(Self { store: store.clone(), key: None, record });
            }
        };
        let (files, name) = (store.clone(), key.clone());
        super::aside(move || files.put_answer(&name, &content)).await??;
        Ok(Self { store: store.clone(), key: Some(key), record: None })
    }

    /// Ends it.
    pub(super) async fn end(mut self) {
        if let Some((hook, record, hash)) = self.record.take()
            && let Err(e) = hook.run("cleanup", &record, &hash).await
        {
            tracing::warn!(record, "{e}");
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.store.end_answer(&key);
        }
    }
}

impl Hook {
    async fn run(&self, what: &str, record: &str, value: &str) -> Result<(), Why> {
        let given = [what, record, value].map(str::to_owned);
        let args = self.args.iter().cloned().chain(given);
        let ran = hook::run(&self.program, args, self.timeout).await;
        ran.map_err(|e| Why::Hook(format!("({} {what}) {e}", self.program.display())))
    }
}

fn http_key(token: &str) -> String {
    format!("http-{token}")
}

fn tls_key(host: &str) -> String {
    format!("tls-{host}")
}

/// What is to be answered to who asks for this token by HTTP. Reads a file.
pub(super) fn by_http(store: &Store, token: &str) -> Option<String> {
    if is_token(token) { store.answer(&http_key(token)) } else { None }
}

/// What is to be shown to who checks by TLS that a host is ours (RFC 8737, 3). Reads a file.
pub(super) fn by_tls(store: &Store, host: &str) -> Option<Arc<CertifiedKey>> {
    if !is_host(host) {
        return None;
    }
    let hash = unbase64url(&store.answer(&tls_key(host))?).filter(|hash| hash.len() == 32)?;
    let extension = CustomExtension::new_acme_identifier(&hash);
    self_signed(host, Some(extension)).ok().map(Arc::new)
}

/// A certificate that nobody believes.
pub(super) fn self_signed(
    host: &str,
    extension: Option<CustomExtension>,
) -> Result<CertifiedKey, Why> {
    let cannot = |e: &dyn std::fmt::Display| Why::Key(format!("cannot make a certificate: {e}"));
    let mut params =
        CertificateParams::new(Vec::from([host.to_owned()])).map_err(|e| cannot(&e))?;
    params.custom_extensions.extend(extension);
    let key = KeyPair::generate().map_err(|e| cannot(&e))?;
    let made = params.self_signed(&key).map_err(|e| cannot(&e))?;
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = Vec::from([made.der().clone()]);
    // Not looked at, for the extension is none that rustls knows.
    let key = provider().key_provider.load_private_key(der).map_err(|e| cannot(&e))?;
    Ok(CertifiedKey::new(chain, key))
}
