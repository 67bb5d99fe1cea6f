//! The fixture `resolv`: addresses of host names, remembered for a while.
//!
//! ```gorox
//! stage {
//! 	resolv { .keep = 10s  .timeout = 2s }
//! }
//! ```
//!
//! The system is asked, which also knows `/etc/hosts`, but not for how long an answer holds. Servers of the DNS
//! say so, if `.servers` names some.

mod dns;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hemi_proto::dns::{Answer, Record, RecordType, Service};
use serde::Deserialize;

use crate::clock::{self, Moment};
use crate::config::{KindName, Several};
use crate::{Component, CreateCx, Explain, Kind, Lifecycle, Place, Rank, Result};

pub use dns::DnsServer;

/// Names kept at most.
const NAMES: usize = 10_000;

/// The kind of the one component [`Resolv`].
#[derive(Debug)]
pub struct ResolvKind;

impl KindName for ResolvKind {
    const NAME: &'static str = "resolv";
}

impl Kind for ResolvKind {
    type Object = Resolv;
    const RANK: Rank = Rank::FIXTURE;
    const PLACE: Place = Place::Fixture;
}

/// Asks for addresses of hosts, and remembers them.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct ResolvConfig {
    /// How long an answer of the system is used before it is asked again.
    pub keep: Duration,
    /// How long to wait for an answer.
    pub timeout: Duration,
    /// DNS servers that are asked instead of the system, by address (`"10.0.0.53"`, `"[::1]:5353"`), or a file
    /// that names them (`"/etc/resolv.conf"`). Without any, it is those of `/etc/resolv.conf` that are asked
    /// for services (SRV).
    pub servers: Several<DnsServer>,
    /// How long an answer of a DNS server is used at least, whatever it says.
    pub min_keep: Duration,
    /// How long it is used at most.
    pub max_keep: Duration,
}

impl Default for ResolvConfig {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            servers: Several::default(),
            min_keep: Duration::from_secs(1),
            max_keep: Duration::from_secs(3600),
        }
    }
}

/// The resolver of a stage. What it remembers outlives reloads.
#[derive(Debug)]
pub struct Resolv {
    config: ResolvConfig,
    known: Arc<Mutex<HashMap<String, Found>>>,
}

/// Where a host is.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its addresses: never none.
    pub addresses: Arc<[IpAddr]>,
    /// Until when that holds, as far as is known.
    pub fresh: Moment,
    /// Whether who was asked has said so.
    pub told: bool,
}

impl Component for Resolv {
    const SIGN: &'static str = "resolv";
    type Config = ResolvConfig;

    fn create(mut config: ResolvConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        for server in &mut config.servers.0 {
            if let DnsServer::Of(path) = server {
                *path = cx.path(std::mem::take(path));
            }
        }
        Ok(Self { config, known: cx.carry(Mutex::default) })
    }
}

impl Lifecycle for Resolv {}

impl Resolv {
    /// For what is no component.
    pub(crate) fn new(config: ResolvConfig) -> Self {
        Self { config, known: Arc::default() }
    }

    /// The addresses of a host, never none; an address is its own.
    ///
    /// # Errors
    /// See [`Self::find`].
    pub async fn resolve(&self, host: &str) -> io::Result<Arc<[IpAddr]>> {
        Ok(self.find(host).await?.addresses)
    }

