//! The ports that another leader has left to this one.

use std::io;
use std::sync::{Mutex, PoisonError};

use hemi_core::listen::{Binder, Bound, Endpoint, Here, ListenOptions};

/// Gives the sockets that were left to who asks for their addresses first, and binds all others.
#[derive(Debug, Default)]
pub(super) struct Ports(Mutex<Vec<(Endpoint, Bound)>>);

impl Ports {
    pub(super) fn left(sockets: Vec<(Endpoint, Bound)>) -> Self {
        Self(Mutex::new(sockets))
    }
}

impl Binder for Ports {
    fn bind(
        &self,
        endpoint: &Endpoint,
        cores: usize,
        options: &ListenOptions,
    ) -> io::Result<Bound> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match left.iter().position(|(of, _)| of == endpoint) {
            Some(at) => Ok(left.swap_remove(at).1),
            None => Here.bind(endpoint, cores, options),
        }
    }

    fn release(&self, endpoint: &Endpoint) {
        Here.release(endpoint);
    }
}
