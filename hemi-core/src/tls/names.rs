//! Certificates of single names, which come and go while a site is shown.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};

use rustls::sign::CertifiedKey;
use tracing::warn;

use crate::{BoxFuture, clock};

/// From whom a site has certificates of single names.
pub trait Issuer: Send + Sync {
    /// What to show to who checks by TLS-ALPN-01 (RFC 8737) that this name is ours. May read a file.
    fn challenge(&self, name: &str) -> Option<Arc<CertifiedKey>>;

    /// Whether a certificate for this name is to come, or can be had.
    fn awaits(&self, name: &str) -> bool;

    /// Obtains a certificate for this name, and shows it; whether there is one now.
    fn obtain<'a>(&'a self, name: &'a str) -> BoxFuture<'a, bool>;
}

/// The certificates of a site by name, in lower case, or `*.x`.
#[derive(Default)]
pub(super) struct Names {
    keys: RwLock<HashMap<String, Arc<CertifiedKey>>>,
    issuer: OnceLock<Weak<dyn Issuer>>,
    /// When it was last told that one is missing, in milliseconds.
    told: AtomicU64,
}

/// How often it is told that a certificate is missing, in milliseconds.
const PACE: u64 = 60_000;

impl Names {
    pub(super) fn show(&self, name: &str, key: Arc<CertifiedKey>) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), key);
    }

    /// Shows a certificate in the place of another that is the same but for what is shown with it.
    pub(super) fn replace(&self, old: &Arc<CertifiedKey>, new: &Arc<CertifiedKey>) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        for key in keys.values_mut().filter(|key| Arc::ptr_eq(key, old)) {
            *key = new.clone();
        }
    }

    pub(super) fn hide(&self, name: &str) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// That of a name, or of the pattern that it is of.
    pub(super) fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        if keys.is_empty() {
            return None;
        }
        let wild = || keys.get(&format!("*.{}", name.split_once('.')?.1));
        keys.get(name).or_else(wild).cloned()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Any of them, always the same: for clients that ask for another name, or for none.
    pub(super) fn any(&self) -> Option<Arc<CertifiedKey>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().min_by_key(|(name, _)| *name).map(|(_, key)| key.clone())
    }

    /// So many at most, in the order of their names.
    pub(super) fn some(&self, most: usize) -> Vec<(String, Arc<CertifiedKey>)> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = keys.iter().map(|(name, key)| (name.clone(), key.clone())).collect();
        drop(keys);
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all.truncate(most);
        all
    }

    pub(super) fn issued_by(&self, issuer: Weak<dyn Issuer>) {
        let _ = self.issuer.set(issuer);
    }

    /// Whether there is somebody from whom certificates come.
    pub(super) fn issuer(&self) -> Option<Arc<dyn Issuer>> {
        self.issuer.get()?.upgrade()
    }

    /// Tells that a name has no certificate, once in a while.
    pub(super) fn tell_missing(&self, name: &str) {
        let (now, told) = (clock::now().millis(), self.told.load(Ordering::Relaxed));
        let due = told == 0 || now.saturating_sub(told) >= PACE;
        if due
            && self.told.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            warn!(name, "a client is refused, for there is no certificate for this name yet");
        }
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}
