//! A client of WebSockets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use hemi_proto::http1::{HeadLimits, HeadReader, ResponseHead};
use hemi_proto::websocket::deflate::{self, Deflater, Inflater};
use hemi_proto::websocket::{
    Close, CloseCode, Decoder, Header, Incoming, Limits, Message, Opcode, Role, handshake,
};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long anything may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The client's end of a WebSocket, over a real connection: see [`crate::WebSocket`] for an example. It answers
/// pings by itself. What does not come within 20 s is an error.
#[derive(Debug)]
pub struct TestSocket {
    stream: TcpStream,
    received: BytesMut,
    answer: ResponseHead,
    decoder: Decoder,
    deflater: Option<Deflater>,
    closed: Option<Option<Close>>,
}

impl TestSocket {
    /// Connects to this path and query of the server at an address.
    ///
    /// # Errors
    /// When the server does not answer 101, in the way it has to.
    pub async fn connect(server: SocketAddr, target: &str) -> io::Result<Self> {
        Self::connect_with(server, target, &[]).await
    }

    /// The same with more fields, such as what the client offers.
    ///
    /// # Errors
    /// When the server does not answer 101, in the way it has to.
    pub async fn connect_with(
        server: SocketAddr,
        target: &str,
        fields: &[(&str, &str)],
    ) -> io::Result<Self> {
        let mut stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let key = handshake::key(random);
        let fields: String =
            fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "GET {target} HTTP/1.1\r\nhost: {server}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n{fields}\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut received = BytesMut::new();
        let answer = in_time(read_head(&mut stream, &mut received)).await?;
        if !answer.upgrade || !handshake::proves(&answer.headers, &key) {
            return Err(io::Error::other(format!("answered {}", answer.status)));
        }
        let agreed = deflate::agreed(&answer.headers).map_err(io::Error::other)?;
        let inflater = agreed.map(|agreed| Inflater::new(Role::Client, &agreed));
        let deflater = agreed.map(|agreed| Deflater::new(Role::Client, &agreed, 6));
        let limits = Limits { frame: u64::MAX, message: usize::MAX, fragments: u32::MAX };
        let decoder = Decoder::new(Role::Client, limits).with_inflater(inflater);
        Ok(Self { stream, received, answer, decoder, deflater, closed: None })
    }

    /// The value of a field of the server's answer, if it is there and is text; of several the first.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.answer.headers.get(name)?.to_str().ok()
    }

    /// Sends a message, compressed if that was agreed on.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn send(&mut self, message: impl Into<Message>) -> io::Result<()> {
        let message = message.into();
        let header = Header::whole(message.opcode());
        match self.deflater.as_mut().and_then(|deflater| deflater.deflate(message.as_bytes())) {
            Some(payload) => self.frame(Header { compressed: true, ..header }, &payload).await,
            None => self.frame(header, message.as_bytes()).await,
        }
    }

    /// Sends a frame, which may be one that can't be.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn frame(&mut self, header: Header, payload: &[u8]) -> io::Result<()> {
        let mut mask = [0; 4];
        getrandom::fill(&mut mask).map_err(io::Error::other)?;
        let mut frame = BytesMut::new();
        Header { mask: Some(mask), ..header }.put_frame(payload, &mut frame);
        self.bytes(&frame).await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        in_time(self.stream.write_all(bytes)).await
    }

    /// Sends a close.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn close(&mut self, code: CloseCode) -> io::Result<()> {
        self.frame(Header::whole(Opcode::Close), &Close::from(code).payload()).await
    }

    /// The next message; none after the server has closed, which is answered.
    ///
    /// # Errors
    /// When the connection is lost, or the server breaks the protocol.
    pub async fn recv(&mut self) -> io::Result<Option<Message>> {
        while self.closed.is_none() {
            match self.incoming().await? {
                Incoming::Message(message) => return Ok(Some(message)),
                Incoming::Ping(payload) => {
                    self.frame(Header::whole(Opcode::Pong), &payload).await?;
                }
                Incoming::Pong(_) => {}
                Incoming::Close(close) => {
                    let payload = close.as_ref().map(Close::payload).unwrap_or_default();
                    // The server may be gone already.
                    let _ = self.frame(Header::whole(Opcode::Close), &payload).await;
                    self.closed = Some(close);
                }
            }
        }
        Ok(None)
    }

    /// The next message or control frame, which nobody answers.
    ///
    /// # Errors
    /// When the connection is lost, or the server breaks the protocol.
    pub async fn incoming(&mut self) -> io::Result<Incoming> {
        loop {
            match self.decoder.decode(&mut self.received).map_err(io::Error::other)? {
                Some(incoming) => return Ok(incoming),
                None if in_time(self.stream.read_buf(&mut self.received)).await? > 0 => {}
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// What the server closes with, after messages that are dropped.
    ///
    /// # Errors
    /// When the connection is lost without a close.
    pub async fn closed(&mut self) -> io::Result<Option<Close>> {
        while self.recv().await?.is_some() {}
        Ok(self.closed.clone().flatten())
    }

    /// Waits for the end of the connection.
    ///
    /// # Errors
    /// When the server still sends something.
    pub async fn ended(&mut self) -> io::Result<()> {
        match in_time(self.stream.read_buf(&mut self.received)).await {
            Ok(0) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Ok(_) => Err(io::Error::other("something was sent")),
            Err(e) => Err(e),
        }
    }
}

async fn read_head(stream: &mut TcpStream, received: &mut BytesMut) -> io::Result<ResponseHead> {
    let mut reader = HeadReader::default();
    loop {
        let limits = HeadLimits::default();
        let read = reader.read_response(&Method::GET, received, &limits);
        match read.map_err(|e| io::Error::other(e.name()))? {
            Some(head) => return Ok(head),
            None if stream.read_buf(received).await? > 0 => {}
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(TIMEOUT, work).await?
}
