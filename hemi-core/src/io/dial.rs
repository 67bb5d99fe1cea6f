//! Connects by as few system calls as there can be: on one machine a connection is there at once.

use std::io;
use std::net::SocketAddr;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use super::socket::{Family, Socket};
use crate::backend::Target;

impl Socket {
    /// Connects to a node; the core's driver moves the bytes, as it does those of accepted connections.
    ///
    /// # Errors
    /// When it does not accept.
    pub async fn dial(target: &Target) -> io::Result<Self> {
        match target {
            Target::Tcp(address) => Self::dial_from(*address, None).await,
            Target::Unix(path) => Ok(UnixStream::connect(path).await?.into()),
        }
    }

    /// The same by TCP from this address, if one is given.
    ///
    /// # Errors
    /// The same; and when the address can't be had.
    pub async fn dial_from(to: SocketAddr, from: Option<SocketAddr>) -> io::Result<Self> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        if let Some(from) = from {
            bind(&socket, &from)?;
        }
        match connect(&socket, &to) {
            Ok(()) => {}
            Err(Errno::INPROGRESS) => {
                let mut asked = [PollFd::new(&socket, PollFlags::OUT)];
                let ready = poll(&mut asked, Some(&Timespec::default()))? > 0;
                let events = asked[0].revents();
                if !ready {
                    let stream = TcpStream::from_std(socket.into())?;
                    stream.ready(Interest::WRITABLE).await?;
                    return match stream.take_error()? {
                        Some(e) => Err(e),
                        None => Ok(stream.into()),
                    };
                }
                if events.intersects(PollFlags::ERR | PollFlags::HUP) {
                    sockopt::socket_error(&socket)??;
                }
            }
            Err(e) => return Err(e.into()),
        }
        let mut socket = Self::fresh(socket, Family::Tcp);
        // Nobody has said anything yet.
        socket.register()?;
        Ok(socket)
    }
}
