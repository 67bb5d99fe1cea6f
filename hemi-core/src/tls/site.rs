//! What clients are shown, and what is demanded of them, by the name they ask for.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::SystemTime;

use aws_lc_rs::digest::{self, SHA256};
use hemi_proto::x509::Certificate;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::Deserialize;
use tokio::sync::Notify;
use tracing::warn;

use super::clients::read_verifier;
use super::identity::{by_cost, read_file};
use super::names::{Issuer, Names};
use super::ocsp::Stapler;
use super::{ClientAuth, IdentityError, provider, read_identity};
use crate::acme::AcmeKind;
use crate::clock;
use crate::config::{Diagnostic, Ref, Several, Span, Spanned};
use crate::metrics::Measures;
use crate::watched::{self, Stamp};
use crate::{CreateCx, Error, Explain, Result};

/// Finds whose certificates clients are shown.
pub trait Sites: Send + Sync + 'static {
    /// The site of a name, in lower case, or that of clients which ask for none.
    fn find(&self, name: Option<&str>) -> Option<Arc<Site>>;
}

/// The certificates of a webapp or the like, and what it demands of clients. May be changed at any time.
#[derive(Debug)]
pub struct Site {
    /// Tickets of one site are no good for another.
    name: String,
    shown: RwLock<Option<Arc<Shown>>>,
    names: Arc<Names>,
    /// Tells that other certificates are shown.
    changed: Notify,
    /// Certificates for who checks by TLS that a name is ours (RFC 8737), by these names.
    challenges: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

/// What is shown now.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) keys: Arc<Keys>,
    pub(super) clients: Option<Arc<dyn ClientCertVerifier>>,
    /// Tells this site with its demands from others.
    pub(super) context: [u8; 32],
}

/// Certificates with their keys: clients are shown that of the name they ask for, else the first of those for
/// all names that they can verify.
#[derive(Debug)]
pub(super) struct Keys {
    all: Vec<Arc<CertifiedKey>>,
    names: Arc<Names>,
}

/// Certificates of single names that are told about in measures, at most.
const MEASURED: usize = 1000;

impl Site {
    /// A site that has nothing to show yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            shown: RwLock::default(),
            names: Arc::default(),
            changed: Notify::new(),
            challenges: RwLock::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Shows this certificate from now on to who asks for `name`, in lower case: a host, or `*.x` for all that
    /// have none of their own.
    pub fn show_for(&self, name: &str, key: Arc<CertifiedKey>) {
        self.names.show(name, key);
        self.changed.notify_one();
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        if shown.is_none() {
            *shown = Some(Arc::new(self.nothing()));
        }
    }

    /// Ends that.
    pub fn hide(&self, name: &str) {
        self.names.hide(name);
    }

    /// Whether a certificate is shown that is for this name alone, or for the pattern it is of.
    #[must_use]
    pub fn shows(&self, name: &str) -> bool {
        self.names.find(name).is_some()
    }

    /// Has certificates of single names come from this issuer, from now on.
    pub fn issued_by(&self, issuer: Weak<dyn Issuer>) {
        self.names.issued_by(issuer);
    }

    /// No certificates, and nothing asked of clients.
    fn nothing(&self) -> Shown {
        let context = context(&self.name, ClientAuth::Off, &[]);
        Shown { keys: Arc::new(Keys::new(Vec::new(), &self.names)), clients: None, context }
    }

    /// Who obtains a certificate for this name, if there is none and one can be had.
    pub(super) fn lacks(&self, name: &str) -> Option<Arc<dyn Issuer>> {
        if self.names.find(name).is_some() {
            return None;
        }
        self.names.issuer().filter(|issuer| issuer.awaits(name) && !self.covers(name))
    }

    /// Tells that a name has no certificate, once in a while.
    pub(super) fn tell_missing(&self, name: &str) {
        self.names.tell_missing(name);
    }

    /// Shows these certificates from now on, and demands of clients what it did.
    pub fn show(&self, keys: Vec<Arc<CertifiedKey>>) {
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        let (clients, context) = match &*shown {
            Some(shown) => (shown.clients.clone(), shown.context),
            None => (None, context(&self.name, ClientAuth::Off, &[])),
        };
        let keys = Arc::new(Keys::new(keys, &self.names));
        *shown = Some(Arc::new(Shown { keys, clients, context }));
        self.changed.notify_one();
    }

