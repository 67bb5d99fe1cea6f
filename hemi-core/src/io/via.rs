//! Connections by way of a forward proxy: SOCKS 5 (RFC 1928, RFC 1929), or CONNECT (RFC 9110, 9.3.6).

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, BytesMut};
use hemi_proto::http1::{HeadLimits, HeadReader};
use http::Method;
use serde::Deserialize;

use super::{Dialing, NotReceived, Socket, receive, send};
use crate::backend::Target;
use crate::config::ConfigType;

/// How long the proxy may take for each answer; what it is part of may give it less.
const PATIENCE: Duration = Duration::from_secs(30);

/// A forward proxy: `"socks5://HOST:PORT"` or `"http://HOST:PORT"`, with `NAME:PASSWORD@` before the host if it wants to
/// know who comes.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Via {
    protocol: Protocol,
    /// Its host and port.
    at: String,
    login: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Socks,
    Http,
}

/// A text that is no forward proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a proxy like socks5://host:1080 or http://name:password@host:3128")]
pub struct BadVia;

impl FromStr for Via {
    type Err = BadVia;

    fn from_str(text: &str) -> Result<Self, BadVia> {
        let (scheme, rest) = text.split_once("://").ok_or(BadVia)?;
        let protocol = match scheme {
            "socks5" | "socks5h" => Protocol::Socks,
            "http" => Protocol::Http,
            _ => return Err(BadVia),
        };
        let (login, at) = match rest.rsplit_once('@') {
            Some((login, at)) => {
                let (name, password) = login.split_once(':').ok_or(BadVia)?;
                let fits = |text: &str| (1..=255).contains(&text.len());
                let login = (name.to_owned(), password.to_owned());
                (Some((fits(name) && fits(password)).then_some(login).ok_or(BadVia)?), at)
            }
            None => (None, rest),
        };
        let (host, port) = at.trim_end_matches('/').rsplit_once(':').ok_or(BadVia)?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        if host.is_empty() || host.contains('/') || !is_port {
            return Err(BadVia);
        }
        Ok(Self { protocol, at: format!("{host}:{port}"), login })
    }
}

impl TryFrom<String> for Via {
    type Error = BadVia;

    fn try_from(text: String) -> Result<Self, BadVia> {
        text.parse()
    }
}

impl ConfigType for Via {
    fn kind() -> Cow<'static, str> {
        "proxy".into()
    }

    fn show(&self) -> String {
        self.without_password().show()
    }
}

impl std::fmt::Debug for Via {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.without_password())
    }
}

impl Via {
    fn without_password(&self) -> String {
        let scheme = match self.protocol {
            Protocol::Socks => "socks5",
            Protocol::Http => "http",
        };
        format!("{scheme}://{}", self.at)
    }

    /// Connects to a node by way of the proxy, as [`Socket::connect`] does without.
    ///
    /// # Errors
    /// When the proxy does not accept, or does not connect.
    pub async fn connect(&self, target: &Target) -> io::Result<Socket> {
        self.reach(target, None).await
    }

    /// The same as [`Socket::dial`] does.
    pub(super) async fn dial(&self, target: &Target, how: &Dialing<'_>) -> io::Result<Socket> {
        self.reach(target, Some(&Dialing { first: &[], via: None, ..*how })).await
    }

