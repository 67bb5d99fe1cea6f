//! Connects by as few system calls as there can be: on one machine a connection is there at once.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use super::socket::{Family, Socket};
use super::{Io as _, Outbox, Via, unpace};
use crate::backend::Target;

/// How a connection to a node is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dialing<'a> {
    /// What is sent before all else, such as a header of the PROXY protocol.
    pub first: &'a [u8],
    /// The address that it comes from, which need not be one of this machine (`IP_TRANSPARENT`).
    pub from: Option<IpAddr>,
    /// See [`keep_alive`].
    pub keep_alive: Duration,
    /// The forward proxy that it goes by.
    pub via: Option<&'a Via>,
}

impl Socket {
    /// Connects to a node; the core's driver moves the bytes, as it does those of accepted connections.
    ///
    /// # Errors
    /// When it does not accept, or the address that it is to come from can't be had.
    pub async fn dial(target: &Target, how: &Dialing<'_>) -> io::Result<Self> {
        let mut socket: Self = match (target, how.via) {
            // In a box: few need the room, and all would have it.
            (_, Some(via)) => Box::pin(via.dial(target, how)).await?,
            (Target::Tcp(address), None) => Self::dial_tcp(*address, how).await?,
            (Target::Unix(path), None) => UnixStream::connect(path).await?.into(),
        };
        if !how.first.is_empty() {
            let mut out = Outbox::default();
            out.small().extend_from_slice(how.first);
            poll_fn(|cx| socket.poll_send(cx, &mut out)).await?;
        }
        Ok(socket)
    }

    async fn dial_tcp(to: SocketAddr, how: &Dialing<'_>) -> io::Result<Self> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        unpace(&socket, to.ip());
        keep_alive(&socket, how.keep_alive)?;
        if let Some(from) = how.from.filter(|from| from.is_ipv4() == to.is_ipv4()) {
            be_transparent(&socket, from.is_ipv4())?;
            bind(&socket, &SocketAddr::new(from, 0))?;
        }
        let connected = match connect(&socket, &to) {
            // On one machine it most often is there already, which is told when asked again.
            Err(Errno::INPROGRESS) => connect(&socket, &to),
            done => done,
        };
        match connected {
            Ok(()) | Err(Errno::ISCONN) => {}
            Err(Errno::INPROGRESS | Errno::ALREADY) => {
                let stream = TcpStream::from_std(socket.into())?;
                stream.ready(Interest::WRITABLE).await?;
                return match stream.take_error()? {
                    Some(e) => Err(e),
                    None => Ok(stream.into()),
                };
            }
            Err(e) => return Err(e.into()),
        }
        let mut socket = Self::fresh(socket, Family::Tcp);
        // Nobody has said anything yet.
        socket.register()?;
        Ok(socket)
    }
}

/// Has the kernel ask the other end whether it is still there when it has been silent for so long, and then three
/// times more, before the connection breaks; never if that is zero.
///
/// # Errors
/// When the system refuses.
pub(crate) fn keep_alive(socket: impl AsFd, silence: Duration) -> io::Result<()> {
    if silence.is_zero() {
        return Ok(());
    }
    let second = Duration::from_secs(1);
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, silence.max(second))?;
    sockopt::set_tcp_keepintvl(&socket, (silence / 4).max(second))?;
    Ok(sockopt::set_tcp_keepcnt(&socket, 3)?)
}

/// Lets the socket have addresses that are not of this machine, as `ip(7)` has it of `IP_TRANSPARENT`.
///
/// # Errors
/// When the process may not (`CAP_NET_ADMIN`).
pub(crate) fn be_transparent(socket: impl AsFd, v4: bool) -> io::Result<()> {
    let socket = SockRef::from(&socket);
    if v4 { socket.set_ip_transparent_v4(true) } else { socket.set_ip_transparent_v6(true) }
}