    /// All certificates that are shown.
    pub(super) fn keys(&self) -> Vec<Arc<CertifiedKey>> {
        let all = self.shown().map(|shown| shown.keys.all.clone()).unwrap_or_default();
        let named = self.names.some(usize::MAX).into_iter().map(|(_, key)| key);
        all.into_iter().chain(named).collect()
    }

    /// Waits until other certificates are shown.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Shows a certificate with another answer of its CA, or with none.
    pub(super) fn staple(&self, old: &Arc<CertifiedKey>, ocsp: Option<Vec<u8>>) {
        let new = Arc::new(CertifiedKey { ocsp, ..(**old).clone() });
        self.names.replace(old, &new);
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = shown.as_ref() else { return };
        let same = |key: &Arc<CertifiedKey>| Arc::ptr_eq(key, old);
        if before.keys.all.iter().any(same) {
            let all = before.keys.all.iter().map(|key| if same(key) { &new } else { key });
            let keys = Keys::new(all.cloned().collect(), &self.names);
            let (clients, context) = (before.clients.clone(), before.context);
            *shown = Some(Arc::new(Shown { keys: Arc::new(keys), clients, context }));
        }
    }

    /// Shows this certificate to who checks by TLS-ALPN-01 (RFC 8737) that `name` is ours.
    pub fn challenge(&self, name: impl Into<String>, key: Arc<CertifiedKey>) {
        let mut challenges = self.challenges.write().unwrap_or_else(PoisonError::into_inner);
        challenges.insert(name.into(), key);
    }

    /// Ends that.
    pub fn end_challenge(&self, name: &str) {
        self.challenges.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub(super) fn find_challenge(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let challenges = self.challenges.read().unwrap_or_else(PoisonError::into_inner);
        let set = challenges.get(name).cloned();
        drop(challenges);
        set.or_else(|| self.names.issuer()?.challenge(name))
    }

    /// What is shown now, if there is something.
    pub(super) fn shown(&self) -> Option<Arc<Shown>> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells when the certificates expire that are shown, for the component that they are of.
    pub fn measure(&self, out: &mut Measures) {
        let Some(shown) = self.shown() else { return };
        let numbered = shown.keys.all.iter().enumerate();
        let numbered = numbered.map(|(index, key)| ((index + 1).to_string(), key.clone()));
        for (name, key) in numbered.chain(self.names.some(MEASURED)) {
            let Some(cert) = key.cert.first().and_then(|cert| Certificate::parse(cert)) else {
                continue;
            };
            let help = "When a certificate expires, in seconds since 1970.";
            let labels = [("certificate", &*name)];
            out.gauge("hemi_tls_certificate_expiry_seconds", help, &labels, cert.not_after as f64);
        }
    }

    /// Whether a certificate is shown that is for this host.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        self.names.find(host).is_some()
            || self.shown().is_some_and(|shown| shown.keys.all.iter().any(|key| covers(key, host)))
    }

    /// Whether clients are asked for certificates.
    #[must_use]
    pub fn asks_clients(&self) -> bool {
        self.shown().is_some_and(|shown| shown.clients.is_some())
    }
}

/// Whether a certificate is for this host.
pub(crate) fn covers(key: &CertifiedKey, host: &str) -> bool {
    let Ok(name) = ServerName::try_from(host.trim_matches(['[', ']'])) else { return false };
    let certificate = key.cert.first().map(ParsedCertificate::try_from);
    certificate.is_some_and(|cert| cert.is_ok_and(|cert| verify_server_name(&cert, &name).is_ok()))
}

