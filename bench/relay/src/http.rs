//! Requests of HTTP/1.1 on connections that a proxy has opened.

use std::io::{Error, Result};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Seen;

/// How a proxy is asked for a connection.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// Not at all.
    None,
    /// SOCKS 5 (RFC 1928).
    Socks5,
    /// CONNECT (RFC 9110, 9.3.6).
    Connect,
}

impl FromStr for Way {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "none" => Ok(Self::None),
            "socks5" => Ok(Self::Socks5),
            "connect" => Ok(Self::Connect),
            _ => Err(Error::other("a way is none, socks5 or connect")),
        }
    }
}

/// Asks for a page, again and again, each time when all of it is there, until the time is over.
pub(crate) async fn talk(
    way: Way,
    to: SocketAddr,
    host: SocketAddr,
    path: String,
    until: Instant,
) -> Result<Seen> {
    let mut socket = TcpStream::connect(to).await?;
    socket.set_nodelay(true)?;
    open(&mut socket, way, host).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let (mut seen, mut buf) = (Seen { per_round: 1, ..Seen::default() }, Vec::new());
    loop {
        let began = Instant::now();
        if began >= until {
            return Ok(seen);
        }
        socket.write_all(request.as_bytes()).await?;
        answer(&mut socket, &mut buf).await?;
        seen.note(began);
    }
}

async fn open(socket: &mut TcpStream, way: Way, host: SocketAddr) -> Result<()> {
    match way {
        Way::None => Ok(()),
        Way::Socks5 => {
            socket.write_all(&[5, 1, 0]).await?;
            socket.read_exact(&mut [0; 2]).await?;
            let IpAddr::V4(ip) = host.ip() else { return Err(Error::other("not IPv4")) };
            let port = host.port().to_be_bytes();
            socket.write_all(&[&[5, 1, 0, 1], &ip.octets()[..], &port].concat()).await?;
            let mut reply = [0; 10];
            socket.read_exact(&mut reply).await?;
            if reply[1] == 0 { Ok(()) } else { Err(Error::other("refused")) }
        }
        Way::Connect => {
            let request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            socket.write_all(request.as_bytes()).await?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if socket.read_buf(&mut head).await? == 0 {
                    return Err(Error::other("no answer"));
                }
            }
            if head.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err(Error::other("refused")) }
        }
    }
}

/// Reads an answer with a `content-length`.
async fn answer(socket: &mut TcpStream, buf: &mut Vec<u8>) -> Result<()> {
    buf.clear();
    let mut whole = usize::MAX;
    while buf.len() < whole {
        buf.reserve(64 << 10);
        if socket.read_buf(buf).await? == 0 {
            return Err(Error::other("the answer is cut off"));
        }
        if whole == usize::MAX
            && let Some(end) = buf.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&buf[..end]).to_ascii_lowercase();
            let lines = head.lines().filter_map(|line| line.strip_prefix("content-length:"));
            let length: Option<usize> = lines.filter_map(|text| text.trim().parse().ok()).next();
            whole = end + 4 + length.ok_or_else(|| Error::other("an answer of no length"))?;
        }
    }
    if buf.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err(Error::other("another answer")) }
}
