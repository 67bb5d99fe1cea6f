//! Tickets by which clients resume sessions (RFC 8446, 4.6.1; RFC 5077), and the keys that protect them.
//!
//! The keys are shared by all cores, and outlive stages. A ticket is good for one context only, such as a
//! webapp with what it demands of clients: in no other can it be opened.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use rustls::server::ProducesTickets;

use super::TlsConfig;
use crate::{Error, Result, clock};

/// Bytes of a key's name, by which a ticket tells its own.
const NAME: usize = 16;

/// The keys of tickets.
pub struct Tickets {
    keys: RwLock<Keys>,
}

struct Keys {
    lifetime: Duration,
    /// What keys are made of, if not of chance.
    secret: Option<hmac::Key>,
    /// When `current` was due: so many lifetimes after 1970.
    period: u64,
    current: Option<Key>,
    /// Still opens what it has sealed.
    previous: Option<Key>,
}

struct Key {
    name: [u8; NAME],
    key: LessSafeKey,
}

impl Default for Tickets {
    fn default() -> Self {
        let (lifetime, secret) = (Duration::ZERO, None);
        let keys = Keys { lifetime, secret, period: 0, current: None, previous: None };
        Self { keys: RwLock::new(keys) }
    }
}

impl Tickets {
    /// Sets how long tickets are good for, and what keys are made of. Keys that were made of the same
    /// are kept.
    pub fn configure(&self, lifetime: Duration, secret: Option<&[u8]>) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.lifetime = lifetime;
        if secret.is_some() || keys.secret.is_some() {
            keys.secret = secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret));
            (keys.current, keys.previous) = (None, None);
        }
    }

    /// The same by the properties of a server. Blocks.
    ///
    /// # Errors
    /// When the file of the key can't be read, or holds too little or too much.
    pub fn configure_by(&self, config: &TlsConfig) -> Result<()> {
        let secret = config.tls_ticket_key.as_deref().map(read_secret).transpose()?;
        self.configure(config.tls_ticket_lifetime, secret.as_deref());
        Ok(())
    }

    /// Makes and opens tickets of one context.
    #[must_use]
    pub fn of(self: &Arc<Self>, context: [u8; 32]) -> Arc<dyn ProducesTickets> {
        Arc::new(Of { tickets: self.clone(), context })
    }

    /// Sees to it that the keys are those of now.
    fn turn(&self) -> Option<()> {
        let since = clock::calendar().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let is_due = |keys: &Keys| {
            let period = since.as_secs() / keys.lifetime.as_secs().max(1);
            (keys.current.is_none() || keys.period != period).then_some(period)
        };
        let due = is_due(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        if due.is_some() {
            let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            // Another core may have done it.
            if let Some(period) = is_due(&keys) {
                let next = keys.make(period)?;
                keys.previous = match &keys.secret {
                    Some(_) => keys.make(period.wrapping_sub(1)),
                    None => keys.current.take().filter(|_| keys.period.wrapping_add(1) == period),
                };
                (keys.current, keys.period) = (Some(next), period);
            }
        }
        Some(())
    }
}

fn read_secret(path: &Path) -> Result<Vec<u8>> {
    let cannot = |e| Error::env(format!("cannot use the ticket key {}", path.display()), e);
    let secret = fs::read(path).map_err(cannot)?;
    if !(32..=256).contains(&secret.len()) {
        let message = format!("it has {} bytes, not 32 to 256", secret.len());
        return Err(cannot(io::Error::other(message)));
    }
    Ok(secret)
}

impl Keys {
    fn make(&self, period: u64) -> Option<Key> {
        let (mut name, mut bytes) = ([0; NAME], [0; 32]);
        match &self.secret {
            Some(secret) => {
                let of =
                    |label: &[u8]| hmac::sign(secret, &[label, &period.to_be_bytes()].concat());
                name.copy_from_slice(of(b"tls ticket name").as_ref().get(..NAME)?);
                bytes.copy_from_slice(of(b"tls ticket key").as_ref());
            }
            None => {
                rand::fill(&mut name).ok()?;
                rand::fill(&mut bytes).ok()?;
            }
        }
        Some(Key { name, key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).ok()?) })
    }
}

/// The tickets of one context.
struct Of {
    tickets: Arc<Tickets>,
    context: [u8; 32],
}

impl ProducesTickets for Of {
    fn enabled(&self) -> bool {
        self.lifetime() > 0
    }

    fn lifetime(&self) -> u32 {
        let keys = self.tickets.keys.read().unwrap_or_else(PoisonError::into_inner);
        u32::try_from(keys.lifetime.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.turn()?;
        let keys = self.tickets.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.current.as_ref()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let aad = Aad::from(self.context);
        let unique = Nonce::assume_unique_for_key(nonce);
        key.key.seal_in_place_append_tag(unique, aad, &mut sealed).ok()?;
        Some([&key.name[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        self.tickets.turn()?;
        let keys = self.tickets.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = [&keys.current, &keys.previous].into_iter().flatten().find(|k| k.name == name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = sealed.to_vec();
        let len = key.key.open_in_place(nonce, Aad::from(self.context), &mut plain).ok()?.len();
        plain.truncate(len);
        Some(plain)
    }
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Of {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.tickets.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(3600);

    #[test]
    fn a_ticket_opens_in_its_context_only() {
        let tickets = Arc::new(Tickets::default());
        tickets.configure(LIFETIME, None);
        let (one, other) = (tickets.of([1; 32]), tickets.of([2; 32]));
        let ticket = one.encrypt(b"session").unwrap();
        assert_eq!(one.decrypt(&ticket).unwrap(), b"session");
        assert_eq!(other.decrypt(&ticket), None);
        tickets.configure(LIFETIME, None);
        assert_eq!(one.decrypt(&ticket).unwrap(), b"session");
        for cut in 0..ticket.len() {
            assert_eq!(one.decrypt(&ticket[..cut]), None);
        }
    }

    #[test]
    fn machines_with_the_same_file_know_each_others_tickets() {
        let of = |secret: &[u8]| {
            let tickets = Arc::new(Tickets::default());
            tickets.configure(LIFETIME, Some(secret));
            tickets.of([0; 32])
        };
        let ticket = of(&[7; 48]).encrypt(b"session").unwrap();
        assert_eq!(of(&[7; 48]).decrypt(&ticket).unwrap(), b"session");
        assert_eq!(of(&[8; 48]).decrypt(&ticket), None);
    }

    #[test]
    fn the_key_before_still_opens_and_the_one_before_it_does_not() {
        let tickets = Arc::new(Tickets::default());
        tickets.configure(LIFETIME, None);
        let all = tickets.of([0; 32]);
        let ticket = all.encrypt(b"session").unwrap();
        let age = || tickets.keys.write().unwrap().period -= 1;
        age();
        assert!(all.decrypt(&ticket).is_some());
        age();
        assert!(all.decrypt(&ticket).is_none());
    }
}