fn context(name: &str, auth: ClientAuth, files: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = digest::Context::new(&SHA256);
    for part in [name.as_bytes(), &[auth as u8]].into_iter().chain(files.iter().map(|f| &f[..])) {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut context = [0; 32];
    context.copy_from_slice(hash.finish().as_ref());
    context
}

impl Keys {
    pub(super) fn new(mut all: Vec<Arc<CertifiedKey>>, names: &Arc<Names>) -> Self {
        by_cost(&mut all);
        Self { all, names: names.clone() }
    }

    /// Whether there is none, for any name.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.names.is_empty()
    }

    /// Only these.
    pub(super) fn only(keys: Vec<Arc<CertifiedKey>>) -> Self {
        Self::new(keys, &Arc::default())
    }
}

impl ResolvesServerCert for Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named =
            hello.server_name().and_then(|name| self.names.find(&name.to_ascii_lowercase()));
        if named.is_some() {
            return named;
        }
        let fits = self.all.iter().find(|key| {
            key.key.choose_scheme(hello.signature_schemes()).is_some() && suits(key, &hello)
        });
        fits.or(self.all.first()).cloned().or_else(|| self.names.any())
    }
}

/// Whether the client has a cipher suite for a key: before TLS 1.3 they are of one kind of key each.
fn suits(key: &CertifiedKey, hello: &ClientHello<'_>) -> bool {
    super::SUITES.iter().filter(|suite| hello.cipher_suites().contains(&suite.suite())).any(
        |suite| match suite {
            rustls::SupportedCipherSuite::Tls12(suite) => {
                key.key.choose_scheme(suite.sign).is_some()
            }
            rustls::SupportedCipherSuite::Tls13(_) => true,
        },
    )
}

/// The certificates of a webapp or the like.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct SiteConfig {
    /// The file with the certificate that servers with `tlsMode` show to who asks for a host of this router or
    /// webapp, in PEM, followed by those between it and its CA; or several, as of ECDSA and of RSA, of which a client is
    /// shown the first it can verify. Files that change are read again.
    pub tls_certificate: Several<Spanned<PathBuf>>,
    /// The `acme` component that obtains certificates for the hostnames and renews them, instead of files or
    /// beside them.
    pub acme: Option<Ref<AcmeKind>>,
    /// The file with the private key in PEM, or several in the order of `tlsCertificate`.
    pub tls_private_key: Several<Spanned<PathBuf>>,
    /// The file with an answer of the CA that the certificate is not revoked (OCSP, RFC 6960), in DER, to
    /// be shown with it; or several in the order of `tlsCertificate`.
    pub tls_ocsp_response: Several<Spanned<PathBuf>>,
    /// Whether such answers are fetched where certificates name who gives them, unless there is `tlsOcspResponse`;
    /// kept in `ocsp` in `%varDir`, and asked for anew in the middle of their life. The file of the certificate must
    /// hold that of its CA too. Without an answer the certificate is shown alone.
    pub tls_ocsp_fetch: bool,
    /// Whether clients show certificates: `"off"`, `"optional"` or `"required"`.
    pub tls_client_auth: ClientAuth,
    /// The files with the CAs whose certificates are believed of clients, in PEM.
    pub tls_client_ca: Several<Spanned<PathBuf>>,
    /// The files with lists of client certificates that are revoked (RFC 5280, 5), in PEM.
    pub tls_client_crl: Several<Spanned<PathBuf>>,
}

impl Default for SiteConfig {
    fn default() -> Self {
        Self {
            tls_certificate: Several::default(),
            acme: None,
            tls_private_key: Several::default(),
            tls_ocsp_response: Several::default(),
            tls_ocsp_fetch: true,
            tls_client_auth: ClientAuth::default(),
            tls_client_ca: Several::default(),
            tls_client_crl: Several::default(),
        }
    }
}

/// The files that a site is made of.
#[derive(Debug)]
pub struct SiteFiles {
    identities: Vec<IdentityFiles>,
    auth: ClientAuth,
    cas: Vec<PathBuf>,
    crls: Vec<PathBuf>,
    /// Hosts that the certificates should be for.
    hosts: Vec<String>,
    /// Who fetches answers of CAs, if that is to be.
    stapler: Option<Stapler>,
    /// Of the config that names them.
    span: Option<Span>,
    /// What the files were like when they were read.
    stamps: Mutex<Vec<Stamp>>,
}

