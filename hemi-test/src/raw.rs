//! A blocking client that sends exactly the bytes it is given.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::reply::{Reply, Request};
use crate::wait::Deadline;

/// How long one operation of a client may take unless told otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection over TCP or a Unix socket.
///
/// Every operation is bounded by the client's timeout as a whole, not per read, and then fails
/// with [`io::ErrorKind::TimedOut`].
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    /// Received, but not yet handed out.
    received: Vec<u8>,
    timeout: Duration,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Client {
    /// Connects over TCP, with Nagle's algorithm off: each [`send`](Self::send) leaves at once.
    ///
    /// # Errors
    /// What the system says.
    pub fn connect(addr: impl ToSocketAddrs) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        Ok(Self::over(Stream::Tcp(stream)))
    }

    /// Connects over TCP from this address, which must be the machine's: for what a server counts
    /// per client, any of 127.0.0.0/8.
    ///
    /// # Errors
    /// What the system says.
    pub fn connect_from(source: IpAddr, addr: SocketAddr) -> io::Result<Self> {
        let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        net::bind(&socket, &SocketAddr::new(source, 0))?;
        net::connect(&socket, &addr)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        Ok(Self::over(Stream::Tcp(stream)))
    }

    /// Connects to a Unix socket.
    ///
    /// # Errors
    /// What the system says.
    pub fn connect_unix(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self::over(Stream::Unix(UnixStream::connect(path)?)))
    }

    /// Connects over TLS, and asks for this name; returns when the handshake is done.
    ///
    /// # Errors
    /// As [`begin_tls`](Self::begin_tls).
    pub fn connect_tls(
        addr: impl ToSocketAddrs,
        name: &str,
        config: &Arc<ClientConfig>,
    ) -> io::Result<Self> {
        Self::connect(addr)?.begin_tls(name, config)
    }

    /// Shakes hands on a connection over TCP, and asks for this name.
    ///
    /// # Errors
    /// What the system says, or [`io::ErrorKind::InvalidData`] what is wrong with the server's part.
    pub fn begin_tls(self, name: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let Stream::Tcp(mut stream) = self.stream else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        stream.set_read_timeout(Some(self.timeout))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        let stream = Stream::Tls(Box::new(StreamOwned::new(tls, stream)));
        Ok(Self { stream, ..self })
    }

    /// The connection's TLS, if it has one.
    pub fn tls(&self) -> Option<&ClientConnection> {
        match &self.stream {
            Stream::Tls(stream) => Some(&stream.conn),
            _ => None,
        }
    }

    fn over(stream: Stream) -> Self {
        Self { stream, received: Vec::new(), timeout: TIMEOUT }
    }

    /// Changes how long each operation may take; [`TIMEOUT`] at first.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// What the system says, for example when the server has closed the connection.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let mut bytes = bytes.as_ref();
        let deadline = Deadline::after(self.timeout);
        while !bytes.is_empty() {
            let sent = uninterrupted(|| self.stream.write(bytes, left(deadline)?))?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Ends the sending direction; the server sees the end of the stream.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            Stream::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush()
            }
        }
    }

    /// Drops the connection so that the server sees a reset, not an end.
    ///
    /// # Errors
    /// What the system says.
    pub fn reset(self) -> io::Result<()> {
        let linger = Some(Duration::ZERO);
        match &self.stream {
            Stream::Tcp(stream) => net::sockopt::set_socket_linger(stream, linger)?,
            Stream::Unix(stream) => net::sockopt::set_socket_linger(stream, linger)?,
            Stream::Tls(stream) => net::sockopt::set_socket_linger(&stream.sock, linger)?,
        }
        Ok(())
    }

    /// Waits for bytes or the end of the stream; `false` if neither has come `within`.
    pub fn wait(&mut self, within: Duration) -> bool {
        let waited = self.receive(Deadline::after(within));
        !waited.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
    }

    /// Reads one response to a request other than `HEAD`. Interim (1xx) ones are returned too.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the connection ends first,
    /// [`io::ErrorKind::InvalidData`] when it isn't a response by RFC 9112.
    pub fn read_response(&mut self) -> io::Result<Reply> {
        self.read_reply(Request::Other)
    }

    /// Reads one response to a `HEAD` request, which has no body whatever its head says.
    ///
    /// # Errors
    /// As [`read_response`](Self::read_response).
    pub fn read_response_to_head(&mut self) -> io::Result<Reply> {
        self.read_reply(Request::Head)
    }

    fn read_reply(&mut self, request: Request) -> io::Result<Reply> {
        let deadline = Deadline::after(self.timeout);
        let mut ended = false;
        loop {
            if let Some((reply, length)) = Reply::parse(&self.received, request, ended)? {
                self.received.drain(..length);
                return Ok(reply);
            }
            if ended {
                let received = String::from_utf8_lossy(&self.received);
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the connection ended within a response: {received:?}"),
                ));
            }
            ended = self.receive(deadline)? == 0;
        }
    }

    /// Waits for at least `length` bytes and returns exactly that many.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the connection ends first.
    pub fn read_exact(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let deadline = Deadline::after(self.timeout);
        while self.received.len() < length {
            if self.receive(deadline)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.received.drain(..length).collect())
    }

    /// Waits for bytes and returns those that came together; none at the end of the stream.
    ///
    /// # Errors
    /// What the system says.
    pub fn read_some(&mut self) -> io::Result<Vec<u8>> {
        if self.received.is_empty() {
            self.receive(Deadline::after(self.timeout))?;
        }
        Ok(std::mem::take(&mut self.received))
    }

    /// Reads until the server closes the connection.
    ///
    /// # Errors
    /// What the system says, [`io::ErrorKind::ConnectionReset`] among others.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let deadline = Deadline::after(self.timeout);
        while self.receive(deadline)? > 0 {}
        Ok(std::mem::take(&mut self.received))
    }

    /// Waits until the server closes or resets the connection.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when it sends something first.
    pub fn expect_close(&mut self) -> io::Result<()> {
        match self.read_to_end() {
            Ok(bytes) if bytes.is_empty() => Ok(()),
            Ok(bytes) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("bytes before the close: {:?}", String::from_utf8_lossy(&bytes)),
            )),
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionReset && self.received.is_empty() =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Reads once; 0 at the end of the stream.
    fn receive(&mut self, deadline: Deadline) -> io::Result<usize> {
        let mut piece = [0; 16 * 1024];
        let length = uninterrupted(|| self.stream.read(&mut piece, left(deadline)?))?;
        self.received.extend(piece.iter().take(length));
        Ok(length)
    }
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8], within: Duration) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(within))?;
                stream.read(buffer)
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(within))?;
                stream.read(buffer)
            }
            Self::Tls(stream) => {
                stream.sock.set_read_timeout(Some(within))?;
                stream.read(buffer)
            }
        }
    }

    fn write(&mut self, bytes: &[u8], within: Duration) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => {
                stream.set_write_timeout(Some(within))?;
                stream.write(bytes)
            }
            Self::Unix(stream) => {
                stream.set_write_timeout(Some(within))?;
                stream.write(bytes)
            }
            Self::Tls(stream) => {
                stream.sock.set_write_timeout(Some(within))?;
                let sent = stream.write(bytes)?;
                stream.flush()?;
                Ok(sent)
            }
        }
    }
}

