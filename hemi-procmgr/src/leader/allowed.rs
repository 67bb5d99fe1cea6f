//! Which addresses are bound for a worker of another user: those of the config, as the leader reads it itself.
//! Else whoever takes over a worker could have root bind any address.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;

use hemi_core::config::Source;
use hemi_core::listen::{Address, Endpoint};

use super::Leader;

/// None if the worker may have whatever it asks for, for it could bind that itself.
pub(super) struct Allowed(Option<RefCell<HashSet<Address>>>);

impl Allowed {
    /// For workers of this user.
    pub(super) fn to(user: u32) -> Self {
        let is_other = user != rustix::process::geteuid().as_raw();
        Self(is_other.then(RefCell::default))
    }

    /// Whether this may be bound.
    pub(super) fn admits(&self, endpoint: &Endpoint) -> io::Result<()> {
        let Some(allowed) = &self.0 else { return Ok(()) };
        let address = match endpoint {
            Endpoint::Streams(address) | Endpoint::Datagrams(address) => address,
        };
        match allowed.borrow().contains(address) {
            true => Ok(()),
            false => {
                let message = "the config does not name this address, as the leader reads it";
                Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
            }
        }
    }
}

impl Leader {
    /// Reads what a worker is about to load: this config, or what lies where the config comes from.
    pub(super) async fn read_addresses(&self, config: Option<&str>) {
        let Some(allowed) = &self.allowed.0 else { return };
        let source = match config {
            Some(text) => Source::text("the config that was served", text),
            None => self.source.clone(),
        };
        let (program, constants) = (self.program, self.constants.clone());
        let read = move || hemi_core::needs(&program.registry(), &source, &constants);
        // It is the worker that tells the mistakes.
        let needs = tokio::task::spawn_blocking(read).await.ok().and_then(Result::ok);
        *allowed.borrow_mut() = needs.unwrap_or_default().addresses;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_config_does_not_name_is_bound_for_nobody_else() {
        let own = Allowed::to(rustix::process::geteuid().as_raw());
        let other = Allowed(Some(RefCell::default()));
        let web: Address = "127.0.0.1:80".parse().unwrap();
        let named = Endpoint::Streams(web.clone());
        let (datagrams, ssh) =
            (Endpoint::Datagrams(web.clone()), Endpoint::Streams("127.0.0.1:22".parse().unwrap()));
        assert!(own.admits(&ssh).is_ok() && other.admits(&named).is_err());
        other.0.as_ref().unwrap().borrow_mut().insert(web);
        assert!(other.admits(&named).is_ok() && other.admits(&datagrams).is_ok());
        assert_eq!(other.admits(&ssh).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
