//! Sockets that were bound before the program began, by who started it.

use std::io;

use socket2::{Socket, Type};

use super::{Address, Binder, Bound, Endpoint, Here, ListenOptions};
use crate::io::unpace;
use crate::sys;

/// Gives the sockets that the process was started with to who asks for their addresses, and binds all others.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Group>);

/// One of them, or several that share a port.
#[derive(Debug)]
struct Group {
    endpoint: Endpoint,
    bound: Bound,
    /// By which a config may name it.
    name: Option<String>,
}

impl Inherited {
    /// The sockets that this process has got as its descriptors from 3 on, so many of them, with their names
    /// in this order if they have some (sd_listen_fds_with_names(3)). They can be had once, before anything
    /// else is opened: only who knows that there are so many may ask.
    ///
    /// # Errors
    /// When there are fewer, or one is no socket that listens or receives datagrams at an address or a path.
    pub fn take(count: usize, names: &[&str]) -> io::Result<Self> {
        let mut all: Vec<Group> = Vec::new();
        for (at, socket) in sys::inherited::take(count)?.into_iter().enumerate() {
            let (endpoint, address, socket) = prepared(socket.into())?;
            match all.iter_mut().find(|group| group.endpoint == endpoint) {
                Some(group) => group.bound.sockets.push(socket.into()),
                None => {
                    let name = names.get(at).map(|name| (*name).to_owned());
                    let bound = Bound { address, sockets: vec![socket.into()] };
                    all.push(Group { endpoint, bound, name });
                }
            }
        }
        Ok(Self(all))
    }

    /// What they are for.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.iter().map(|group| &group.endpoint)
    }

    /// Those for an endpoint, which may be a name.
    fn find(&self, endpoint: &Endpoint) -> io::Result<Option<&Bound>> {
        let Endpoint::Streams(Address::Named(name)) = endpoint else {
            let group = self.0.iter().find(|group| group.endpoint == *endpoint);
            return Ok(group.map(|group| &group.bound));
        };
        let mut named = self.0.iter().filter(|group| {
            matches!(group.endpoint, Endpoint::Streams(_)) && group.name.as_ref() == Some(name)
        });
        match (named.next(), named.next()) {
            (Some(_), Some(_)) => {
                let message = format!("several sockets are named {name}: give each its own name");
                Err(io::Error::new(io::ErrorKind::InvalidInput, message))
            }
            (first, _) => Ok(first.map(|group| &group.bound)),
        }
    }
}

impl Binder for Inherited {
    fn bind(
        &self,
        endpoint: &Endpoint,
        cores: usize,
        options: &ListenOptions,
    ) -> io::Result<Bound> {
        match self.find(endpoint)? {
            Some(bound) => bound.share(),
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
            unpace(&socket, ip.ip());
            (Endpoint::Streams(Address::Tcp(ip)), Address::Tcp(ip))
        }
        (_, Some(path)) if listens => {
            let address = Address::Unix(path.to_owned());
            (Endpoint::Streams(address.clone()), address)
        }
        (Some(ip), _) if socket.r#type()? == Type::DGRAM => {
            (Endpoint::Datagrams(Address::Tcp(ip)), Address::Tcp(ip))
        }
        (_, Some(path)) if socket.r#type()? == Type::DGRAM => {
            let address = Address::Unix(path.to_owned());
            (Endpoint::Datagrams(address.clone()), address)
        }
        _ => {
            let message = "no socket that listens, or receives datagrams, at an address or a path";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
    };
    socket.set_nonblocking(true)?;
    Ok((endpoint, address, socket))
}
