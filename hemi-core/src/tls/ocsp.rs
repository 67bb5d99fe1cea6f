//! Answers of CAs that certificates are not revoked (OCSP, RFC 6960): fetched, verified, shown with the
//! certificates and kept in files. Whatever goes wrong, certificates are shown without.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use aws_lc_rs::digest::{SHA256, digest};
use hemi_proto::ocsp::{CertId, REQUEST, Responder, Response, Status, key_hash};
use hemi_proto::x509::Certificate;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use rustls::sign::CertifiedKey;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::{Site, provider};
use crate::client::{Client, ClientLimits};
use crate::{CreateCx, HttpUrl, Result, clock};

/// What a question may cost.
const LIMITS: ClientLimits = ClientLimits {
    connect: Duration::from_secs(10),
    total: Duration::from_secs(20),
    content: 64 << 10,
    kept: 0,
};

/// How often it is looked whether there are other certificates.
const LOOK: Duration = Duration::from_secs(60);

/// How long to wait after a failure; after each further one twice as long.
const PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);

/// How far clocks may differ.
const SKEW: i64 = 300;

/// An answer that does not say when there will be another is asked for anew after so long.
const UNSAID: i64 = 12 * 3600;

/// Fetches answers for the certificates of a site.
pub(super) struct Stapler {
    client: Client,
    dir: PathBuf,
}

/// An answer that was believed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Staple {
    der: Vec<u8>,
    /// Seconds since 1970.
    this_update: i64,
    until: i64,
}

/// How it stands with the answer for one certificate.
#[derive(Default)]
struct Asked {
    staple: Option<Staple>,
    /// Whether the file was looked at.
    read: bool,
    /// When to ask, in seconds since 1970.
    due: i64,
    failures: u32,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("{0}")]
    Client(#[from] crate::client::ClientError),
    #[error("the responder answers {0}")]
    Status(http::StatusCode),
    #[error("{0}")]
    Answer(#[from] hemi_proto::ocsp::OcspError),
    #[error("{0}")]
    Other(&'static str),
    #[error("THE CERTIFICATE WAS REVOKED")]
    Revoked,
}

impl Stapler {
    pub(super) fn new(cx: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self { client: Client::anywhere(LIMITS, cx)?, dir: cx.kept("ocsp") })
    }

    /// Keeps the answers of a site fresh. Has no end.
    pub(super) async fn staple(&self, site: &Arc<Site>) {
        let mut known: HashMap<[u8; 32], Asked> = HashMap::new();
        loop {
            let mut seen = HashMap::new();
            for key in site.keys() {
                // Of thousands each takes its time.
                tokio::task::yield_now().await;
                let Some(fit) = Question::of(&key) else { continue };
                let mut asked = known.remove(&fit.name).unwrap_or_default();
                // An answer came with it from a file.
                if key.ocsp.is_some() && asked.staple.is_none() {
                    continue;
                }
                self.attend(site, &key, &fit, &mut asked).await;
                seen.insert(fit.name, asked);
            }
            known = seen;
            let next = known.values().map(|asked| asked.due).min().unwrap_or(i64::MAX);
            let left = u64::try_from(next.saturating_sub(now())).unwrap_or_default();
            let _ = timeout(LOOK.min(Duration::from_secs(left.max(1))), site.changed()).await;
        }
    }

    async fn attend(
        &self,
        site: &Arc<Site>,
        key: &Arc<CertifiedKey>,
        fit: &Question,
        asked: &mut Asked,
    ) {
        if !std::mem::replace(&mut asked.read, true) {
            let file = self.file(&fit.name);
            let der = tokio::task::spawn_blocking(move || fs::read(file)).await;
            let kept =
                der.ok().and_then(io::Result::ok).and_then(|der| fit.verify(der, now()).ok());
            if let Some(staple) = kept {
                asked.due = staple.refresh();
                asked.staple = Some(staple);
            }
        }
        if asked.due <= now() {
            match self.ask(fit).await {
                Ok(staple) => {
                    info!(
                        site = site.name(),
                        url = fit.url.as_str(),
                        "fetched that the certificate is good"
                    );
                    self.keep(&fit.name, &staple).await;
                    asked.due = staple.refresh();
                    (asked.staple, asked.failures) = (Some(staple), 0);
                }
                Err(why) => {
                    let pause = (PAUSE * (1 << asked.failures.min(12))).min(LONGEST_PAUSE);
                    asked.failures = asked.failures.saturating_add(1);
                    asked.due = now() + (pause.as_secs() as f64 * (0.8 + 0.4 * fit.share)) as i64;
                    if matches!(why, Why::Revoked) {
                        asked.staple = None;
                    }
                    warn!(site = site.name(), url = fit.url.as_str(), "no answer of OCSP: {why}");
                }
            }
        }
        let der = asked.staple.as_ref().filter(|staple| now() < staple.until);
        let der = der.map(|staple| staple.der.clone());
        if key.ocsp != der {
            site.staple(key, der);
        }
    }

    async fn ask(&self, fit: &Question) -> Result<Staple, Why> {
        let client = self.client.at(fit.url.clone());
        let fields = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(REQUEST))]);
        let answer = client.post(fields, &fit.id.request()).await?;
        if !answer.status.is_success() {
            return Err(Why::Status(answer.status));
        }
        fit.verify(answer.content.to_vec(), now())
    }

    async fn keep(&self, name: &[u8; 32], staple: &Staple) {
        let (dir, file, der) = (self.dir.clone(), self.file(name), staple.der.clone());
        let kept = tokio::task::spawn_blocking(move || {
            fs::create_dir_all(dir)?;
            let temporary = file.with_extension("new");
            fs::write(&temporary, der)?;
            fs::rename(temporary, file)
        });
        if let Ok(Err(e)) = kept.await {
            debug!("cannot keep an answer of OCSP: {e}");
        }
    }

    fn file(&self, name: &[u8; 32]) -> PathBuf {
        let hex: String = name.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(format!("{hex}.der"))
    }
}

