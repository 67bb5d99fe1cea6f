//! UDP in batches: one system call for what several senders have sent, and for what goes to one receiver.
//!
//! Datagrams of one sender that have come in a row, all of one size but the last, are a [`Burst`], and are sent
//! on as one, where the kernel can (GRO, GSO). Those of Unix sockets are received and sent one by one.

mod unix;

use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::unix::AsyncFd;

pub use self::unix::Name;
use crate::backend::Target;
use crate::sys::{gather_datagrams, let_fragment_v6, watch_readable};

/// Bursts that one system call receives, at most.
const BURSTS: usize = 32;

/// Bytes of a burst, at most: what a datagram can have.
const BURST: usize = 64 << 10;

/// Bytes that are sent as one, at most: what an IP packet has room for.
const SENT: usize = 65_000;

/// Bytes that the system is asked to keep of what has come to a socket.
const ROOM: usize = 4 << 20;

thread_local! {
    static BATCH: Cell<Option<Box<Batch>>> = const { Cell::new(None) };
}

/// A socket for datagrams, to be used on the core it was made on.
#[derive(Debug)]
pub struct Port {
    socket: AsyncFd<OwnedFd>,
    family: Family,
    /// Whether it has another end that may be told not to listen.
    connected: bool,
    /// What is known of the system, once UDP was spoken.
    state: OnceLock<Arc<UdpSocketState>>,
}

/// What kind of addresses a port has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    /// They may be of IPv4 within.
    V6,
    Unix,
}

/// Who has sent a datagram.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// Somebody at this address, by UDP; who is at one of IPv4 as that.
    Udp(SocketAddr),
    /// A Unix socket of this name, or one without a name, which can't be answered.
    Unix(Option<Name>),
}

impl Sender {
    /// Its address, if it has one.
    #[must_use]
    pub fn udp(&self) -> Option<SocketAddr> {
        match self {
            Self::Udp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

/// What one system call has received.
#[derive(Debug)]
pub struct Batch {
    room: Box<[u8]>,
    metas: [RecvMeta; BURSTS],
    /// Who has sent what came to a Unix socket.
    names: [Option<Name>; BURSTS],
    is_unix: bool,
    /// What is in another burst by now.
    merged: [bool; BURSTS],
    filled: usize,
}

/// Datagrams that one sender has sent in a row.
#[derive(Clone, Debug)]
pub struct Burst<'a> {
    /// Who has sent them.
    pub from: Sender,
    /// The address of this machine that they were sent to, if the system tells.
    pub to: Option<IpAddr>,
    /// All of them.
    pub bytes: &'a [u8],
    /// The size of each but the last, which may be smaller.
    pub size: usize,
}

impl Port {
    /// One that is bound.
    ///
    /// # Errors
    /// When the system does not let it be watched.
    pub(crate) fn bound(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // As much as the system allows: they may come faster than the core gets to them.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), ROOM);
        // Who relays must not lose what the way is too narrow for.
        let is_v6 = socket.local_addr()?.is_ipv6();
        set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::WANT).or_else(|e| match is_v6 {
            true => Ok(()),
            false => Err(e),
        })?;
        if is_v6 {
            set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::WANT)?;
            let_fragment_v6(&socket)?;
        }
        let (socket, state) = (watch_readable(socket.into())?, Arc::new(state).into());
        let family = if is_v6 { Family::V6 } else { Family::V4 };
        Ok(Self { socket, family, connected: false, state })
    }

    /// A new one that is connected to a node, with what is known of the system by this one.
    ///
    /// # Errors
    /// When there are no more descriptors or ports, or there is no way to the node.
    pub fn connect(&self, to: &Target) -> io::Result<Self> {
        let to = match to {
            Target::Tcp(address) => *address,
            Target::Unix(path) => return Self::connected_to_path(path),
        };
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // Without that each datagram is received by itself.
        let _ = gather_datagrams(&socket);
        socket.connect(&to.into())?;
        let family = if to.is_ipv6() { Family::V6 } else { Family::V4 };
        let state = match self.state.get() {
            Some(known) => known.clone(),
            None => {
                let learnt = Arc::new(UdpSocketState::new(UdpSockRef::from(&socket))?);
                self.state.get_or_init(|| learnt).clone()
            }
        };
        let state = state.into();
        Ok(Self { socket: watch_readable(socket.into())?, family, connected: true, state })
    }

