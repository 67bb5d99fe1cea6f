//! Datagrams between processes that share UDP sockets: when one has taken the place of another it alone reads
//! from them, and passes on what belongs to connections of the one that drains.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;

use quinn::udp::{EcnCodepoint, RecvMeta};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tracing::warn;

use super::steered::Forwarded;
use crate::listen::Listeners;
use crate::sys::watch_readable;

/// What a process knows of those that share its UDP sockets.
pub struct Kin {
    /// Its own number, which no other has: connection ids name it.
    pub process: u32,
    /// By which all of them prove the same things to clients: so a client hears at once that its connection
    /// is gone when a process has died.
    pub secret: [u8; 32],
    /// Where it gets what others have read for it: a Unix socket that keeps messages apart.
    pub inbox: Option<OwnedFd>,
    /// The numbers of the others, and the other ends of their inboxes.
    pub others: Vec<(u32, OwnedFd)>,
}

impl Kin {
    /// A process without others.
    pub(crate) fn none() -> io::Result<Self> {
        let (mut process, mut secret) = ([0; 4], [0; 32]);
        let filled = aws_lc_rs::rand::fill(&mut process).and(aws_lc_rs::rand::fill(&mut secret));
        filled.map_err(|_| io::Error::other("no randomness"))?;
        let process = u32::from_be_bytes(process);
        Ok(Self { process, secret, inbox: None, others: Vec::new() })
    }

    /// Whether others may read what is for this process.
    pub(super) fn hears(&self) -> bool {
        self.inbox.is_some()
    }

    /// Whether it can reach this process.
    pub(super) fn knows(&self, process: u32) -> bool {
        self.others.iter().any(|(other, _)| *other == process)
    }

    /// Passes on a datagram that came to this address for another process; whether there is such a one.
    pub(super) fn pass(
        &self,
        process: u32,
        to: SocketAddr,
        datagram: &[u8],
        meta: &RecvMeta,
    ) -> bool {
        let Some((_, outbox)) = self.others.iter().find(|(other, _)| *other == process) else {
            return false;
        };
        let message = encode(to, datagram, meta);
        match send(outbox, &message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            // Without room it is lost, as on any network.
            Ok(_) | Err(rustix::io::Errno::AGAIN) => true,
            // It has ended.
            Err(_) => false,
        }
    }

    /// Takes what others have read for this process, for as long as it lives.
    pub(crate) async fn listen(inbox: OwnedFd, listeners: &Listeners) {
        if let Err(e) = hear(inbox, listeners).await {
            warn!("what other processes read for this one is lost: {e}");
        }
    }
}

impl fmt::Debug for Kin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kin").field("process", &self.process).finish_non_exhaustive()
    }
}

async fn hear(inbox: OwnedFd, listeners: &Listeners) -> io::Result<()> {
    let inbox = watch_readable(inbox)?;
    let mut buf = vec![0; HEAD + usize::from(u16::MAX)];
    loop {
        let mut ready = inbox.readable().await?;
        match recv(inbox.get_ref(), &mut buf, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Ok(()),
            Ok((length, _)) => {
                if let Some((to, forwarded)) = decode(&buf[..length])
                    && let Some(endpoints) = listeners.quic_at(to)
                {
                    endpoints.routes.deliver(forwarded);
                }
            }
            Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Says how messages look: processes may be of different versions.
const FORMAT: u8 = 1;

/// Bytes before a datagram: the format, ECN, where it came to, from where, and to which address of the machine.
const HEAD: usize = 2 + 2 * SOCKET + 17;

/// Bytes of an address with its port: all are written as those of IPv6.
const SOCKET: usize = 16 + 2 + 4 + 1;

fn encode(to: SocketAddr, datagram: &[u8], meta: &RecvMeta) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEAD + datagram.len());
    message.extend([FORMAT, meta.ecn.map_or(0, |ecn| ecn as u8)]);
    for address in [to, meta.addr] {
        let (ip, scope) = match address {
            SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
        };
        message.extend(ip.octets());
        message.extend(address.port().to_be_bytes());
        message.extend(scope.to_be_bytes());
        message.push(u8::from(address.is_ipv4()));
    }
    let (kind, ip) = match meta.dst_ip {
        None => (0, Ipv6Addr::UNSPECIFIED),
        Some(IpAddr::V4(v4)) => (1, v4.to_ipv6_mapped()),
        Some(IpAddr::V6(v6)) => (2, v6),
    };
    message.push(kind);
    message.extend(ip.octets());
    message.extend(datagram);
    message
}

fn decode(message: &[u8]) -> Option<(SocketAddr, Forwarded)> {
    let (head, datagram) = message.split_at_checked(HEAD)?;
    let ([FORMAT, ecn], head) = head.split_first_chunk()? else { return None };
    let (to, head) = head.split_first_chunk()?;
    let (from, head) = head.split_first_chunk()?;
    let (kind, ip) = head.split_first()?;
    let ip = Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?);
    let dst_ip = match kind {
        0 => None,
        1 => Some(IpAddr::V4(ip.to_ipv4_mapped()?)),
        _ => Some(IpAddr::V6(ip)),
    };
    let (ecn, length) = (EcnCodepoint::from_bits(*ecn), datagram.len());
    let meta = RecvMeta { addr: address(from)?, len: length, stride: length, ecn, dst_ip };
    Some((address(to)?, Forwarded { bytes: datagram.into(), meta }))
}

fn address(bytes: &[u8; SOCKET]) -> Option<SocketAddr> {
    let (ip, rest) = bytes.split_first_chunk::<16>()?;
    let (port, rest) = rest.split_first_chunk()?;
    let (scope, is_v4) = rest.split_first_chunk()?;
    let (ip, port) = (Ipv6Addr::from(*ip), u16::from_be_bytes(*port));
    Some(match is_v4 {
        [1] => (ip.to_ipv4_mapped()?, port).into(),
        _ => SocketAddrV6::new(ip, port, 0, u32::from_be_bytes(*scope)).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_arrives_with_all_that_is_known_of_it() {
        let metas = [
            ("192.0.2.1:443", None, Some("192.0.2.9".parse().unwrap())),
            ("[fe80::1%3]:5", Some(EcnCodepoint::Ce), Some("2001:db8::1".parse().unwrap())),
            ("[::ffff:192.0.2.1]:6", Some(EcnCodepoint::Ect0), None),
        ];
        for (from, ecn, dst_ip) in metas {
            let (addr, to) = (from.parse().unwrap(), "0.0.0.0:443".parse().unwrap());
            let meta = RecvMeta { addr, len: 5, stride: 5, ecn, dst_ip };
            let message = encode(to, b"bytes", &meta);
            let (at, Forwarded { bytes, meta: got }) = decode(&message).unwrap();
            assert_eq!((at, &*bytes), (to, &b"bytes"[..]));
            assert_eq!((got.addr, got.ecn, got.dst_ip), (addr, ecn, dst_ip));
            assert_eq!((got.len, got.stride), (5, 5));
            assert!(decode(&message[..HEAD - 1]).is_none());
            assert!(decode(&[&[2], &message[1..]].concat()).is_none());
        }
    }
}
