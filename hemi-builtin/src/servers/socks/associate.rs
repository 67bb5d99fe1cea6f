//! UDP ASSOCIATE: a client's datagrams, for as long as its connection lasts.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::BytesMut;
use hemi_core::deadline::within;
use hemi_proto::socks::{Host, Reply, put_datagram_head, read_datagram};
use tokio::io::AsyncReadExt as _;
use tokio::net::UdpSocket;

use super::super::proxying::{Counters, Proxying};
use super::{Session, Unserved, Version};

/// Bytes of a datagram, at most.
const DATAGRAM: usize = 64 << 10;

/// Hosts that a client may talk to, at most.
const HOSTS: usize = 1024;

/// Passes on what the client's program sends from one port, and what comes back from where that went.
pub(super) async fn run(session: &mut Session, version: Version) -> Result<(), Unserved> {
    let own = session.socket.local_addr().map_or(Ipv4Addr::LOCALHOST.into(), |at| at.ip());
    let inner = UdpSocket::bind((own, 0)).await?;
    let v4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let v6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.ok();
    session.reply(version, Reply::Succeeded, inner.local_addr()?).await?;
    session.proxy.proxying.counters().opened.add(1);
    let mut association = Association {
        client_ip: session.peer.ip(),
        client: None,
        hosts: HashMap::new(),
        known: HashSet::new(),
        buf: vec![0; DATAGRAM],
        out: BytesMut::new(),
    };
    let (proxy, user) = (session.proxy.clone(), session.user.clone());
    let (proxying, counters) = (&proxy.proxying, proxy.proxying.counters());
    let mut control = [0; 64];
    loop {
        let event = async {
            tokio::select! {
                read = session.socket.read(&mut control) => match read {
                    Ok(1..) => Ok(Event::Nothing),
                    Ok(0) => Ok(Event::End),
                    Err(e) => Err(e),
                },
                ready = inner.readable() => ready.map(|()| Event::Inner),
                ready = v4.readable() => ready.map(|()| Event::Outer),
                ready = readable(v6.as_ref()) => ready.map(|()| Event::OuterV6),
            }
        };
        let Some(event) = within(proxying.idle(), event).await else { return Ok(()) };
        match event? {
            Event::Nothing => {}
            Event::End => return Ok(()),
            Event::Inner => {
                let Ok((len, from)) = inner.try_recv_from(&mut association.buf) else { continue };
                match association.outbound(len, from, proxying, user.as_deref()).await {
                    Some((to, data)) => {
                        let socket = if to.is_ipv4() { Some(&v4) } else { v6.as_ref() };
                        let sent = socket.map(|socket| socket.try_send_to(data, to));
                        match sent {
                            Some(Ok(sent)) => counters.received.add(sent as u64),
                            _ => counters.dropped.add(1),
                        }
                    }
                    None => counters.dropped.add(1),
                }
            }
            Event::Outer => association.inbound(&v4, &inner, counters),
            Event::OuterV6 => {
                if let Some(v6) = &v6 {
                    association.inbound(v6, &inner, counters);
                }
            }
        }
    }
}

enum Event {
    Nothing,
    End,
    Inner,
    Outer,
    OuterV6,
}

async fn readable(socket: Option<&UdpSocket>) -> io::Result<()> {
    match socket {
        Some(socket) => socket.readable().await,
        None => std::future::pending().await,
    }
}

struct Association {
    client_ip: Option<IpAddr>,
    /// Where the client sends from, once it has.
    client: Option<SocketAddr>,
    /// Whom it has sent to, each with the address that it stands for; none if it may not go there.
    hosts: HashMap<(Host, u16), Option<SocketAddr>>,
    /// The addresses of these.
    known: HashSet<SocketAddr>,
    buf: Vec<u8>,
    out: BytesMut,
}

impl Association {
    /// Where a datagram of the client is to go, and what it says.
    async fn outbound(
        &mut self,
        len: usize,
        from: SocketAddr,
        proxying: &Proxying,
        user: Option<&str>,
    ) -> Option<(SocketAddr, &[u8])> {
        let of_client = match self.client {
            Some(client) => client == from,
            None => self.client_ip.is_none_or(|ip| ip == from.ip().to_canonical()),
        };
        if !of_client {
            return None;
        }
        self.client = Some(from);
        let (host, port, data) = read_datagram(self.buf.get(..len)?)?;
        let key = (host, port);
        let to = match self.hosts.get(&key) {
            Some(known) => *known,
            None if self.hosts.len() >= HOSTS => None,
            None => {
                let found = proxying.find(&key.0, port, user).await;
                let to = found.ok().and_then(|found| found.first().copied());
                self.hosts.insert(key, to);
                self.known.extend(to);
                to
            }
        };
        Some((to?, data))
    }

    /// Passes on what has come from outside, if the client has sent there.
    fn inbound(&mut self, outer: &UdpSocket, inner: &UdpSocket, counters: &Counters) {
        let Ok((len, from)) = outer.try_recv_from(&mut self.buf) else { return };
        let Some(client) = self.client.filter(|_| self.known.contains(&from)) else {
            return counters.dropped.add(1);
        };
        self.out.clear();
        put_datagram_head(&mut self.out, from);
        self.out.extend_from_slice(&self.buf[..len]);
        match inner.try_send_to(&self.out, client) {
            Ok(_) => counters.sent.add(len as u64),
            Err(_) => counters.dropped.add(1),
        }
    }
}
