//! The component `acme`: obtains certificates from CAs by itself and renews them (ACME, RFC 8555).
//!
//! ```gorox
//! stage {
//! 	acme "main" {
//! 		.email = "me@shop.test"
//! 		.challenges = ("http01")
//! 		ca { .directory = "https://acme-v02.api.letsencrypt.org/directory" }
//! 		ca { .directory = "https://acme.zerossl.com/v2/DV90"  .eabKeyId = "id"  .eabKey = "a2V5" }
//! 	}
//! 	webapp "shop" {
//! 		.hostnames = ("shop.test", "www.shop.test")
//! 		.acme = "main"
//! 		rule { .returnCode = 200  .returnText = "hello" }
//! 	}
//! 	webapp "redirect" { .hostnames = ("*")  rule { .returnCode = 204 } }
//! 	httpxServer "tls" { .address = ":443"  .webapps = ("shop")  .tlsMode = true }
//! 	httpxServer "plain" { .address = ":80"  .webapps = ("redirect") }
//! }
//! ```
//!
//! Each host has a certificate of its own, kept in `storeDir`, which several processes may share. It is shown from
//! the next handshake on; nothing is reloaded for it.

mod account;
mod answers;
mod ask;
mod ca;
mod error;
mod hook;
mod keeper;
mod ledger;
mod order;
mod session;
mod store;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use hemi_proto::acme::is_host;
use serde::Deserialize;
use tokio::sync::{Notify, Semaphore, watch};
use tracing::warn;

pub use self::ca::{Ca, CaConfig, CaKind};

use self::answers::{Hook, Kind as Challenge};
use self::ask::Ask;
use self::error::Why;
use self::keeper::{Held, Keeper};
use self::order::KeyType;
use self::store::Store;
use crate::client::Client;
use crate::config::{Diagnostic, KindName, Several, Span};
use crate::metrics::Measures;
use crate::tls::{ConnectorConfig, Site};
use crate::{
    Component, CreateCx, Error, Explain, HttpUrl, Kind, Lifecycle, Place, Prepare, Rank, Result,
    Run,
};

/// The kind of the one component [`Acme`].
#[derive(Debug)]
pub struct AcmeKind;

impl KindName for AcmeKind {
    const NAME: &'static str = "acme";
}

impl Kind for AcmeKind {
    type Object = Acme;
    const RANK: Rank = Rank::STORE;
    const PLACE: Place = Place::Referred;
}

/// Obtains certificates for the hostnames of the webapps that name it, and renews them. The CAs stand inside;
/// without any it is Let's Encrypt. Whoever uses it agrees to the terms of the CAs.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct AcmeConfig {
    /// The addresses of mail that CAs may write to.
    email: Several<String>,
    /// How it is proved that a host is ours: by what each is tried, in this order. `"tlsAlpn01"` by a server with
    /// `tlsMode` at port 443, `"http01"` by one without at port 80, `"dns01"` by `dnsHook`. None for all
    /// that can be, `"dns01"` first. `*.x` can be had by `"dns01"` only.
    challenges: Vec<Challenge>,
    /// A program that changes the DNS, and its first arguments. It is given three more: `present` or `cleanup`, the
    /// name of the TXT record, and its value. It is to end with status 0 once the record can be seen by all.
    dns_hook: Several<String>,
    /// How long that program may take.
    dns_hook_timeout: Duration,
    /// The key of certificates: `"p256"`, `"p384"` or `"rsa2048"`. Each certificate has a new one.
    key_type: KeyType,
    /// How long before it expires a certificate is renewed; none for a third of its life, half if it lives for less
    /// than ten days, and earlier if the CA says so (RFC 9773).
    renew_before: Option<Duration>,
    /// How long to wait after a failure; after each further one twice as long, up to 6 hours.
    retry_pause: Duration,
    /// The directory of certificates and accounts; none for `acme` in `%varDir`. Several processes may share it.
    store_dir: Option<PathBuf>,
    /// Whether clients are shown a certificate that nobody believes until there is the first real one; else their
    /// connections are refused.
    placeholder: bool,
    /// The URL that says whether other hosts that a webapp has by a pattern may have certificates too, when clients
    /// first ask for them: it is asked with `?domain=HOST`, and allows it by a status of 2xx.
    ask_url: Option<HttpUrl>,
    /// Hosts that have certificates on demand, at most.
    on_demand_names: usize,
    /// Orders on demand in an hour, at most.
    on_demand_per_hour: usize,
}

impl Default for AcmeConfig {
    fn default() -> Self {
        Self {
            email: Several::default(),
            challenges: Vec::new(),
            dns_hook: Several::default(),
            dns_hook_timeout: Duration::from_secs(300),
            key_type: KeyType::default(),
            renew_before: None,
            retry_pause: Duration::from_secs(60),
            store_dir: None,
            placeholder: false,
            ask_url: None,
            on_demand_names: 10_000,
            on_demand_per_hour: 100,
        }
    }
}

/// Obtains certificates and renews them.
pub struct Acme(Arc<Keeper>);

impl Component for Acme {
    const SIGN: &'static str = "acme";
    type Config = AcmeConfig;

