//! Listening sockets, kept apart from stages so that they outlive them.
//!
//! A new stage that asks for an address already bound gets the same sockets, with the connections that
//! wait in them. A TCP address has one socket per core (`SO_REUSEPORT`), so that cores don't contend for
//! connections; a Unix socket is shared by all cores.
//!
//! Who binds them is a [`Binder`]: [`Here`], this process itself, unless the engine is told of another.

mod address;
mod bind;
mod datagrams;
mod inherited;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use address::{Address, AddressError, Peer};
pub use bind::Here;
pub use datagrams::Datagrams;
pub use inherited::Inherited;

use crate::quic::{Endpoints, Kin};
use crate::{Error, Result};

/// How sockets listen; applied when an address is first bound.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListenOptions {
    /// Connections that wait to be accepted, at most; the kernel may bound it further (`net.core.somaxconn`).
    pub backlog: u32,
    /// Has the kernel hold a TCP connection back until its first bytes are there, for about this long.
    /// Only for protocols in which the client speaks first. Zero turns it off.
    pub defer: Duration,
    /// Permission bits of a Unix socket's file.
    pub mode: u32,
    /// After how long a silence the kernel asks clients of TCP whether they are still there; zero for never.
    pub keep_alive: Duration,
    /// Whether connections to addresses that are not of this machine are taken too (`IP_TRANSPARENT`).
    pub transparent: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 4096,
            defer: Duration::ZERO,
            mode: 0o666,
            keep_alive: Duration::ZERO,
            transparent: false,
        }
    }
}

/// What sockets are for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Endpoint {
    /// Connections to this address.
    Streams(Address),
    /// Datagrams to this one.
    Datagrams(Address),
}

/// Sockets that are bound, and where: with the port the kernel chose, if 0 was asked for.
#[derive(Debug)]
pub struct Bound {
    /// Where they are.
    pub address: Address,
    /// In the order of the cores that use them. They don't block.
    pub sockets: Vec<OwnedFd>,
}

impl Bound {
    /// The same sockets once more.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn share(&self) -> io::Result<Self> {
        let sockets = self.sockets.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
        Ok(Self { address: self.address.clone(), sockets })
    }
}

/// Binds sockets, and knows for how long they are needed.
pub trait Binder: Send + Sync {
    /// Sockets for an endpoint, one for each of so many cores if they can be many. May block.
    ///
    /// # Errors
    /// When the address is in use by another program, is not of this machine, or not allowed to this user.
    fn bind(&self, endpoint: &Endpoint, cores: usize, options: &ListenOptions)
    -> io::Result<Bound>;

    /// Those of an earlier [`bind`](Self::bind) are not needed here any more. Must not block.
    fn release(&self, endpoint: &Endpoint);
}

/// Tells the binder that sockets are not needed any more, when it is dropped.
struct Need {
    endpoint: Endpoint,
    binder: Arc<dyn Binder>,
}

impl Drop for Need {
    fn drop(&mut self) {
        self.binder.release(&self.endpoint);
    }
}

impl fmt::Debug for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)
    }
}

/// The sockets that listen on one address.
#[derive(Debug)]
pub struct Listening {
    bound: Bound,
    _need: Need,
}

impl Listening {
    /// Where they really listen: with the port the kernel chose, if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.bound.address
    }

    /// The sockets, in the order of the cores that accept from them.
    #[must_use]
    pub fn sockets(&self) -> &[OwnedFd] {
        &self.bound.sockets
    }
}

/// All listening sockets of this process, by the address that was asked for.
pub struct Listeners {
    binder: Arc<dyn Binder>,
    streams: Mutex<HashMap<Address, Weak<Listening>>>,
    datagrams: Mutex<HashMap<Address, Weak<Datagrams>>>,
    quic: Mutex<HashMap<SocketAddr, Weak<Endpoints>>>,
    kin: OnceLock<Arc<Kin>>,
}

impl Default for Listeners {
    fn default() -> Self {
        Self::by(Arc::new(Here))
    }
}