#[derive(Debug)]
struct IdentityFiles {
    certificate: PathBuf,
    key: PathBuf,
    ocsp: Option<PathBuf>,
    /// Where the certificate and the key are named.
    span: Option<(Span, Span)>,
}

impl SiteConfig {
    /// The site of a component of this name that has these hosts, and the files it is made of; none if it has
    /// no certificate and does not obtain any.
    ///
    /// # Errors
    /// When there are not as many keys as certificates, certificates are asked of clients and no CA
    /// is believed, or for none of the hosts a certificate can be obtained.
    pub fn create(
        self,
        hosts: Vec<String>,
        cx: &mut CreateCx<'_>,
    ) -> Result<Option<(Arc<Site>, Arc<SiteFiles>)>> {
        let acme = self.acme.as_ref().map(|acme| Ok::<_, Error>((cx.follow(acme)?, acme.span())));
        let acme = acme.transpose()?;
        let fetches = self.tls_ocsp_fetch;
        let Some(mut files) = self.files(acme.as_ref().map(|(_, span)| *span), cx)? else {
            return Ok(None);
        };
        let site = Arc::new(Site::new(cx.name()));
        // What certificates in files are for is looked at by an example of each pattern.
        let example = |host: &String| match host.strip_prefix("*.") {
            Some(rest) => Some(format!("any.{rest}")),
            None => Some(host.clone()).filter(|host| !host.contains('*')),
        };
        files.hosts = hosts.iter().filter_map(example).collect();
        files.stapler = fetches.then(|| Stapler::new(cx)).transpose()?;
        if let Some((acme, span)) = acme {
            acme.hold(&site, hosts, span)?;
        }
        Ok(Some((site, Arc::new(files))))
    }

    fn files(self, acme: Option<Span>, cx: &CreateCx<'_>) -> Result<Option<SiteFiles>> {
        let paths = |files: &Several<Spanned<PathBuf>>| -> Vec<PathBuf> {
            files.0.iter().map(|file| cx.path(&file.value)).collect()
        };
        let (certificates, keys) = (&self.tls_certificate.0, &self.tls_private_key.0);
        let ocsp = paths(&self.tls_ocsp_response);
        let span = match (certificates.first(), keys.first(), acme) {
            (Some(first), ..) => first.span,
            (None, Some(key), _) => {
                return Err(Diagnostic::new(key.span, "there is a key without a certificate")
                    .help("add `.tlsCertificate = …`")
                    .into());
            }
            (None, None, Some(span)) => span,
            (None, None, None) => return Ok(None),
        };
        if certificates.len() != keys.len() {
            let message = format!(
                "there are {} certificates and {} private keys",
                certificates.len(),
                keys.len()
            );
            return Err(Diagnostic::new(span, message)
                .help("give `.tlsPrivateKey` the key of each certificate, in their order")
                .into());
        }
        if self.tls_client_auth != ClientAuth::Off && self.tls_client_ca.0.is_empty() {
            let message = "clients are asked for certificates, but of no CA are they believed";
            return Err(Diagnostic::new(span, message).help("add `.tlsClientCa = …`").into());
        }
        let identities = certificates.iter().zip(keys).enumerate().map(|(at, (cert, key))| {
            let key_span = key.span;
            let (certificate, key) = (cx.path(&cert.value), cx.path(&key.value));
            let span = Some((cert.span, key_span));
            IdentityFiles { certificate, key, ocsp: ocsp.get(at).cloned(), span }
        });
        Ok(Some(SiteFiles {
            identities: identities.collect(),
            auth: self.tls_client_auth,
            cas: paths(&self.tls_client_ca),
            crls: paths(&self.tls_client_crl),
            hosts: Vec::new(),
            stapler: None,
            span: Some(span),
            stamps: Mutex::default(),
        }))
    }
}

fn refused(span: Option<Span>, e: &IdentityError) -> Error {
    match span {
        Some(span) => Error::config(span, e.to_string()),
        None => Error::other(e.to_string()),
    }
}