    fn create(config: AcmeConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let mut hook = config.dns_hook.0.into_iter();
        let hook = hook.next().map(|program| Hook {
            program: cx.path(program),
            args: hook.collect(),
            timeout: config.dns_hook_timeout,
        });
        let challenges = match &config.challenges[..] {
            [] => {
                let dns = hook.as_ref().map(|_| Challenge::Dns01);
                dns.into_iter().chain([Challenge::TlsAlpn01, Challenge::Http01]).collect()
            }
            written => written.to_vec(),
        };
        if challenges.contains(&Challenge::Dns01) && hook.is_none() {
            let message = "\"dns01\" needs a program that changes the DNS";
            return Err(Diagnostic::new(cx.span(), message).help("add `.dnsHook = …`").into());
        }
        let mut cas = cx.children::<CaKind>();
        if cas.is_empty() {
            cas.push(Arc::new(Ca::lets_encrypt(cx)?));
        }
        let ask = match config.ask_url {
            Some(url) => Some(Ask {
                client: Client::new(url, ask::LIMITS, ConnectorConfig::default(), cx)?,
                names: config.on_demand_names,
                per_hour: config.on_demand_per_hour,
                turns: Semaphore::new(ask::AT_ONCE),
            }),
            None => None,
        };
        let store = match config.store_dir {
            Some(dir) => cx.written(dir),
            None => cx.kept("acme"),
        };
        Ok(Self(Arc::new(Keeper {
            name: cx.name().to_owned(),
            email: config.email.0,
            cas,
            challenges,
            hook,
            key_type: config.key_type,
            renew_before: config.renew_before,
            retry_pause: config.retry_pause,
            placeholder: config.placeholder,
            store: Store::new(store),
            ask,
            ledger: cx.carry(Default::default),
            held: Mutex::default(),
            wake: Notify::new(),
            over: watch::channel(0).0,
        })))
    }
}

impl Lifecycle for Acme {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        let keeper = &self.0;
        keeper
            .store
            .prepare()
            .map_err(|e| Error::env("cannot use the directory of certificates", e))?;
        if let Some(ask) = &keeper.ask {
            ask.client.prepare()?;
        }
        // The one that nobody wrote.
        keeper.cas.iter().try_for_each(|ca| ca.client.prepare())?;
        keeper.load();
        Ok(())
    }

    async fn run(&self, cx: &Run) {
        tokio::select! {
            () = cx.shut().cancelled() => {}
            () = self.0.work() => {}
        }
    }

    fn measure(&self, out: &mut Measures) {
        let inner = self.0.ledger.lock();
        let help = "Certificates obtained.";
        out.counter("hemi_acme_issued", help, &[], inner.issued);
        let help = "Attempts to obtain certificates that failed.";
        out.counter("hemi_acme_failed", help, &[], inner.failed);
        for (name, entry) in inner.names.iter().take(MEASURED) {
            let labels = [("name", &**name)];
            let help = "Attempts that failed since a certificate was last obtained.";
            out.gauge("hemi_acme_failures", help, &labels, u64::from(entry.failures));
            let help = "When a certificate is to be obtained, in seconds since 1970.";
            out.gauge("hemi_acme_due_seconds", help, &labels, seconds(entry.due) as f64);
            if let Some(error) = &entry.error {
                let help = "Why the last attempt to obtain a certificate failed.";
                out.info("hemi_acme_error", help, &[("name", &**name), ("error", &**error)]);
            }
        }
    }
}

/// Names that are told about, at most.
const MEASURED: usize = 1000;

impl Acme {
    /// Obtains certificates for a site with these hosts: names, `*.x`, `x.*` or `*`. `span` is where that is
    /// wished.
    pub(crate) fn hold(&self, site: &Arc<Site>, hosts: Vec<String>, span: Span) -> Result<()> {
        let (mut names, mut patterns) = (Vec::new(), Vec::new());
        for host in hosts {
            let wild = host.contains('*');
            if is_host(&host) && (!wild || self.0.challenges.contains(&Challenge::Dns01)) {
                names.push(host);
            } else if wild && self.0.ask.is_some() {
                patterns.push(host);
            } else if wild && is_host(&host) {
                let message = format!("no certificate can be obtained for \"{host}\"");
                let help = "give the `acme` a `.dnsHook`, or an `.askUrl` for its hosts on demand";
                return Err(Diagnostic::new(span, message).help(help).into());
            } else if !wild {
                warn!(
                    site = site.name(),
                    "no certificate can be obtained for {host}: it is no host of the DNS"
                );
            }
        }
        if names.is_empty() && patterns.is_empty() {
            let message = "for none of the hostnames a certificate can be obtained";
            let help = "name hosts such as \"shop.test\", or give the `acme` an `.askUrl`";
            return Err(Diagnostic::new(span, message).help(help).into());
        }
        let keeper: Weak<Keeper> = Arc::downgrade(&self.0);
        site.issued_by(keeper);
        let held = Held { site: Arc::downgrade(site), names, patterns };
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner).push(held);
        Ok(())
    }

    /// What is to be answered to a CA that asks for this token by HTTP
    /// ([`WELL_KNOWN`](hemi_proto::acme::WELL_KNOWN)), if there is such a challenge. Reads a file.
    #[must_use]
    pub fn answer(&self, token: &str) -> Option<String> {
        answers::by_http(&self.0.store, token)
    }
}

impl std::fmt::Debug for Acme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acme").field("name", &self.0.name).finish_non_exhaustive()
    }
}

/// Does what blocks beside the core.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Why> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Why::Key(format!("panicked: {e}")))
}

/// Seconds since 1970.
fn seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn moment(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}
