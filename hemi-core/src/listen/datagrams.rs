//! Sockets that receive datagrams.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// The UDP sockets of one address, one per core. All datagrams from one source arrive at the same of
/// them, so each must be read, or its share is lost.
#[derive(Debug)]
pub struct Datagrams {
    address: SocketAddr,
    sockets: Vec<Socket>,
}

impl Datagrams {
    pub(super) fn bind(wanted: SocketAddr, cores: usize) -> io::Result<Self> {
        // As with TCP: a second program of this user would take a share of the datagrams.
        drop(udp(wanted, false)?);
        let first = udp(wanted, true)?;
        let address = first.local_addr()?.as_socket().unwrap_or(wanted);
        let mut sockets = vec![first];
        for _ in 1..cores.max(1) {
            sockets.push(udp(address, true)?);
        }
        Ok(Self { address, sockets })
    }

    /// Where they are: with the port that the kernel chose, if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket of a core, to be used on it. When a stage follows another, both have the same.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn socket(&self, core: usize) -> io::Result<UdpSocket> {
        let socket = self.sockets[core % self.sockets.len()].try_clone()?;
        UdpSocket::from_std(socket.into())
    }
}

fn udp(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.ip().is_unspecified() && address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::Arc;

    use crate::listen::Listeners;

    #[tokio::test]
    async fn the_same_address_gives_the_same_sockets_for_as_long_as_one_holds_them() {
        let listeners = Listeners::default();
        let any = "127.0.0.1:0".parse().unwrap();
        let first = listeners.open_datagrams(any, 2).unwrap();
        let again = listeners.open_datagrams(any, 2).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let address = first.address();
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
