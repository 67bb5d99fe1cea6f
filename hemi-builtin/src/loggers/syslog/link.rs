//! The way to a syslog daemon, and the messages that are on it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hemi_core::config::ConfigType;
use hemi_core::resolv::Resolv;
use hemi_core::tls::{Connector, TlsStream};
use hemi_core::{Explain, Result};
use hemi_proto::ascii::push_decimal;
use rustix::io::Errno;
use serde::Deserialize;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};

use crate::loggers::gather::{Gathered, count};

/// Where a daemon is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Daemon {
    /// The path of a Unix socket: one with a `/`, or `unix:PATH`.
    Unix(PathBuf),
    /// `HOST:PORT`
    Host(String, u16),
}

/// Text that tells no place.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is no address of a daemon: write \"HOST:PORT\" or the path of a Unix socket")]
pub struct DaemonError(String);

impl FromStr for Daemon {
    type Err = DaemonError;

    fn from_str(text: &str) -> Result<Self, DaemonError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        if text.contains('/') {
            return Ok(Self::Unix(text.into()));
        }
        let bad = || DaemonError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_good = inner
            .map_or(!host.is_empty() && !host.contains(':'), |v6| v6.parse::<Ipv6Addr>().is_ok());
        match port.parse() {
            Ok(port) if is_good && port > 0 => Ok(Self::Host(inner.unwrap_or(host).into(), port)),
            _ => Err(bad()),
        }
    }
}

impl TryFrom<String> for Daemon {
    type Error = DaemonError;

    fn try_from(text: String) -> Result<Self, DaemonError> {
        text.parse()
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Host(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

impl ConfigType for Daemon {
    fn kind() -> Cow<'static, str> {
        "address".into()
    }

    fn show(&self) -> String {
        self.to_string().show()
    }
}

/// How a daemon is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub enum Transport {
    /// Message by message.
    Datagram,
    /// On a connection.
    Stream,
    /// On a connection over TLS (RFC 5425).
    Tls,
}

/// How long it may take until a connection stands.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a daemon on the net may leave bytes unacknowledged, or be silent when nothing is sent.
const DEAD: Duration = Duration::from_secs(30);

/// Bytes of messages that are written at once to a stream, about.
const FRAMES: usize = 32 << 10;

/// The way to a daemon.
#[derive(Debug)]
pub(super) struct Link {
    daemon: Daemon,
    transport: Transport,
    resolv: Arc<Resolv>,
    connector: Arc<Connector>,
    socket: Option<Socket>,
    /// Messages to send, each with a line end.
    lines: Vec<u8>,
    /// Where in them those begin that are not sent.
    at: usize,
    frames: Frames,
}

/// Messages as a stream has them.
#[derive(Debug, Default)]
struct Frames {
    bytes: Vec<u8>,
    sent: usize,
    /// For each message where it ends, here and among the lines.
    ends: VecDeque<(usize, usize)>,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
    UnixStream(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
}

impl Link {
    pub(super) fn new(
        daemon: Daemon,
        transport: Transport,
        resolv: Arc<Resolv>,
        connector: Connector,
    ) -> Self {
        let (lines, frames, connector) = (Vec::new(), Frames::default(), Arc::new(connector));
        Self { daemon, transport, resolv, connector, socket: None, lines, at: 0, frames }
    }

    /// Reads the files that TLS needs, if it is spoken. Blocks.
    pub(super) fn prepare(&self) -> Result<()> {
        if self.transport == Transport::Tls { self.connector.prepare() } else { Ok(()) }
    }

    /// Adds messages, each with a line end.
    pub(super) fn add(&mut self, lines: &[u8]) {
        self.lines.extend_from_slice(lines);
    }

    /// Sends all messages; counts them, and those that can't be sent at all. When it is called again
    /// after an error, or after it was given up, it goes on where it was.
    pub(super) async fn send(&mut self, counts: &Gathered) -> io::Result<()> {
        if self.at < self.lines.len() && self.socket.as_mut().is_none_or(Socket::is_closed) {
            self.close();
            let connected = tokio::time::timeout(CONNECT, self.connect()).await;
            self.socket = Some(connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?);
        }
        while self.at < self.lines.len() {
            let sent = match self.transport {
                Transport::Datagram => self.send_one(counts).await,
                Transport::Stream | Transport::Tls => self.send_some(counts).await,
            };
            if let Err(e) = sent {
                self.close();
                return Err(e);
            }
        }
        self.lines.clear();
        self.at = 0;
        Ok(())
    }

    /// Closes the connection.
    pub(super) fn close(&mut self) {
        self.socket = None;
        // What was begun is sent again from its beginning.
        self.frames = Frames::default();
    }

    /// Forgets all messages; returns how many were not sent.
    pub(super) fn give_up(&mut self) -> u64 {
        let left = count(self.lines.get(self.at..).unwrap_or_default());
        self.lines.clear();
        self.at = 0;
        self.close();
        left
    }

