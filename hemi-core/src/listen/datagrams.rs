//! Sockets that receive datagrams.

use std::io;

use tokio::net::UdpSocket;

use super::{Address, Bound, Need};
use crate::datagrams::Port;

/// The UDP sockets of one address, one per core. All datagrams from one source arrive at the same of
/// them, so each must be read, or its share is lost. Of a Unix socket there is one.
#[derive(Debug)]
pub struct Datagrams {
    pub(super) bound: Bound,
    _need: Need,
}

impl Datagrams {
    pub(super) fn new(bound: Bound, need: Need) -> io::Result<Self> {
        match bound.sockets.is_empty() {
            false => Ok(Self { bound, _need: need }),
            true => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    /// Where they are: with the port that the kernel chose, if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.bound.address
    }

    /// The socket of a core, to be used on it. When a stage follows another, both have the same.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn socket(&self, core: usize) -> io::Result<UdpSocket> {
        UdpSocket::from_std(self.std_socket(core)?)
    }

    /// The same for datagrams in batches.
    ///
    /// # Errors
    /// The same.
    pub fn port(&self, core: usize) -> io::Result<Port> {
        let sockets = &self.bound.sockets;
        let socket = sockets[core % sockets.len()].try_clone()?;
        match &self.bound.address {
            Address::Unix(_) => Port::bound_to_path(socket),
            _ => Port::bound(socket.into()),
        }
    }

    /// How many sockets there are.
    pub fn count(&self) -> usize {
        self.bound.sockets.len()
    }

    /// The same, of no runtime.
    pub(crate) fn std_socket(&self, core: usize) -> io::Result<std::net::UdpSocket> {
        let sockets = &self.bound.sockets;
        Ok(sockets[core % sockets.len()].try_clone()?.into())
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::Arc;

    use crate::listen::{Address, Listeners};

    #[tokio::test]
    async fn the_same_address_gives_the_same_sockets_for_as_long_as_one_holds_them() {
        let listeners = Listeners::default();
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
        let first = listeners.open_datagrams(any, 2).unwrap();
        let again = listeners.open_datagrams(any, 2).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let Address::Tcp(address) = *first.address() else { panic!("not UDP") };
        assert_ne!(address.port(), 0);
        // What one source sends comes to one of them.
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"ping", address).unwrap();
        let (one, other) = (first.socket(0).unwrap(), again.socket(1).unwrap());
        let (mut a, mut b) = ([0; 8], [0; 8]);
        let (length, from) = tokio::select! {
            got = one.recv_from(&mut a) => got.unwrap(),
            got = other.recv_from(&mut b) => got.unwrap(),
        };
        assert_eq!((length, from), (4, client.local_addr().unwrap()));
        // Another program would be refused.
        let error = Listeners::default().open_datagrams(address, 1).unwrap_err().to_string();
        assert!(error.starts_with("cannot receive on 127.0.0.1:"), "{error}");
        drop((first, again, one, other));
        UdpSocket::bind(address).unwrap();
    }
}
