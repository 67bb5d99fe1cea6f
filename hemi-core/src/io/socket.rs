//! Stream sockets, TCP and Unix alike: the driver on epoll, and the choice between it and the one on io_uring.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

use super::Io;
use super::outbox::{Next, Outbox};
use super::pipe::Pipe;
use super::uring::{Conn, Left};
use crate::backend::Target;
use crate::sys::uring::Room;

/// Slices in one `writev`.
const SLICES: usize = 32;

/// Bytes of a file in one `sendfile`, so that one connection does not keep its core to itself.
const SENDFILE: usize = 2 << 20;

/// Bytes of slices that are sent by a ring, at most.
const COPIED: usize = 16 << 10;

/// Bytes of one small read, at most.
const SMALL: usize = 4 << 10;

/// With room for more than this many bytes, reads go straight to the buffer.
pub(crate) const LARGE: usize = 32 << 10;

/// System calls that send in a row, before others of the core get their turn.
const TURN: usize = 8;

/// A connected stream socket.
///
/// A fresh one is used without epoll or io_uring until it first has to wait: a client whose request came
/// with its connection, and who closes after the answer, costs no registration.
#[derive(Debug)]
pub struct Socket {
    driver: Driver,
    /// What another driver received and nobody took, if this one is not the first.
    early: Option<Box<BytesMut>>,
    /// A fresh one had no more to receive.
    dry: bool,
    end: End,
}

/// How far a socket is with its own end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// It goes with what is sent next.
    Near,
    /// It has gone, or goes with what a ring sends.
    Told,
}

#[derive(Debug)]
enum Driver {
    /// Not blocking, and not yet known to epoll.
    Fresh(OwnedFd, Family),
    Tcp(TcpStream),
    Unix(UnixStream),
    Ring(Conn),
    /// On the way from a ring to epoll.
    Leaving(oneshot::Receiver<Left>, Family),
    /// Was taken apart after an error.
    Gone,
}

/// Which kind of socket a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Tcp,
    Unix,
}

impl Socket {
    /// Takes a socket that was accepted as not blocking.
    pub(crate) fn fresh(fd: OwnedFd, family: Family) -> Self {
        Driver::Fresh(fd, family).into()
    }