    async fn reach(&self, target: &Target, how: Option<&Dialing<'_>>) -> io::Result<Socket> {
        let Target::Tcp(node) = target else {
            return Err(io::Error::other("no proxy leads to a Unix socket"));
        };
        let mut last = io::ErrorKind::NotFound.into();
        for at in tokio::net::lookup_host(&self.at).await?.map(Target::Tcp) {
            let connected = match how {
                Some(direct) => Socket::dial(&at, direct).await,
                None => Socket::connect(&at).await,
            };
            match connected {
                Ok(mut socket) => {
                    match self.protocol {
                        Protocol::Socks => self.by_socks(&mut socket, *node).await?,
                        Protocol::Http => self.by_http(&mut socket, *node).await?,
                    }
                    return Ok(socket);
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    async fn by_socks(&self, socket: &mut Socket, node: SocketAddr) -> io::Result<()> {
        let mut buf = BytesMut::new();
        let method = if self.login.is_some() { 2 } else { 0 };
        send(socket, &[5, 1, method], PATIENCE).await?;
        if take::<2>(socket, &mut buf).await? != [5, method] {
            return Err(refused("it wants another login"));
        }
        if let Some((name, password)) = &self.login {
            // Both have 255 bytes at most.
            let mut login = vec![1, name.len() as u8];
            login.extend_from_slice(name.as_bytes());
            login.push(password.len() as u8);
            login.extend_from_slice(password.as_bytes());
            send(socket, &login, PATIENCE).await?;
            if take::<2>(socket, &mut buf).await?[1] != 0 {
                return Err(refused("it does not take the login"));
            }
        }
        let mut request = vec![5, 1, 0];
        match node {
            SocketAddr::V4(v4) => {
                request.push(1);
                request.extend(v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                request.push(4);
                request.extend(v6.ip().octets());
            }
        }
        request.extend(node.port().to_be_bytes());
        send(socket, &request, PATIENCE).await?;
        let [version, reply, _, kind] = take::<4>(socket, &mut buf).await?;
        if (version, reply) != (5, 0) {
            return Err(refused(&format!("it answers {reply}")));
        }
        // The address that it connects from, and a port.
        match kind {
            1 => drop(take::<6>(socket, &mut buf).await?),
            4 => drop(take::<18>(socket, &mut buf).await?),
            3 => {
                let [len] = take::<1>(socket, &mut buf).await?;
                for _ in 0..usize::from(len) + 2 {
                    take::<1>(socket, &mut buf).await?;
                }
            }
            _ => return Err(refused("it answers with an unknown address")),
        }
        if !buf.is_empty() {
            socket.unread(buf);
        }
        Ok(())
    }

    async fn by_http(&self, socket: &mut Socket, node: SocketAddr) -> io::Result<()> {
        let mut request = format!("CONNECT {node} HTTP/1.1\r\nHost: {node}\r\n");
        if let Some((name, password)) = &self.login {
            let login = STANDARD.encode(format!("{name}:{password}"));
            request += &format!("Proxy-Authorization: Basic {login}\r\n");
        }
        request += "\r\n";
        send(socket, request.as_bytes(), PATIENCE).await?;
        let (mut reader, mut buf) = (HeadReader::default(), BytesMut::new());
        let (limits, method) = (HeadLimits::default(), Method::CONNECT);
        let read = |buf: &mut BytesMut| reader.read_response(&method, buf, &limits);
        let head = receive(socket, &mut buf, PATIENCE, read).await.map_err(broken)?;
        if !head.status.is_success() {
            return Err(refused(&format!("it answers {}", head.status.as_u16())));
        }
        if !buf.is_empty() {
            socket.unread(buf);
        }
        Ok(())
    }
}

/// The next bytes of the proxy.
async fn take<const N: usize>(socket: &mut Socket, buf: &mut BytesMut) -> io::Result<[u8; N]> {
    let first = |buf: &mut BytesMut| {
        let taken = buf.first_chunk().copied();
        if taken.is_some() {
            buf.advance(N);
        }
        Ok::<_, io::Error>(taken)
    };
    receive(socket, buf, PATIENCE, first).await.map_err(broken)
}

fn broken<E>(why: NotReceived<E>) -> io::Error {
    match why {
        NotReceived::Io(e) => e,
        NotReceived::Timeout => io::ErrorKind::TimedOut.into(),
        NotReceived::Closed => refused("it closes the connection"),
        NotReceived::Malformed(_) => refused("it answers in no known way"),
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, format!("the proxy has not connected: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies() {
        for (text, at, login) in [
            ("socks5://127.0.0.1:1080", "127.0.0.1:1080", None),
            ("socks5h://a:b:c@[::1]:1080/", "[::1]:1080", Some(("a", "b:c"))),
            ("http://p.test:3128", "p.test:3128", None),
        ] {
            let via: Via = text.parse().unwrap();
            assert_eq!(via.at, at);
            assert_eq!(via.login.as_ref().map(|(name, word)| (&**name, &**word)), login);
            assert!(!format!("{via:?}").contains("b:c"));
        }
        for text in
            ["", "1.2.3.4:80", "https://a:1", "http://a", "http://:1", "http://a:0", "http://a@b:1"]
        {
            assert_eq!(text.parse::<Via>(), Err(BadVia), "{text}");
        }
    }
}