    /// Where the next message ends, with its line end.
    fn end_after(&self, at: usize) -> usize {
        let rest = self.lines.get(at..).unwrap_or_default();
        memchr::memchr(b'\n', rest).map_or(self.lines.len(), |end| at + end + 1)
    }

    /// Sends one message as a datagram.
    async fn send_one(&mut self, counts: &Gathered) -> io::Result<()> {
        let end = self.end_after(self.at);
        let message = self.lines.get(self.at..end - 1).unwrap_or_default();
        let sent = match &self.socket {
            Some(Socket::Unix(socket)) => socket.send(message).await,
            Some(Socket::Udp(socket)) => socket.send(message).await,
            _ => Err(io::ErrorKind::NotConnected.into()),
        };
        match sent {
            Ok(_) => counts.count_written(1),
            Err(e) if e.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) => {
                counts.count_dropped(1);
            }
            Err(e) => return Err(e),
        }
        self.at = end;
        Ok(())
    }

    /// Writes some bytes of messages to a stream.
    async fn send_some(&mut self, counts: &Gathered) -> io::Result<()> {
        if self.frames.ends.is_empty() {
            self.frame();
        }
        let Frames { bytes, sent, ends } = &mut self.frames;
        let rest = bytes.get(*sent..).unwrap_or_default();
        let written = match &mut self.socket {
            Some(Socket::UnixStream(stream)) => stream.write(rest).await?,
            Some(Socket::Tcp(stream)) => stream.write(rest).await?,
            Some(Socket::Tls(stream)) => {
                let written = stream.write(rest).await?;
                stream.flush().await?;
                written
            }
            _ => return Err(io::ErrorKind::NotConnected.into()),
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        *sent += written;
        while let Some((_, end)) = ends.pop_front_if(|(frame_end, _)| *frame_end <= *sent) {
            self.at = end;
            counts.count_written(1);
        }
        Ok(())
    }

    /// Puts the next messages into frames (RFC 6587, section 3.4.1).
    fn frame(&mut self) {
        self.frames.bytes.clear();
        self.frames.sent = 0;
        let mut at = self.at;
        while at < self.lines.len() && self.frames.bytes.len() < FRAMES {
            let end = self.end_after(at);
            let message = self.lines.get(at..end - 1).unwrap_or_default();
            let bytes = &mut self.frames.bytes;
            push_decimal(bytes, message.len() as u64);
            bytes.push(b' ');
            bytes.extend_from_slice(message);
            self.frames.ends.push_back((bytes.len(), end));
            at = end;
        }
    }

    async fn connect(&self) -> io::Result<Socket> {
        match (&self.daemon, self.transport) {
            (Daemon::Unix(path), Transport::Datagram) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                Ok(Socket::Unix(socket))
            }
            (Daemon::Unix(path), Transport::Stream | Transport::Tls) => {
                Ok(Socket::UnixStream(UnixStream::connect(path).await?))
            }
            (Daemon::Host(host, port), transport) => {
                let mut failed = io::ErrorKind::NotFound.into();
                for ip in self.resolv.resolve(host).await?.iter() {
                    match connect_to(SocketAddr::new(*ip, *port), transport).await {
                        Ok(Socket::Tcp(stream)) if transport == Transport::Tls => {
                            let stream = self.connector.connect(stream.into(), host).await?;
                            return Ok(Socket::Tls(Box::new(stream)));
                        }
                        Ok(socket) => return Ok(socket),
                        Err(e) => failed = e,
                    }
                }
                Err(failed)
            }
        }
    }
}

async fn connect_to(address: SocketAddr, transport: Transport) -> io::Result<Socket> {
    match transport {
        Transport::Datagram => {
            let any: IpAddr = match address {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = UdpSocket::bind((any, 0)).await?;
            socket.connect(address).await?;
            Ok(Socket::Udp(socket))
        }
        Transport::Stream | Transport::Tls => {
            let stream = TcpStream::connect(address).await?;
            let socket = SockRef::from(&stream);
            socket.set_tcp_user_timeout(Some(DEAD))?;
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(DEAD))?;
            Ok(Socket::Tcp(stream))
        }
    }
}

impl Socket {
    /// Whether the daemon has ended the connection, as far as that is known.
    fn is_closed(&mut self) -> bool {
        // A daemon has nothing to say.
        let mut words = [0; 64];
        let read = match self {
            Self::Unix(_) | Self::Udp(_) => return false,
            Self::UnixStream(stream) => stream.try_read(&mut words),
            Self::Tcp(stream) => stream.try_read(&mut words),
            Self::Tls(stream) => {
                let mut words = ReadBuf::new(&mut words);
                let mut cx = Context::from_waker(Waker::noop());
                match Pin::new(stream).poll_read(&mut cx, &mut words) {
                    Poll::Ready(read) => read.map(|()| words.filled().len()),
                    Poll::Pending => return false,
                }
            }
        };
        match read {
            Ok(len) => len == 0,
            Err(e) => e.kind() != io::ErrorKind::WouldBlock,
        }
    }
}