    /// Connects to a node.
    ///
    /// # Errors
    /// When it does not accept.
    pub async fn connect(target: &Target) -> io::Result<Self> {
        let driver = match target {
            Target::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Driver::Tcp(stream)
            }
            Target::Unix(path) => Driver::Unix(UnixStream::connect(path).await?),
        };
        Ok(driver.into())
    }

    /// Whether nothing has come since all was received, not even the end: asked of an idle connection
    /// before it is used again. Costs no system call most often.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        match &self.driver {
            // After a content that was taken to the byte, it is not known whether more has come.
            Driver::Tcp(s) => s.poll_read_ready(&mut cx).is_pending() || has_nothing(s.as_fd()),
            Driver::Unix(s) => s.poll_read_ready(&mut cx).is_pending() || has_nothing(s.as_fd()),
            Driver::Ring(conn) => conn.is_quiet().unwrap_or_else(|| has_nothing(conn.fd())),
            Driver::Fresh(fd, _) => self.early.is_none() && has_nothing(fd.as_fd()),
            Driver::Leaving(..) | Driver::Gone => false,
        }
    }

    /// Has what comes next be known of at once, though nobody receives yet: then [`Socket::is_quiet`] costs
    /// no system call after long contents, either.
    pub fn expect(&self) {
        if let Driver::Ring(conn) = &self.driver {
            conn.expect();
        }
    }

    /// Makes the socket known to the ring of the core, if it has one, or else to epoll.
    pub(super) fn register(&mut self) -> io::Result<()> {
        self.driver = match std::mem::replace(&mut self.driver, Driver::Gone) {
            Driver::Fresh(fd, family) => match Conn::join(fd, family) {
                Ok(conn) => Driver::Ring(conn),
                Err(fd) => watched(fd, family)?,
            },
            other => other,
        };
        Ok(())
    }

    /// Has the socket, wherever it was, be known to epoll.
    pub(super) fn poll_watched(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.driver = match std::mem::replace(&mut self.driver, Driver::Gone) {
                Driver::Fresh(fd, family) => watched(fd, family)?,
                Driver::Ring(conn) => {
                    let family = conn.family;
                    Driver::Leaving(conn.leave(), family)
                }
                Driver::Leaving(mut left, family) => match Pin::new(&mut left).poll(cx) {
                    Poll::Ready(Ok(left)) => {
                        self.early = (!left.early.is_empty()).then(|| Box::new(left.early));
                        Driver::Fresh(left.fd, family)
                    }
                    Poll::Ready(Err(_)) => Driver::Gone,
                    Poll::Pending => {
                        self.driver = Driver::Leaving(left, family);
                        return Poll::Pending;
                    }
                },
                Driver::Gone => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
                known => {
                    self.driver = known;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Has the socket be used by this thread: one that has left its ring's thread leaves the ring.
    fn poll_here(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.driver {
            Driver::Ring(conn) if !conn.is_home() => self.poll_watched(cx),
            Driver::Leaving(..) => self.poll_watched(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Gives what another driver has left; `None` if that was nothing.
    pub(super) fn take_early(&mut self, most: usize) -> Option<BytesMut> {
        let early = self.early.as_mut()?;
        let taken = early.split_to(most.min(early.len()));
        if early.is_empty() {
            self.early = None;
        }
        Some(taken)
    }

    /// The address that it has on this machine; none of a Unix socket.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        let address = rustix::net::getsockname(self.fd().ok()?).ok()?;
        let mut address = SocketAddr::try_from(address).ok()?;
        address.set_ip(address.ip().to_canonical());
        Some(address)
    }

    /// Where the client wanted to connect to before a rule of the firewall sent it here (`REDIRECT`); none if
    /// there is no such rule.
    #[must_use]
    pub fn original_dst(&self) -> Option<SocketAddr> {
        use rustix::net::sockopt::{ip_original_dst, ipv6_original_dst};
        let fd = self.fd().ok()?;
        match self.local_addr()? {
            SocketAddr::V4(_) => ip_original_dst(fd).ok().map(SocketAddr::V4),
            SocketAddr::V6(_) => ipv6_original_dst(fd).ok().map(SocketAddr::V6),
        }
    }

    /// Has the socket be one that splices; false if it has received bytes that come before.
    pub(super) fn poll_spliceable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        ready!(self.poll_watched(cx))?;
        Poll::Ready(Ok(self.early.is_none()))
    }

    /// Moves up to `most` bytes of what was received into an empty pipe; returns how much, 0 at the end. See `poll_spliceable`.
    pub(super) fn poll_splice_into(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut call = || Ok(pipe.fill(self.fd()?, most)?);
            let received = match &self.driver {
                Driver::Tcp(s) => s.try_io(Interest::READABLE, call),
                Driver::Unix(s) => s.try_io(Interest::READABLE, call),
                _ => call(),
            };
            match received {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(self.poll_readable(cx))?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Sends from a pipe once.
    pub(super) fn poll_splice_from(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.try_send(|fd| pipe.empty(fd)) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(self.poll_writable(cx))?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// Has what was received be received again, before all else.
    pub fn unread(&mut self, mut bytes: BytesMut) {
        if let Some(early) = self.early.take() {
            bytes.extend_from_slice(&early);
        }
        // Nothing would be taken for the end.
        self.early = (!bytes.is_empty()).then(|| Box::new(bytes));
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.driver {
            Driver::Fresh(fd, _) => Ok(fd.as_fd()),
            Driver::Tcp(s) => Ok(s.as_fd()),
            Driver::Unix(s) => Ok(s.as_fd()),
            Driver::Ring(conn) => Ok(conn.fd()),
            Driver::Leaving(..) | Driver::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// A system call took all that had come, or filled all the room there was: epoll is asked before
    /// the next one, which would find nothing to do.
    fn exhausted(&self, interest: Interest) {
        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = match &self.driver {
            Driver::Tcp(s) => s.try_io(interest, nothing),
            Driver::Unix(s) => s.try_io(interest, nothing),
            _ => Ok(()),
        };
    }

    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &self.driver {
                Driver::Fresh(..) => self.register()?,
                Driver::Tcp(s) => return s.poll_read_ready(cx),
                Driver::Unix(s) => return s.poll_read_ready(cx),
                // Which waits by receiving.
                Driver::Ring(_) => return Poll::Ready(Ok(())),
                Driver::Leaving(..) | Driver::Gone => {
                    return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
                }
            }
        }
    }

    pub(super) fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &self.driver {
                Driver::Fresh(..) => self.register()?,
                Driver::Tcp(s) => return s.poll_write_ready(cx),
                Driver::Unix(s) => return s.poll_write_ready(cx),
                Driver::Ring(conn) => return conn.poll_writable(cx),
                Driver::Leaving(..) | Driver::Gone => {
                    return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
                }
            }
        }
    }

    /// Runs one system call that sends, after which epoll is asked again if it would have blocked.
    pub(super) fn try_send<R>(
        &self,
        call: impl FnOnce(BorrowedFd<'_>) -> Result<R, Errno>,
    ) -> io::Result<R> {
        let call = || Ok(call(self.fd()?)?);
        match &self.driver {
            Driver::Tcp(s) => s.try_io(Interest::WRITABLE, call),
            Driver::Unix(s) => s.try_io(Interest::WRITABLE, call),
            _ => call(),
        }
    }

    /// Waits until nothing that was sent before is still to go, so that system calls may send.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_here(cx))?;
        match &self.driver {
            Driver::Ring(conn) => conn.poll_sent(cx).map_ok(drop),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Sends once; false if not all of it was taken.
    fn send_next(&self, out: &mut Outbox) -> io::Result<bool> {
        let mut flags = SendFlags::NOSIGNAL;
        // The end that follows goes with it.
        flags.set(SendFlags::MORE, self.end == End::Near && out.is_small());
        let (sent, offered) = match out.next() {
            Next::Nothing => return Ok(true),
            Next::Bytes(bytes) => {
                (self.try_send(|fd| rustix::net::send(fd, bytes, flags))?, bytes.len())
            }
            Next::Slices => self.send_slices(out)?,
            Next::File(file, range) => {
                let most =
                    usize::try_from(range.end - range.start).unwrap_or(SENDFILE).min(SENDFILE);
                let mut at = range.start;
                match self.try_send(|fd| rustix::fs::sendfile(fd, file, Some(&mut at), most))? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    // Less was sent because there was no room, or because the file has become shorter:
                    // the next call will tell.
                    sent => (sent, sent),
                }
            }
        };
        out.advance(sent as u64);
        Ok(sent == offered)
    }

    /// All was sent; the end goes at once, if it was to go with it.
    fn sent_all(&mut self) -> io::Result<()> {
        if self.end == End::Near { self.shutdown() } else { Ok(()) }
    }

    /// Whether the peer has ended, and all was received, if that is known without a system call.
    pub(super) fn has_ended(&self) -> bool {
        matches!(&self.driver, Driver::Ring(conn) if conn.has_ended())
    }

    /// Sends from these slices; returns how much, which is more than nothing.
    pub(crate) fn poll_send_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_here(cx))?;
        let offered = slices.iter().map(|slice| slice.len()).sum();
        if let Driver::Ring(conn) = &self.driver {
            let slow = ready!(conn.poll_sent(cx))?;
            if !slow && offered <= COPIED {
                let mut out = Outbox::default();
                slices.iter().for_each(|slice| out.small().extend_from_slice(slice));
                return conn.poll_send(cx, &mut out, Room::AsItIs).map_ok(|_| offered);
            }
        }
        loop {
            let sent = self.try_send(|fd| match slices {
                [one] => rustix::net::send(fd, one, SendFlags::NOSIGNAL),
                several => rustix::io::writev(fd, several),
            });
            match sent {
                Ok(sent) => {
                    if sent < offered {
                        self.exhausted(Interest::WRITABLE);
                    }
                    return Poll::Ready(Ok(sent));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(self.poll_writable(cx))?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// Whether a ring is sending, and would send a last word after that.
    pub(crate) fn is_sending(&self) -> bool {
        matches!(&self.driver, Driver::Ring(conn) if conn.is_sending())
    }

    /// Has the ring send a last word after what it is sending.
    pub(crate) fn send_last(&self, word: BytesMut) {
        if let Driver::Ring(conn) = &self.driver {
            conn.send_last(word);
        }
    }

    #[inline(never)]
    fn send_slices(&self, out: &Outbox) -> io::Result<(usize, usize)> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = out.slices(&mut slices);
        let offered = slices[..count].iter().map(|slice| slice.len()).sum();
        Ok((self.try_send(|fd| rustix::io::writev(fd, &slices[..count]))?, offered))
    }
}

impl Io for Socket {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        ready!(self.poll_here(cx))?;
        if let Some(early) = self.take_early(room(buf)) {
            buf.extend_from_slice(&early);
            return Poll::Ready(Ok(early.len()));
        }
        loop {
            let received = match &mut self.driver {
                Driver::Fresh(..) if self.dry => Err(io::ErrorKind::WouldBlock.into()),
                Driver::Fresh(fd, _) => recv_small(fd.as_fd(), buf),
                // Much is expected: no detour by the stack.
                Driver::Tcp(s) if room(buf) > LARGE => {
                    return tokio_util::io::poll_read_buf(Pin::new(s), cx, buf);
                }
                Driver::Unix(s) if room(buf) > LARGE => {
                    return tokio_util::io::poll_read_buf(Pin::new(s), cx, buf);
                }
                Driver::Tcp(s) => s.try_io(Interest::READABLE, || recv_small(s.as_fd(), buf)),
                Driver::Unix(s) => s.try_io(Interest::READABLE, || recv_small(s.as_fd(), buf)),
                Driver::Ring(conn) => return conn.poll_recv(cx, buf),
                Driver::Leaving(..) | Driver::Gone => {
                    return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
                }
            };
            match received {
                Ok((got, all)) => {
                    if all {
                        self.exhausted(Interest::READABLE);
                        self.dry = got > 0;
                    }
                    return Poll::Ready(Ok(got));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(self.poll_readable(cx))?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<io::Result<()>> {
        ready!(self.poll_here(cx))?;
        if let Driver::Ring(conn) = &mut self.driver {
            let is_last = self.end == End::Near && !out.is_empty();
            let room = if is_last { Room::Last } else { Room::AsItIs };
            if ready!(conn.poll_send(cx, out, room))? {
                if is_last {
                    self.end = End::Told;
                }
                return Poll::Ready(Ok(()));
            }
        }
        for _ in 0..TURN {
            match self.send_next(out) {
                Ok(_) if out.is_empty() => return Poll::Ready(self.sent_all()),
                Ok(true) => {}
                Ok(false) => {
                    self.exhausted(Interest::WRITABLE);
                    ready!(self.poll_writable(cx))?;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(self.poll_writable(cx))?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        // The client takes it as fast as we give: others of the core get their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn last(&mut self) {
        if self.end == End::Open {
            self.end = End::Near;
        }
    }

    fn shutdown(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.end, End::Told) == End::Told {
            return Ok(());
        }
        if let Driver::Ring(conn) = &mut self.driver {
            return conn.shutdown();
        }
        Ok(rustix::net::shutdown(self.fd()?, Shutdown::Write)?)
    }

    fn reset(&mut self) {
        if let Driver::Ring(conn) = &mut self.driver {
            conn.reset();
        }
        if let Ok(fd) = self.fd() {
            // If it is refused, the connection is gone already.
            let _ = rustix::net::sockopt::set_socket_linger(fd, Some(Duration::ZERO));
        }
    }

    fn socket(&mut self) -> Option<&mut Socket> {
        Some(self)
    }
}

impl From<Driver> for Socket {
    fn from(driver: Driver) -> Self {
        Self { driver, early: None, dry: false, end: End::Open }
    }
}

/// A connection that was made, not accepted.
impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Driver::Tcp(stream).into()
    }
}

/// The same.
impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Driver::Unix(stream).into()
    }
}

pub(crate) fn room(buf: &BytesMut) -> usize {
    buf.capacity() - buf.len()
}

/// Whether there is nothing to receive, not even the end.
fn has_nothing(fd: BorrowedFd<'_>) -> bool {
    let mut byte = [0];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    matches!(rustix::net::recv(fd, &mut byte, flags), Err(Errno::AGAIN))
}

/// Has epoll report when a socket is ready.
fn watched(fd: OwnedFd, family: Family) -> io::Result<Driver> {
    Ok(match family {
        Family::Tcp => Driver::Tcp(TcpStream::from_std(fd.into())?),
        Family::Unix => Driver::Unix(UnixStream::from_std(fd.into())?),
    })
}

/// Reads once, by way of the stack: requests are small. Also tells whether that was all there was.
pub(super) fn recv_small(fd: BorrowedFd<'_>, buf: &mut BytesMut) -> io::Result<(usize, bool)> {
    let mut stack = [const { MaybeUninit::uninit() }; SMALL];
    let most = SMALL.min(room(buf));
    let (got, _) = rustix::net::recv(fd, &mut stack[..most], RecvFlags::empty())?.0;
    buf.extend_from_slice(got);
    Ok((got.len(), got.len() < most))
}

/// For code that takes over a connection, as after an upgrade, and maybe takes it to another thread: by epoll.
impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_watched(cx))?;
        if let Some(early) = self.take_early(buf.remaining()) {
            buf.put_slice(&early);
            return Poll::Ready(Ok(()));
        }
        match &mut self.driver {
            Driver::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Driver::Unix(s) => Pin::new(s).poll_read(cx, buf),
            _ => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_watched(cx))?;
        loop {
            ready!(self.poll_writable(cx))?;
            match self.try_send(|fd| rustix::net::send(fd, bytes, SendFlags::NOSIGNAL)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_watched(cx))?;
        Poll::Ready(self.shutdown())
    }
}