fn left(deadline: Deadline) -> io::Result<Duration> {
    deadline.left().ok_or_else(|| io::ErrorKind::TimedOut.into())
}

/// Tries again what a signal, or the machine's pause, interrupted: with a timeout Linux does not.
fn uninterrupted(mut attempt: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(timed_out),
        }
    }
}

/// A socket's timeout shows as "would block" on Linux.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TempDir;
    use std::net::{Ipv4Addr, TcpListener};
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// A client whose server sends `bytes` as soon as it has read a request, and then closes.
    fn client_of(bytes: &'static [u8]) -> Client {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = Client::connect(listener.local_addr().unwrap()).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(bytes).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            // Closing with bytes unread would reset the connection.
            io::copy(&mut stream, &mut io::sink()).unwrap();
        });
        client
    }

    #[test]
    fn pipelined_responses_come_one_by_one() {
        let mut client = client_of(
            b"HTTP/1.1 100 Continue\r\n\r\n\
              HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\
              HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
              HTTP/1.1 404 Not Found\r\n\r\nnothing",
        );
        client.send("GET / HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(client.read_response().unwrap().status, 100);
        assert_eq!(client.read_response_to_head().unwrap().body, b"");
        assert_eq!(client.read_response().unwrap().text(), "abc");
        let last = client.read_response().unwrap();
        assert_eq!((last.status, last.text().as_str(), last.closed), (404, "nothing", true));
        client.expect_close().unwrap();
    }

    #[test]
    fn a_cut_response_and_bytes_before_a_close_are_errors() {
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
        let error = client_of(cut).read_response().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let error = client_of(b"x").expect_close().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(client_of(b"abcdef").read_exact(4).unwrap(), b"abcd");
        assert!(client_of(b"abc").read_exact(4).is_err());
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = Client::connect(listener.local_addr().unwrap()).unwrap();
        let mut client = client.with_timeout(Duration::from_millis(1));
        assert_eq!(client.read_response().unwrap_err().kind(), io::ErrorKind::TimedOut);
        let too_much = vec![0; 64 << 20];
        assert_eq!(client.send(too_much).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn the_source_address_can_be_chosen() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let source = IpAddr::V4(Ipv4Addr::new(127, 1, 2, 3));
        let _client = Client::connect_from(source, listener.local_addr().unwrap()).unwrap();
        assert_eq!(listener.accept().unwrap().1.ip(), source);
    }

    #[test]
    fn unix_sockets_work_the_same() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut client = Client::connect_unix(&path).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.send("ping").unwrap();
        client.finish().unwrap();
        let mut bytes = Vec::new();
        server.read_to_end(&mut bytes).unwrap();
        server.write_all(&bytes).unwrap();
        drop(server);
        assert_eq!(client.read_to_end().unwrap(), b"ping");
    }
}