impl SiteFiles {
    /// A certificate and its private key, in PEM, for sites that are built in code.
    #[must_use]
    pub fn new(certificate: PathBuf, key: PathBuf) -> Self {
        let identity = IdentityFiles { certificate, key, ocsp: None, span: None };
        Self {
            identities: Vec::from([identity]),
            auth: ClientAuth::Off,
            cas: Vec::new(),
            crls: Vec::new(),
            hosts: Vec::new(),
            stapler: None,
            span: None,
            stamps: Mutex::default(),
        }
    }

    /// The same for clients that show certificates of the CAs in this file, in PEM.
    #[must_use]
    pub fn client_ca(mut self, ca: PathBuf) -> Self {
        (self.auth, self.cas) = (ClientAuth::Required, Vec::from([ca]));
        self
    }

    /// Reads all files, and shows what they hold from now on. Blocks.
    ///
    /// # Errors
    /// When a file can't be read, or what it holds can't be used; then nothing changes.
    pub fn read_into(&self, site: &Site) -> Result<()> {
        let stamps = self.all().map(|path| Stamp::of(path)).collect();
        let shown = self.read(site)?;
        *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) = stamps;
        *site.shown.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(shown));
        site.changed.notify_one();
        Ok(())
    }

    fn read(&self, site: &Site) -> Result<Shown> {
        let (name, provider) = (&*site.name, provider());
        let mut keys = Vec::new();
        for identity in &self.identities {
            let key = identity.read(&provider);
            keys.push(Arc::new(key.map_err(|e| refused(identity.blamed_for(&e), &e))?));
            self.warn(name, identity, &keys[keys.len() - 1]);
        }
        let trust = || -> Result<_, IdentityError> {
            let clients = read_verifier(self.auth, &self.cas, &self.crls, &provider)?;
            let trusted = if clients.is_some() { self.trusted() } else { Vec::new() };
            let files = trusted.into_iter().map(|path| read_file(path));
            let files = files.collect::<Result<Vec<_>, _>>()?;
            Ok((clients, context(name, self.auth, &files)))
        };
        let (clients, context) = trust().map_err(|e| refused(self.span, &e))?;
        Ok(Shown { keys: Arc::new(Keys::new(keys, &site.names)), clients, context })
    }

    /// Tells what clients will not like.
    fn warn(&self, name: &str, identity: &IdentityFiles, key: &CertifiedKey) {
        let file = identity.certificate.display();
        let cert = key.cert.first().and_then(|cert| Certificate::parse(cert));
        let now = clock::calendar().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match cert {
            Some(cert) if cert.not_after < now => {
                warn!(site = name, "the certificate {file} has expired");
            }
            Some(cert) if cert.not_before > now => {
                warn!(site = name, "the certificate {file} is not valid yet");
            }
            _ => {}
        }
        for host in self.hosts.iter().filter(|host| !covers(key, host)) {
            warn!(site = name, "the certificate {file} is not for {host}");
        }
    }

    fn trusted(&self) -> Vec<&PathBuf> {
        self.cas.iter().chain(&self.crls).collect()
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        let identities = self.identities.iter();
        let of_keys =
            identities.flat_map(|i| [Some(&i.certificate), Some(&i.key), i.ocsp.as_ref()]);
        of_keys.flatten().chain(self.trusted())
    }

    /// Reads the files again whenever one of them has changed, and keeps the answers of CAs fresh. Has no end.
    pub async fn follow(self: &Arc<Self>, site: &Arc<Site>) {
        let stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (files, into) = (self.clone(), site.clone());
        let all = self.all().cloned().collect();
        let follow = watched::follow_all(all, stamps, move || files.read_into(&into), |()| {});
        match &self.stapler {
            None => follow.await,
            Some(stapler) => {
                tokio::join!(follow, stapler.staple(site));
            }
        }
    }
}

impl IdentityFiles {
    /// The place of the file that an error is about.
    fn blamed_for(&self, e: &IdentityError) -> Option<Span> {
        let (certificate, key) = self.span?;
        Some(if e.path() == self.key { key } else { certificate })
    }

    fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, IdentityError> {
        let mut key = read_identity(&self.certificate, &self.key, provider)?;
        key.ocsp = self.ocsp.as_deref().map(read_file).transpose()?;
        Ok(key)
    }
}