    /// The same, and for how long they are good.
    ///
    /// If who is asked fails to answer, what was said last is used, for `keep` once more.
    ///
    /// # Errors
    /// When there is no such name, or no answer in time, and none is remembered.
    pub async fn find(&self, host: &str) -> io::Result<Found> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Found { addresses: Arc::new([ip]), fresh: Moment::NEVER, told: true });
        }
        let remembered = self.known().get(host).cloned();
        match remembered {
            Some(known) if clock::now() < known.fresh => Ok(known),
            remembered => {
                // Who has waited for one that fails spares others the wait.
                let old = |e| match remembered {
                    Some(known) => Ok(self.of_system(known.addresses)),
                    None => Err(e),
                };
                let found = self.ask(host).await.or_else(old)?;
                self.remember(host, &found);
                Ok(found)
            }
        }
    }

    /// The hosts that have a service, such as `_http._tcp.app.internal` (RFC 2782), and until when that holds.
    ///
    /// # Errors
    /// When there is none, or no answer in time.
    pub async fn services(&self, name: &str) -> io::Result<(Vec<Service>, Moment)> {
        let system = [DnsServer::Of(dns::RESOLV_CONF.into())];
        let servers = &self.config.servers.0;
        let servers = if servers.is_empty() { &system[..] } else { servers };
        let answer = dns::ask(servers, name, RecordType::Srv, self.config.timeout).await?;
        let fresh = self.holds(answer.ttl);
        let service = |record| match record {
            Record::Service(service) => Some(service),
            Record::Ip(_) => None,
        };
        let mut services: Vec<_> = answer.records.into_iter().filter_map(service).collect();
        // The order of an answer changes, and means nothing.
        services.sort_unstable();
        match services.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::NotFound, "no host has this service")),
            false => Ok((services, fresh)),
        }
    }

    async fn ask(&self, host: &str) -> io::Result<Found> {
        let servers = &self.config.servers.0;
        if servers.is_empty() {
            let asked = tokio::net::lookup_host((host, 0));
            let found = tokio::time::timeout(self.config.timeout, asked).await??;
            let addresses: Arc<[IpAddr]> = found.map(|address| address.ip()).collect();
            return match addresses.is_empty() {
                true => Err(io::ErrorKind::NotFound.into()),
                false => Ok(self.of_system(addresses)),
            };
        }
        if is_localhost(host) {
            let here = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
            return Ok(Found { addresses: Arc::new(here), fresh: Moment::NEVER, told: true });
        }
        let limit = self.config.timeout;
        let (four, six) = tokio::join!(
            dns::ask(servers, host, RecordType::A, limit),
            dns::ask(servers, host, RecordType::Aaaa, limit),
        );
        let (answers, failed): (Vec<_>, Vec<_>) = [four, six].into_iter().partition(Result::is_ok);
        let answers: Vec<Answer> = answers.into_iter().flatten().collect();
        let ttl = answers.iter().filter_map(|answer| answer.ttl).min();
        let ip = |record| match record {
            Record::Ip(ip) => Some(ip),
            Record::Service(_) => None,
        };
        let records = answers.into_iter().flat_map(|answer| answer.records);
        let addresses: Arc<[IpAddr]> = records.filter_map(ip).collect();
        if addresses.is_empty() {
            let failed = failed.into_iter().find_map(Result::err);
            return Err(failed.unwrap_or_else(|| io::ErrorKind::NotFound.into()));
        }
        Ok(Found { addresses, fresh: self.holds(ttl), told: true })
    }

    /// Until when an answer is good that holds for so many seconds.
    fn holds(&self, ttl: Option<u32>) -> Moment {
        let ttl = Duration::from_secs(ttl.unwrap_or(0).into());
        clock::now().after(ttl.min(self.config.max_keep).max(self.config.min_keep))
    }

    /// What the system says.
    fn of_system(&self, addresses: Arc<[IpAddr]>) -> Found {
        Found { addresses, fresh: clock::now().after(self.config.keep), told: false }
    }

    fn remember(&self, host: &str, found: &Found) {
        let now = clock::now();
        let mut known = self.known();
        if known.len() >= NAMES {
            known.retain(|_, k| now < k.fresh);
        }
        if known.len() < NAMES {
            known.insert(host.to_owned(), found.clone());
        }
    }

    /// Has a host be there for a while.
    #[cfg(test)]
    pub(crate) fn pretend(&self, host: &str, addresses: &Arc<[IpAddr]>) {
        self.remember(host, &self.of_system(addresses.clone()));
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Found>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is this machine, whatever the DNS says (RFC 6761, section 6.3).
fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolv(keep: Duration) -> Resolv {
        Resolv::new(ResolvConfig { keep, ..ResolvConfig::default() })
    }

    #[tokio::test]
    async fn names_are_remembered_and_addresses_are_themselves() {
        let resolv = resolv(Duration::from_secs(60));
        assert_eq!(*resolv.resolve("::1").await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
        let local = resolv.resolve("localhost").await.unwrap();
        assert!(local.iter().all(IpAddr::is_loopback));
        assert!(Arc::ptr_eq(&local, &resolv.resolve("localhost").await.unwrap()));
    }

    #[tokio::test]
    async fn an_old_answer_is_better_than_none() {
        let resolv = resolv(Duration::from_secs(60));
        let addresses: Arc<[IpAddr]> = Arc::new(["127.0.0.9".parse().unwrap()]);
        let old = Found { addresses: addresses.clone(), fresh: clock::now(), told: false };
        resolv.known().insert("not a name".to_owned(), old);
        assert_eq!(resolv.resolve("not a name").await.unwrap(), addresses);
        // It is asked again when the answer is old again, and not by everyone.
        assert!(resolv.known()["not a name"].fresh > clock::now());
        assert!(resolv.resolve("nor is this").await.is_err());
    }

    #[test]
    fn answers_hold_as_long_as_they_say_within_bounds() {
        let resolv = resolv(Duration::from_secs(60));
        for (ttl, holds) in [(None, 1), (Some(0), 1), (Some(7), 7), (Some(u32::MAX), 3600)] {
            let now = clock::now();
            let holds_for = resolv.holds(ttl).since(now).as_secs();
            assert!((holds..holds + 2).contains(&holds_for), "{ttl:?}: {holds_for}");
        }
    }
}