/// What is asked about a certificate, and of whom.
struct Question {
    /// A hash of the certificate.
    name: [u8; 32],
    id: CertId,
    url: HttpUrl,
    issuer: Vec<u8>,
    /// A number from 0 to 1 that is unlike those of others.
    share: f64,
}

impl Question {
    /// None if nobody can be asked.
    fn of(key: &CertifiedKey) -> Option<Self> {
        let [first, issuer, ..] = &key.cert[..] else { return None };
        let certificate = Certificate::parse(first)?;
        let id = CertId::of(&certificate, &Certificate::parse(issuer)?)?;
        let url: HttpUrl = certificate.ocsp_url?.parse().ok()?;
        let mut name = [0; 32];
        name.copy_from_slice(digest(&SHA256, first).as_ref());
        let share = f64::from(name[0]) / 255.0;
        Some(Self { name, id, url, issuer: issuer.to_vec(), share })
    }

    /// Believes an answer only if it was signed by the CA itself, or by whom it has charged with that; if it is
    /// about this certificate, now, and says that it is good.
    fn verify(&self, der: Vec<u8>, now: i64) -> Result<Staple, Why> {
        let response = Response::parse(&der)?;
        let issuer = Certificate::parse(&self.issuer).ok_or(Why::Other("the CA is malformed"))?;
        let delegates = response.certificates.iter().filter_map(|der| {
            let delegate = Certificate::parse(der)?;
            let (signed, algorithm, signature) = Certificate::signature(der)?;
            let charged = delegate.signs_ocsp
                && delegate.issuer == issuer.subject
                && (delegate.not_before - SKEW..delegate.not_after).contains(&now)
                && is_signed(&issuer, signed, algorithm, signature);
            charged.then_some(delegate)
        });
        let signer = std::iter::once(issuer.clone()).chain(delegates).find(|signer| match response
            .responder
        {
            Responder::Name(name) => signer.subject.is(name),
            Responder::Key(hash) => key_hash(signer).is_some_and(|own| own == hash),
        });
        let signer = signer.ok_or(Why::Other("it is signed by nobody who may"))?;
        if !is_signed(&signer, response.signed, response.algorithm, response.signature) {
            return Err(Why::Other("its signature is wrong"));
        }
        let single = response.singles.iter().find(|single| self.id.is(single));
        let single = single.ok_or(Why::Other("it is about another certificate"))?;
        match single.status {
            Status::Good => {}
            Status::Revoked(_) => return Err(Why::Revoked),
            Status::Unknown => return Err(Why::Other("the CA does not know the certificate")),
        }
        let this_update = single.this_update;
        let until = single.next_update.unwrap_or(this_update.saturating_add(2 * UNSAID));
        if this_update > now + SKEW || until <= now {
            return Err(Why::Other("it is not of this time"));
        }
        Ok(Staple { this_update, until, der })
    }
}

