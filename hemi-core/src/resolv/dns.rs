//! Asks servers of the DNS: over UDP, and over TCP what is too long for that.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hemi_proto::dns::{Answer, DATAGRAM, DnsError, Question, RecordType};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::config::ConfigType;

/// Where programs find which servers to ask.
pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";

const PORT: u16 = 53;

/// Servers that are asked, one after the other, until one answers, at most.
const SERVERS: usize = 3;

/// How often all of them are.
const ROUNDS: u32 = 2;

/// Which servers are asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum DnsServer {
    /// One.
    At(SocketAddr),
    /// Those that a file like `/etc/resolv.conf` names, whenever something is asked.
    Of(PathBuf),
}

/// Text that names no server of the DNS.
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{0}\" is no server of the DNS: write an address like \"10.0.0.53\" or \"[::1]:5353\", or the path of a file like resolv.conf"
)]
pub struct BadDnsServer(String);

impl TryFrom<String> for DnsServer {
    type Error = BadDnsServer;

    fn try_from(text: String) -> Result<Self, BadDnsServer> {
        if text.starts_with('/') {
            return Ok(Self::Of(text.into()));
        }
        let address = match text.parse::<IpAddr>() {
            Ok(ip) => Some(SocketAddr::new(ip, PORT)),
            Err(_) => text.parse().ok(),
        };
        address.map(Self::At).ok_or(BadDnsServer(text))
    }
}

impl ConfigType for DnsServer {
    fn kind() -> Cow<'static, str> {
        "DNS server".into()
    }

    fn show(&self) -> String {
        match self {
            Self::At(address) => address.to_string().show(),
            Self::Of(path) => path.display().to_string().show(),
        }
    }
}

/// Asks the servers, one after the other, until one answers; all within this time.
pub(super) async fn ask(
    servers: &[DnsServer],
    name: &str,
    kind: RecordType,
    limit: Duration,
) -> io::Result<Answer> {
    let addresses = addresses(servers)?;
    let each = limit / (ROUNDS * addresses.len().max(1) as u32);
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "there is no DNS server to ask");
    for address in (0..ROUNDS).flat_map(|_| &addresses) {
        match timeout(each, ask_one(*address, name, kind)).await {
            Ok(Ok(answer)) => return Ok(answer),
            // Others know nothing else.
            Ok(Err(e))
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) =>
            {
                return Err(e);
            }
            Ok(Err(e)) => failed = e,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

async fn ask_one(server: SocketAddr, name: &str, kind: RecordType) -> io::Result<Answer> {
    let mut id = [0; 2];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| io::Error::other("there is no randomness"))?;
    let question = Question::new(u16::from_be_bytes(id), name, kind).map_err(error)?;
    let message = question.encode();
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // On a port that nobody can guess either, and from that server only.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&message).await?;
    let mut datagram = vec![0; usize::from(DATAGRAM)];
    let answer = loop {
        let len = socket.recv(&mut datagram).await?;
        match question.read(datagram.get(..len).unwrap_or_default()) {
            // Somebody else has sent it, or it comes late.
            Err(DnsError::Malformed) => {}
            answer => break answer.map_err(error)?,
        }
    };
    if !answer.truncated {
        return Ok(answer);
    }
    let mut stream = TcpStream::connect(server).await?;
    // A question has fewer than 512 bytes.
    let mut framed = (message.len() as u16).to_be_bytes().to_vec();
    framed.extend(message);
    stream.write_all(&framed).await?;
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    question.read(&message).map_err(error)
}

fn error(e: DnsError) -> io::Error {
    let kind = match e {
        DnsError::Name => io::ErrorKind::InvalidInput,
        DnsError::NoSuchName => io::ErrorKind::NotFound,
        DnsError::Malformed | DnsError::Refused(_) => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, e)
}

/// The first of them.
fn addresses(servers: &[DnsServer]) -> io::Result<Vec<SocketAddr>> {
    let mut all = Vec::new();
    for server in servers {
        match server {
            DnsServer::At(address) => all.push(*address),
            DnsServer::Of(path) => all.extend(named_in(path)?),
        }
    }
    all.truncate(SERVERS);
    Ok(all)
}

/// Those that a file like `/etc/resolv.conf` names; that of this machine, if there is none.
fn named_in(path: &Path) -> io::Result<Vec<SocketAddr>> {
    let text = std::fs::read_to_string(path)?;
    let named: Vec<_> = text.lines().filter_map(named).collect();
    match named.is_empty() {
        true => Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))]),
        false => Ok(named),
    }
}

fn named(line: &str) -> Option<SocketAddr> {
    let mut words = line.split_ascii_whitespace();
    let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
    // One of a link has its name behind.
    let (address, scope) = address.split_once('%').unwrap_or((address, ""));
    match address.parse().ok()? {
        IpAddr::V6(ip) if !scope.is_empty() => {
            let scope = scope.parse().ok()?;
            Some(std::net::SocketAddrV6::new(ip, PORT, 0, scope).into())
        }
        ip => Some(SocketAddr::new(ip, PORT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_by_address_and_by_file() {
        let server = |text: &str| DnsServer::try_from(text.to_owned());
        let at = |text: &str| DnsServer::At(text.parse().unwrap());
        assert_eq!(server("10.0.0.53").unwrap(), at("10.0.0.53:53"));
        assert_eq!(server("[::1]:5353").unwrap(), at("[::1]:5353"));
        assert_eq!(server("/etc/resolv.conf").unwrap(), DnsServer::Of(RESOLV_CONF.into()));
        assert!(server("dns.test").is_err() && server("").is_err());
        for (line, expected) in [
            ("nameserver 10.0.0.53", Some("10.0.0.53:53")),
            ("nameserver\t::1 # here", Some("[::1]:53")),
            ("nameserver fe80::1%2", Some("[fe80::1%2]:53")),
            ("# nameserver 10.0.0.53", None),
            ("search test", None),
            ("", None),
        ] {
            assert_eq!(named(line), expected.map(|text| text.parse().unwrap()), "{line}");
        }
    }
}