    /// Waits for datagrams, and receives as many as there are and have room.
    ///
    /// # Errors
    /// When the system fails; of a connected port also when nobody listens at the other end, which is told once, here or
    /// by sending.
    pub fn poll_recv(&self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        batch.filled = 0;
        loop {
            let mut ready = match self.socket.poll_read_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return self.poll_error(cx),
            };
            let Some(state) = self.state.get().filter(|_| self.family != Family::Unix) else {
                match self.recv_unix(batch) {
                    Ok(drained) => {
                        if drained {
                            ready.clear_ready();
                        }
                        batch.merge();
                        return Poll::Ready(Ok(()));
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                    Err(e) => return Poll::Ready(Err(e)),
                }
                continue;
            };
            batch.is_unix = false;
            let Batch { room, metas, filled, .. } = batch;
            let mut pieces = room.chunks_mut(BURST);
            let mut bufs: [IoSliceMut<'_>; BURSTS] =
                std::array::from_fn(|_| IoSliceMut::new(pieces.next().unwrap_or_default()));
            let socket = UdpSockRef::from(self.socket.get_ref());
            match state.recv(socket, &mut bufs, metas) {
                Ok(got) => {
                    // Nothing is left: the system is asked again when it has told of more.
                    if got < BURSTS {
                        ready.clear_ready();
                    }
                    *filled = got;
                    batch.merge();
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted || is_too_long(&e) => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// Waits for an error, which gives nothing to read, and is told as if nothing could be sent any more.
    fn poll_error(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connected {
            let _told = ready!(self.socket.poll_write_ready(cx))?;
            let error = SockRef::from(self.socket.get_ref()).take_error()?;
            if let Some(error) = error.filter(|e| !is_too_long(e)) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Pending
    }

    /// Sends datagrams of a size to who has sent some, as from this address of the machine if one is named; what there
    /// is no room for now is lost. Returns how many were sent.
    ///
    /// # Errors
    /// When the system fails, or there is no way to the other.
    pub fn answer(
        &self,
        to: &Sender,
        from: Option<IpAddr>,
        bytes: &[u8],
        size: usize,
    ) -> io::Result<usize> {
        match to {
            Sender::Udp(to) => self.send(*to, from, bytes, size),
            Sender::Unix(Some(name)) => self.send_unix(Some(name), bytes, size),
            Sender::Unix(None) => Ok(0),
        }
    }

    /// The same to the node that it is connected to.
    ///
    /// # Errors
    /// The same; also when nobody listens at the other end.
    pub fn pass(&self, to: &Target, bytes: &[u8], size: usize) -> io::Result<usize> {
        match to {
            Target::Tcp(to) => self.send(*to, None, bytes, size),
            Target::Unix(_) => self.send_unix(None, bytes, size),
        }
    }

    fn send(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
        bytes: &[u8],
        size: usize,
    ) -> io::Result<usize> {
        let Some(state) = self.state.get() else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let to = match to {
            SocketAddr::V4(v4) if self.family == Family::V6 => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            to => to,
        };
        if bytes.len() <= size {
            return self.send_one(state, to, from, bytes, None).map(usize::from);
        }
        let size = size.max(1);
        let most = state.max_gso_segments().min(SENT / size).max(1);
        let mut sent = 0;
        for piece in bytes.chunks(size.saturating_mul(most)) {
            let count = piece.len().div_ceil(size);
            let whole = match count {
                1 => self.send_one(state, to, from, piece, None),
                _ => self.send_one(state, to, from, piece, Some(size)),
            };
            match whole {
                Ok(true) => sent += count,
                Ok(false) => return Ok(sent),
                Err(e) if count == 1 || e.kind() == io::ErrorKind::ConnectionRefused => {
                    return Err(e);
                }
                // They are larger than the system lets them go as one.
                Err(_) => {
                    for one in piece.chunks(size) {
                        match self.send_one(state, to, from, one, None)? {
                            true => sent += 1,
                            false => return Ok(sent),
                        }
                    }
                }
            }
        }
        Ok(sent)
    }

    /// False if there is no room.
    fn send_one(
        &self,
        state: &UdpSocketState,
        to: SocketAddr,
        from: Option<IpAddr>,
        contents: &[u8],
        segment_size: Option<usize>,
    ) -> io::Result<bool> {
        if self.connected && segment_size.is_none() {
            return self.send_on(contents);
        }
        let transmit =
            Transmit { destination: to, ecn: None, contents, segment_size, src_ip: from };
        match state.try_send(UdpSockRef::from(self.socket.get_ref()), &transmit) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Sends one to the other end: the system knows the way by now, and looks for it only if it is told where to.
    fn send_on(&self, datagram: &[u8]) -> io::Result<bool> {
        loop {
            return match rustix::net::send(self.socket.get_ref(), datagram, SendFlags::DONTWAIT) {
                Ok(_) => Ok(true),
                Err(Errno::AGAIN) => Ok(false),
                Err(Errno::INTR) => continue,
                Err(e) => Err(e.into()),
            };
        }
    }
}

impl Default for Batch {
    fn default() -> Self {
        let room = vec![0; BURSTS * BURST].into_boxed_slice();
        let (metas, names) = ([RecvMeta::default(); BURSTS], std::array::from_fn(|_| None));
        Self { room, metas, names, is_unix: false, merged: [false; BURSTS], filled: 0 }
    }
}

impl Batch {
    /// Lends the core's.
    pub fn with<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        let mut batch = BATCH.take().unwrap_or_default();
        let done = work(&mut batch);
        BATCH.set(Some(batch));
        done
    }

    /// Makes one of what a sender has sent in a row, and the system has not: it is sent on as one, too.
    fn merge(&mut self) {
        self.merged = [false; BURSTS];
        let mut first = 0;
        for next in 1..self.filled {
            let (one, other) = (self.metas[first], self.metas[next]);
            let same =
                (one.addr, one.dst_ip, one.stride) == (other.addr, other.dst_ip, other.stride);
            let same = same && (!self.is_unix || self.names[first] == self.names[next]);
            // All but the last are of one size.
            let whole = one.stride > 0 && one.len.is_multiple_of(one.stride);
            if same && whole && one.len + other.len <= SENT {
                let from = next * BURST;
                self.room.copy_within(from..from + other.len, first * BURST + one.len);
                self.metas[first].len += other.len;
                self.merged[next] = true;
            } else {
                first = next;
            }
        }
    }

    /// What was received.
    pub fn bursts(&self) -> impl Iterator<Item = Burst<'_>> {
        let metas = self.metas.iter().zip(&self.names).zip(self.merged).take(self.filled);
        let rooms = metas.zip(self.room.chunks(BURST)).filter(|((_, merged), _)| !merged);
        rooms.map(|(((meta, name), _), bytes)| {
            let mut from = meta.addr;
            from.set_ip(from.ip().to_canonical());
            let from = if self.is_unix { Sender::Unix(name.clone()) } else { Sender::Udp(from) };
            let to = meta.dst_ip.map(|ip| ip.to_canonical());
            let bytes = &bytes[..meta.len.min(bytes.len())];
            Burst { from, to, bytes, size: meta.stride }
        })
    }
}

impl<'a> Burst<'a> {
    /// The datagrams one by one; one that is empty is one.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let empty = self.bytes.is_empty().then_some(&[][..]);
        self.bytes.chunks(self.size.max(1)).chain(empty)
    }

    /// The first so many of them, and the others.
    #[must_use]
    pub fn split_at(self, count: usize) -> (Self, Self) {
        let len = self.size.saturating_mul(count).min(self.bytes.len());
        let (first, others) = self.bytes.split_at(len);
        (Self { bytes: first, ..self.clone() }, Self { bytes: others, ..self })
    }

    /// How many they are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.bytes.len().div_ceil(self.size.max(1)).max(1)
    }
}

/// Whether it only says that what was sent did not fit on its way: the system sends the next in pieces.
fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn port(address: &str) -> (Port, SocketAddr) {
        let socket = std::net::UdpSocket::bind(address).unwrap();
        let at = socket.local_addr().unwrap();
        (Port::bound(socket).unwrap(), at)
    }

    /// The next datagrams that come to a port, with the burst's ends.
    async fn next(port: &Port) -> (Sender, Option<IpAddr>, Vec<Vec<u8>>) {
        let mut batch = Batch::default();
        poll_fn(|cx| port.poll_recv(cx, &mut batch)).await.unwrap();
        let burst = batch.bursts().next().unwrap();
        (burst.from.clone(), burst.to, burst.datagrams().map(<[u8]>::to_vec).collect())
    }

    #[tokio::test]
    async fn what_comes_in_a_row_is_one_burst() {
        let (server, at) = port("127.0.0.1:0");
        let at = Target::Tcp(at);
        let clients = [server.connect(&at).unwrap(), server.connect(&at).unwrap()];
        let sent: [(usize, &[u8]); 6] =
            [(0, b"ab"), (0, b"cd"), (0, b"e"), (0, b"fg"), (1, b"hi"), (1, b"jk")];
        for (client, bytes) in sent {
            clients[client].pass(&at, bytes, bytes.len()).unwrap();
        }
        let (mut all, mut count, mut bursts) = (Vec::new(), 0, 0);
        while count < sent.len() {
            let mut batch = Batch::default();
            poll_fn(|cx| server.poll_recv(cx, &mut batch)).await.unwrap();
            for burst in batch.bursts() {
                bursts += 1;
                count += burst.count();
                all.extend(burst.datagrams().map(<[u8]>::to_vec));
            }
        }
        assert_eq!(all, sent.map(|(_, bytes)| bytes.to_vec()));
        assert!(bursts < sent.len(), "{bursts}");
    }

    #[tokio::test]
    async fn that_nobody_listens_is_told_who_waits() {
        let (server, _) = port("127.0.0.1:0");
        // Hears one other only, and keeps its port.
        let deaf = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        deaf.connect("127.0.0.1:9").unwrap();
        let nobody = Target::Tcp(deaf.local_addr().unwrap());
        let client = server.connect(&nobody).unwrap();
        let mut batch = Batch::default();
        let told = poll_fn(|cx| client.poll_recv(cx, &mut batch));
        let (told, sent) = tokio::join!(told, async { client.pass(&nobody, b"ping", 4) });
        assert_eq!(sent.unwrap(), 1);
        assert_eq!(told.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn clients_of_both_versions_are_answered_by_one_socket() {
        let Ok(socket) = std::net::UdpSocket::bind("[::]:0") else { return };
        let at = socket.local_addr().unwrap().port();
        let server = Port::bound(socket).unwrap();
        for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let at = Target::Tcp(SocketAddr::new(ip, at));
            let Ok(client) = server.connect(&at) else { continue };
            client.pass(&at, b"ping", 4).unwrap();
            let (from, to, _) = next(&server).await;
            assert_eq!((from.udp().map(|from| from.ip()), to), (Some(ip), Some(ip)));
            assert_eq!(server.answer(&from, to, b"pong", 4).unwrap(), 1);
            assert_eq!(next(&client).await.2[0], b"pong");
        }
    }
}
