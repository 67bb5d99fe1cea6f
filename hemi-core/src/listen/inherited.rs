//! Sockets that were bound before the program began, by who started it.

use std::io;

use socket2::{Socket, Type};

use super::{Address, Binder, Bound, Endpoint, Here, ListenOptions};
use crate::sys;

/// Gives the sockets that the process was started with to who asks for their addresses, and binds all others.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(Endpoint, Bound)>);

impl Inherited {
    /// The sockets that this process has got as its descriptors from 3 on, so many of them
    /// (sd_listen_fds(3)). They can be had once, before anything else is opened: only who knows that there
    /// are so many may ask.
    ///
    /// # Errors
    /// When there are fewer, or one is no socket that listens or receives datagrams at an address or a path.
    pub fn take(count: usize) -> io::Result<Self> {
        let mut all: Vec<(Endpoint, Bound)> = Vec::new();
        for socket in sys::inherited::take(count)? {
            let (endpoint, address, socket) = prepared(socket.into())?;
            match all.iter_mut().find(|(known, _)| *known == endpoint) {
                // One of several that share a port.
                Some((_, bound)) => bound.sockets.push(socket.into()),
                None => all.push((endpoint, Bound { address, sockets: vec![socket.into()] })),
            }
        }
        Ok(Self(all))
    }

    /// What they are for.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.iter().map(|(endpoint, _)| endpoint)
    }
}

impl Binder for Inherited {
    fn bind(
        &self,
        endpoint: &Endpoint,
        cores: usize,
        options: &ListenOptions,
    ) -> io::Result<Bound> {
        match self.0.iter().find(|(inherited, _)| inherited == endpoint) {
            Some((_, bound)) => bound.share(),
            None => Here.bind(endpoint, cores, options),
        }
    }

    /// Those that were inherited stay.
    fn release(&self, endpoint: &Endpoint) {
        if self.endpoints().all(|inherited| inherited != endpoint) {
            Here.release(endpoint);
        }
    }
}

/// Made ready like one that is bound here.
fn prepared(socket: Socket) -> io::Result<(Endpoint, Address, Socket)> {
    let at = socket.local_addr()?;
    let (ip, path) = (at.as_socket(), at.as_pathname());
    let listens = socket.r#type()? == Type::STREAM && socket.is_listener()?;
    let (endpoint, address) = match (ip, path) {
        (Some(ip), _) if listens => {
            socket.set_tcp_nodelay(true)?;
            (Endpoint::Streams(Address::Tcp(ip)), Address::Tcp(ip))
        }
        (_, Some(path)) if listens => {
            let address = Address::Unix(path.to_owned());
            (Endpoint::Streams(address.clone()), address)
        }
        (Some(ip), _) if socket.r#type()? == Type::DGRAM => {
            (Endpoint::Datagrams(ip), Address::Tcp(ip))
        }
        _ => {
            let message = "no socket that listens, or receives datagrams, at an address or a path";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
    };
    socket.set_nonblocking(true)?;
    Ok((endpoint, address, socket))
}