impl Staple {
    /// When to ask again: in the middle of its life, give or take a tenth.
    fn refresh(&self) -> i64 {
        let life = self.until.saturating_sub(self.this_update).max(0) as f64;
        let share = f64::from(digest(&SHA256, &self.der).as_ref()[0]) / 255.0;
        self.this_update.saturating_add((life * (0.4 + 0.2 * share)) as i64)
    }
}

fn is_signed(by: &Certificate<'_>, signed: &[u8], algorithm: &[u8], signature: &[u8]) -> bool {
    let Some((key_kind, key)) = by.public_key() else { return false };
    provider().signature_verification_algorithms.all.iter().any(|known| {
        known.signature_alg_id().as_ref() == algorithm
            && known.public_key_alg_id().as_ref() == key_kind
            && known.verify_signature(key, signed, signature).is_ok()
    })
}

fn now() -> i64 {
    let since = clock::calendar().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl std::fmt::Debug for Stapler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stapler").field("dir", &self.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! corpus {
        ($file:literal) => {
            include_bytes!(concat!("../../../fuzz/corpus/", $file)).as_slice()
        };
    }

    /// About the certificate that the answers of the corpus are about, which were given at this time.
    fn question() -> (Question, i64) {
        let (leaf, issuer) = (corpus!("x509/ocsp-leaf.der"), corpus!("x509/ocsp-ca.der"));
        let (certificate, ca) =
            (Certificate::parse(leaf).unwrap(), Certificate::parse(issuer).unwrap());
        let id = CertId::of(&certificate, &ca).unwrap();
        let url = certificate.ocsp_url.unwrap().parse().unwrap();
        let given = Response::parse(corpus!("ocsp/good.der")).unwrap().singles[0].this_update;
        (Question { name: [0; 32], id, url, issuer: issuer.to_vec(), share: 0.0 }, given)
    }

    #[test]
    fn only_answers_of_the_ca_or_whom_it_has_charged_are_believed() {
        let (question, given) = question();
        let good = corpus!("ocsp/good.der");
        for der in [good, corpus!("ocsp/delegated.der")] {
            let staple = question.verify(der.to_vec(), given + 10).unwrap();
            let refresh = staple.refresh() - staple.this_update;
            let life = staple.until - staple.this_update;
            assert!(refresh >= life / 5 * 2 - 1 && refresh <= life / 5 * 3 + 1, "{refresh} {life}");
        }
        let why = |der: &[u8], now| question.verify(der.to_vec(), now).unwrap_err().to_string();
        for now in [given - 3600, given + 18_000 * 24 * 3600] {
            assert_eq!(why(good, now), "it is not of this time");
        }
        let mut forged = good.to_vec();
        let at = forged.windows(2).position(|pair| pair == [0x80, 0]).unwrap();
        // It says that it does not know, and the signature does not.
        forged[at] = 0x82;
        assert_eq!(why(&forged, given), "its signature is wrong");
        let other = Question { issuer: corpus!("x509/ocsp-signer.der").to_vec(), ..question };
        let why = other.verify(good.to_vec(), given).unwrap_err().to_string();
        assert_eq!(why, "it is signed by nobody who may");
    }

    #[test]
    fn what_was_revoked_or_is_another_is_not_shown_as_good() {
        let (question, given) = question();
        let other = question.verify(corpus!("ocsp/revoked.der").to_vec(), given).unwrap_err();
        assert_eq!(other.to_string(), "it is about another certificate");
        let later = question.verify(corpus!("ocsp/later.der").to_vec(), given).unwrap_err();
        assert_eq!(later.to_string(), "the responder says to try again later");
    }
}
