//! Listening sockets, kept apart from stages so that they outlive them.
//!
//! A new stage that asks for an address already bound gets the same sockets, with the connections that
//! wait in them. A TCP address has one socket per core (`SO_REUSEPORT`), so that cores don't contend for
//! connections; a Unix socket is shared by all cores.

mod address;
mod datagrams;

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

pub use address::{Address, AddressError, Peer};
pub use datagrams::Datagrams;

use crate::{Error, Result};

/// How sockets listen; applied when an address is first bound.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Connections that wait to be accepted, at most; the kernel may bound it further (`net.core.somaxconn`).
    pub backlog: u32,
    /// Has the kernel hold a TCP connection back until its first bytes are there, for about this long.
    /// Only for protocols in which the client speaks first. Zero turns it off.
    pub defer: Duration,
    /// Permission bits of a Unix socket's file.
    pub mode: u32,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: 4096, defer: Duration::ZERO, mode: 0o666 }
    }
}

/// The sockets that listen on one address.
#[derive(Debug)]
pub struct Listening {
    address: Address,
    sockets: Vec<OwnedFd>,
}

impl Listening {
    /// Where they really listen: with the port the kernel chose, if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The sockets, in the order of the cores that accept from them.
    #[must_use]
    pub fn sockets(&self) -> &[OwnedFd] {
        &self.sockets
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.address {
            // If it is gone already, all the better.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// All listening sockets of this process, by the address that was asked for.
#[derive(Debug, Default)]
pub struct Listeners {
    streams: Mutex<HashMap<Address, Weak<Listening>>>,
    datagrams: Mutex<HashMap<SocketAddr, Weak<Datagrams>>>,
}

impl Listeners {
    /// The sockets that listen on `address`: those that are bound already, or new ones, one per core.
    ///
    /// # Errors
    /// When the address is in use by another program, is not of this machine, or not allowed to this user.
    pub fn open(
        &self,
        address: &Address,
        cores: usize,
        options: &ListenOptions,
    ) -> Result<Arc<Listening>> {
        bound_or(&self.streams, address, || bind(address, cores, options))
            .map_err(|e| Error::env(format!("cannot listen on {address}"), e))
    }

    /// The same for UDP.
    ///
    /// # Errors
    /// The same.
    pub fn open_datagrams(&self, address: SocketAddr, cores: usize) -> Result<Arc<Datagrams>> {
        bound_or(&self.datagrams, &address, || Datagrams::bind(address, cores))
            .map_err(|e| Error::env(format!("cannot receive on {address}"), e))
    }
}

/// The sockets that are bound already, or those that `bind` makes.
fn bound_or<A: Clone + Eq + Hash, S>(
    bound: &Mutex<HashMap<A, Weak<S>>>,
    address: &A,
    bind: impl FnOnce() -> io::Result<S>,
) -> io::Result<Arc<S>> {
    let mut bound = bound.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sockets) = bound.get(address).and_then(Weak::upgrade) {
        return Ok(sockets);
    }
    let sockets = Arc::new(bind()?);
    bound.retain(|_, sockets| sockets.strong_count() > 0);
    bound.insert(address.clone(), Arc::downgrade(&sockets));
    Ok(sockets)
}

fn bind(address: &Address, cores: usize, options: &ListenOptions) -> io::Result<Listening> {
    match address {
        Address::Tcp(wanted) => {
            // With SO_REUSEPORT a second program of this user could bind the address too and take half of
            // the connections: a first bind without it finds out.
            drop(tcp(*wanted, false)?);
            let first = tcp(*wanted, true)?;
            let real = first.local_addr()?.as_socket().unwrap_or(*wanted);
            let mut sockets = vec![first];
            for _ in 1..cores.max(1) {
                sockets.push(tcp(real, true)?);
            }
            for socket in &sockets {
                // Accepted connections inherit it: answers leave at once.
                socket.set_tcp_nodelay(true)?;
                if !options.defer.is_zero() {
                    crate::sys::defer_accept(socket, options.defer)?;
                }
                listen(socket, options)?;
            }
            let sockets = sockets.into_iter().map(OwnedFd::from).collect();
            Ok(Listening { address: Address::Tcp(real), sockets })
        }
        Address::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            remove_stale(path)?;
            socket.bind(&SockAddr::unix(path)?)?;
            let mode = std::os::unix::fs::PermissionsExt::from_mode(options.mode);
            std::fs::set_permissions(path, mode)?;
            listen(&socket, options)?;
            Ok(Listening { address: address.clone(), sockets: vec![socket.into()] })
        }
    }
}

fn tcp(address: std::net::SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.ip().is_unspecified() && address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(socket: &Socket, options: &ListenOptions) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))
}

/// Takes away the socket file of a program that ended without doing so; one that still listens stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn the_same_address_gives_the_same_sockets_for_as_long_as_one_holds_them() {
        let (listeners, options) = (Listeners::default(), ListenOptions::default());
        let address: Address = "127.0.0.1:0".parse().unwrap();
        let first = listeners.open(&address, 2, &options).unwrap();
        let again = listeners.open(&address, 2, &options).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(first.sockets().len(), 2);
        let Address::Tcp(real) = *first.address() else { panic!("not TCP") };
        assert_ne!(real.port(), 0);
        drop((first, again));
        assert!(TcpStream::connect(real).is_err());
    }

    #[test]
    fn an_address_in_use_is_refused_though_ports_are_shared() {
        let options = ListenOptions::default();
        let mine = Listeners::default().open(&"127.0.0.1:0".parse().unwrap(), 1, &options).unwrap();
        let error = Listeners::default().open(mine.address(), 1, &options).unwrap_err();
        assert!(error.to_string().starts_with("cannot listen on 127.0.0.1:"), "{error}");
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_refused() {
        let path = std::env::temp_dir().join(format!("hemi-listen-{}.sock", std::process::id()));
        let (address, options) = (Address::Unix(path.clone()), ListenOptions::default());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let live = Listeners::default().open(&address, 1, &options).unwrap();
        assert!(Listeners::default().open(&address, 1, &options).is_err());
        drop(live);
        assert!(!path.exists());
    }
}
