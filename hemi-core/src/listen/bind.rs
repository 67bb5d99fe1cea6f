//! Binding sockets in this process.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{Address, Binder, Bound, Endpoint, ListenOptions};
use crate::io::{be_transparent, keep_alive, unpace};

/// Binds in this process.
#[derive(Clone, Copy, Debug)]
pub struct Here;

impl Binder for Here {
    fn bind(
        &self,
        endpoint: &Endpoint,
        cores: usize,
        options: &ListenOptions,
    ) -> io::Result<Bound> {
        match endpoint {
            Endpoint::Streams(Address::Tcp(wanted)) => {
                let bound = one_per_core(*wanted, cores, tcp)?;
                for socket in &bound.1 {
                    // Accepted connections inherit it: answers leave at once.
                    socket.set_tcp_nodelay(true)?;
                    unpace(socket, wanted.ip());
                    if !options.defer.is_zero() {
                        crate::sys::defer_accept(socket, options.defer)?;
                    }
                    keep_alive(socket, options.keep_alive)?;
                    if options.transparent {
                        be_transparent(socket, bound.0.is_ipv4())?;
                    }
                    listen(socket, options)?;
                }
                Ok(finished(bound))
            }
            Endpoint::Streams(Address::Unix(path)) => {
                let socket = to_path(path, Type::STREAM, options)?;
                listen(&socket, options)?;
                Ok(Bound { address: Address::Unix(path.clone()), sockets: vec![socket.into()] })
            }
            Endpoint::Datagrams(Address::Unix(path)) => {
                let socket = to_path(path, Type::DGRAM, options)?;
                socket.set_nonblocking(true)?;
                Ok(Bound { address: Address::Unix(path.clone()), sockets: vec![socket.into()] })
            }
            Endpoint::Streams(Address::Named(name)) | Endpoint::Datagrams(Address::Named(name)) => {
                let message = format!("the program was started with no socket named {name}");
                Err(io::Error::new(io::ErrorKind::NotFound, message))
            }
            Endpoint::Datagrams(Address::Tcp(wanted)) => {
                one_per_core(*wanted, cores, udp).map(finished)
            }
        }
    }

    /// A Unix socket's file goes with the socket.
    fn release(&self, endpoint: &Endpoint) {
        if let Endpoint::Streams(Address::Unix(path)) | Endpoint::Datagrams(Address::Unix(path)) =
            endpoint
        {
            // If it is gone already, all the better.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whether others may bind the address too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Mine,
    Shared,
}

fn one_per_core(
    wanted: SocketAddr,
    cores: usize,
    bind: fn(SocketAddr, Port) -> io::Result<Socket>,
) -> io::Result<(SocketAddr, Vec<Socket>)> {
    // With SO_REUSEPORT a second program of this user could bind the address too and take half of
    // what comes: the first bind is without it, and finds out. It chooses the port, too, if any is wanted: with it,
    // UDP may be given one that others share. Those of the other cores join it.
    let first = bind(wanted, Port::Mine)?;
    let real = first.local_addr()?.as_socket().unwrap_or(wanted);
    first.set_reuse_port(true)?;
    let others = (1..cores.max(1)).map(|_| bind(real, Port::Shared));
    Ok((real, std::iter::once(Ok(first)).chain(others).collect::<io::Result<_>>()?))
}

fn finished((address, sockets): (SocketAddr, Vec<Socket>)) -> Bound {
    let sockets = sockets.into_iter().map(OwnedFd::from).collect();
    Bound { address: Address::Tcp(address), sockets }
}

fn tcp(address: SocketAddr, port: Port) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    bind_to(address, port, socket)
}

fn udp(address: SocketAddr, port: Port) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    bind_to(address, port, socket)
}

fn bind_to(address: SocketAddr, port: Port, socket: Socket) -> io::Result<Socket> {
    if address.ip().is_unspecified() && address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_port(port == Port::Shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(socket: &Socket, options: &ListenOptions) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))
}

/// A Unix socket that is bound to a path.
fn to_path(path: &Path, kind: Type, options: &ListenOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    remove_stale(path, kind)?;
    socket.bind(&SockAddr::unix(path)?)?;
    set_mode(path, options.mode)?;
    Ok(socket)
}

/// Sets who may connect to a socket: to it alone, whatever somebody else puts in its place meanwhile.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let socket = rustix::fs::open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&socket)?.st_mode) != FileType::Socket {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let itself = format!("/proc/self/fd/{}", socket.as_raw_fd());
    std::fs::set_permissions(itself, PermissionsExt::from_mode(mode))
}

/// Takes away the socket file of a program that ended without doing so; one that still listens stays.
fn remove_stale(path: &Path, kind: Type) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Err(io::ErrorKind::AddrInUse.into()),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(e) => Err(e),
    }
}