impl Listeners {
    /// Those that this binder binds.
    pub fn by(binder: Arc<dyn Binder>) -> Self {
        Self {
            binder,
            streams: Mutex::default(),
            datagrams: Mutex::default(),
            quic: Mutex::default(),
            kin: OnceLock::new(),
        }
    }

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
        bound_or(&self.streams, address, || {
            let (bound, need) = self.bind(Endpoint::Streams(address.clone()), cores, options)?;
            Ok(Listening { bound, _need: need })
        })
        .map_err(|e| {
            let others = live(&self.streams).into_iter();
            let others = others.filter_map(|(_, other)| other.address().tcp());
            let beside = beside(&e, address.tcp(), others);
            Error::env(format!("cannot listen on {address}{beside}"), e)
        })
    }

    /// The same for datagrams: of UDP, or those to a Unix socket, which is one for all cores.
    ///
    /// # Errors
    /// The same.
    pub fn open_datagrams(
        &self,
        address: impl Into<Address>,
        cores: usize,
    ) -> Result<Arc<Datagrams>> {
        let address = address.into();
        bound_or(&self.datagrams, &address, || {
            let endpoint = Endpoint::Datagrams(address.clone());
            let (bound, need) = self.bind(endpoint, cores, &ListenOptions::default())?;
            Datagrams::new(bound, need)
        })
        .map_err(|e| {
            let others = live(&self.datagrams).into_iter();
            let others = others.filter_map(|(other, _)| other.tcp());
            let beside = beside(&e, address.tcp(), others);
            Error::env(format!("cannot receive on {address}{beside}"), e)
        })
    }

    /// The endpoints of QUIC on a UDP address.
    ///
    /// # Errors
    /// The same.
    pub fn open_quic(&self, address: SocketAddr, cores: usize) -> Result<Arc<Endpoints>> {
        let datagrams = self.open_datagrams(address, cores)?;
        let endpoints = || Endpoints::new(datagrams, cores, self.kin()?);
        bound_or(&self.quic, &address, endpoints)
            .map_err(|e| Error::env(format!("no endpoint of QUIC on {address}"), e))
    }

    /// Leaves the UDP sockets of these addresses to another process, as far as QUIC is spoken there: it
    /// passes on what is for connections of this one.
    pub(crate) fn leave(&self, addresses: &[SocketAddr]) {
        let quic = live(&self.quic).into_iter();
        quic.filter(|(at, _)| addresses.contains(at)).for_each(|(_, endpoints)| endpoints.leave());
    }

    /// The endpoints of QUIC that are really here.
    pub(crate) fn quic_at(&self, address: SocketAddr) -> Option<Arc<Endpoints>> {
        let mut quic = live(&self.quic).into_iter().map(|(_, endpoints)| endpoints);
        quic.find(|endpoints| endpoints.address() == address)
    }

    /// What is known of other processes on the same UDP sockets; to be set before there are any.
    pub(crate) fn set_kin(&self, kin: Kin) {
        let _ = self.kin.set(Arc::new(kin));
    }

    fn kin(&self) -> io::Result<Arc<Kin>> {
        if let Some(kin) = self.kin.get() {
            return Ok(kin.clone());
        }
        let alone = Arc::new(Kin::none()?);
        Ok(self.kin.get_or_init(|| alone).clone())
    }

    /// All that are in use now, for somebody who is to keep them as well.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn share(&self) -> io::Result<Vec<(Endpoint, Bound)>> {
        let mut shared = Vec::new();
        for (address, listening) in live(&self.streams) {
            shared.push((Endpoint::Streams(address), listening.bound.share()?));
        }
        for (address, datagrams) in live(&self.datagrams) {
            shared.push((Endpoint::Datagrams(address), datagrams.bound.share()?));
        }
        Ok(shared)
    }

    fn bind(
        &self,
        endpoint: Endpoint,
        cores: usize,
        options: &ListenOptions,
    ) -> io::Result<(Bound, Need)> {
        let bound = self.binder.bind(&endpoint, cores, options)?;
        Ok((bound, Need { endpoint, binder: self.binder.clone() }))
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut of = f.debug_struct("Listeners");
        of.field("streams", &self.streams).field("datagrams", &self.datagrams);
        of.finish_non_exhaustive()
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

/// Which of the other addresses here is the reason that one is in use, in words; nothing, if none is.
fn beside(
    e: &io::Error,
    wanted: Option<SocketAddr>,
    mut others: impl Iterator<Item = SocketAddr>,
) -> String {
    let Some(wanted) = wanted.filter(|_| e.kind() == io::ErrorKind::AddrInUse) else {
        return String::new();
    };
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, wanted.port()));
    let overlaps = |one: SocketAddr, other: SocketAddr| {
        one.ip().is_unspecified() && (one == any || one.is_ipv4() == other.is_ipv4())
    };
    let same_port = |other: &SocketAddr| other.port() == wanted.port();
    let other = others.find(|o| same_port(o) && (overlaps(*o, wanted) || overlaps(wanted, *o)));
    match other {
        Some(other) if wanted == any || other == any => {
            format!(" beside {other}, for `[::]` stands for all addresses of IPv4 too")
        }
        Some(other) => format!(" beside {other}, for one of the two stands for all addresses"),
        None => String::new(),
    }
}

/// Those that somebody uses.
fn live<A: Clone, S>(bound: &Mutex<HashMap<A, Weak<S>>>) -> Vec<(A, Arc<S>)> {
    let bound = bound.lock().unwrap_or_else(PoisonError::into_inner);
    bound
        .iter()
        .filter_map(|(address, sockets)| Some((address.clone(), sockets.upgrade()?)))
        .collect()
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
    fn an_address_in_use_by_another_of_the_same_server_is_told_with_it() {
        let (listeners, options) = (Listeners::default(), ListenOptions::default());
        let any = listeners.open(&"[::]:0".parse().unwrap(), 1, &options);
        // There are machines without IPv6.
        let Ok(any) = any else { return };
        let port = any.address().tcp().unwrap().port();
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        let error = listeners.open(&address, 1, &options).unwrap_err().to_string();
        let told =
            format!("cannot listen on 127.0.0.1:{port} beside [::]:{port}, for `[::]` stands");
        assert!(error.starts_with(&told), "{error}");
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

    #[test]
    fn what_is_shared_still_listens_when_nobody_uses_it_here() {
        let (listeners, options) = (Listeners::default(), ListenOptions::default());
        let used = listeners.open(&"127.0.0.1:0".parse().unwrap(), 2, &options).unwrap();
        let shared = listeners.share().unwrap();
        drop(used);
        let [(_, Bound { address: Address::Tcp(real), sockets })] = &shared[..] else {
            panic!("{shared:?}")
        };
        assert_eq!(sockets.len(), 2);
        TcpStream::connect(real).unwrap();
        assert!(listeners.share().unwrap().is_empty());
    }
}
