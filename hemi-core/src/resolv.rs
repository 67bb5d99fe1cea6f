//! The fixture `resolv`: addresses of host names, remembered for a while.
//!
//! ```gorox
//! stage {
//! 	resolv { .keep = 10s  .timeout = 2s }
//! }
//! ```

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use crate::clock::{self, Moment};
use crate::config::KindName;
use crate::{Component, CreateCx, Explain, Kind, Lifecycle, Place, Rank, Result};

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

/// Asks the system's resolver, and remembers what it said.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct ResolvConfig {
    /// How long an answer is used before the system is asked again.
    pub keep: Duration,
    /// How long to wait for the system.
    pub timeout: Duration,
}

impl Default for ResolvConfig {
    fn default() -> Self {
        Self { keep: Duration::from_secs(30), timeout: Duration::from_secs(5) }
    }
}

/// The resolver of a stage. What it remembers outlives reloads.
#[derive(Debug)]
pub struct Resolv {
    config: ResolvConfig,
    known: Arc<Mutex<HashMap<String, Known>>>,
}

#[derive(Clone, Debug)]
struct Known {
    addresses: Arc<[IpAddr]>,
    fresh: Moment,
}

impl Component for Resolv {
    const SIGN: &'static str = "resolv";
    type Config = ResolvConfig;

    fn create(config: ResolvConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
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
    /// If the system fails to answer, what it said last is used, for `keep` once more.
    ///
    /// # Errors
    /// When there is no such name, or no answer in time, and none is remembered.
    pub async fn resolve(&self, host: &str) -> io::Result<Arc<[IpAddr]>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Arc::new([ip]));
        }
        let remembered = self.known().get(host).cloned();
        match remembered {
            Some(known) if clock::now() < known.fresh => Ok(known.addresses),
            remembered => {
                let answer = self.ask(host).await;
                // Who has waited for a system that fails spares others the wait.
                let addresses = answer.or_else(|e| remembered.map(|k| k.addresses).ok_or(e))?;
                self.remember(host, &addresses);
                Ok(addresses)
            }
        }
    }

    async fn ask(&self, host: &str) -> io::Result<Arc<[IpAddr]>> {
        let asked = tokio::net::lookup_host((host, 0));
        let found = tokio::time::timeout(self.config.timeout, asked).await??;
        let addresses: Arc<[IpAddr]> = found.map(|address| address.ip()).collect();
        if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
    }

    pub(crate) fn remember(&self, host: &str, addresses: &Arc<[IpAddr]>) {
        let now = clock::now();
        let mut known = self.known();
        if known.len() >= NAMES {
            known.retain(|_, k| now < k.fresh);
        }
        if known.len() < NAMES {
            let fresh = now.after(self.config.keep);
            known.insert(host.to_owned(), Known { addresses: addresses.clone(), fresh });
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let old = Known { addresses: addresses.clone(), fresh: clock::now() };
        resolv.known().insert("not a name".to_owned(), old);
        assert_eq!(resolv.resolve("not a name").await.unwrap(), addresses);
        // It is asked again when the answer is old again, and not by everyone.
        assert!(resolv.known()["not a name"].fresh > clock::now());
        assert!(resolv.resolve("nor is this").await.is_err());
    }
}
