//! A small client of HTTP/1.1, for components that ask other servers: whole answers to GET and POST, with a limit
//! to everything.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hemi_proto::http1::{
    BodyDecoder, BodyError, BodyLength, Decoded, HeadError, HeadLimits, HeadReader, encode_request,
};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::clock::{self, Moment};
use crate::config::HttpUrl;
use crate::config::url::{Origin, Scheme};
use crate::cores::PerCore;
use crate::resolv::{Resolv, ResolvConfig, ResolvKind};
use crate::tls::{Connector, ConnectorConfig};
use crate::{CreateCx, Error, Result};

/// What a request may cost.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// How long connecting to one address may take.
    pub connect: Duration,
    /// How long all of a request may take.
    pub total: Duration,
    /// Bytes of an answer's content.
    pub content: usize,
    /// Idle connections that each core keeps.
    pub kept: usize,
}

/// Asks one server.
pub struct Client {
    url: HttpUrl,
    resolv: Arc<Resolv>,
    limits: ClientLimits,
    connector: Arc<Connector>,
    /// Those idle last are used first.
    idle: PerCore<Vec<Idle>>,
}

/// An answer with all its content.
#[derive(Debug)]
pub struct Answer {
    /// 200 or above.
    pub status: StatusCode,
    /// All fields, those about the connection too.
    pub headers: HeaderMap,
    /// The content, without its framing.
    pub content: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The host's name could not be resolved.
    #[error("cannot resolve the host: {0}")]
    Resolve(io::Error),
    /// No address of the host could be connected to.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The server speaks no TLS, or is not believed to be who it should be.
    #[error("cannot connect over TLS: {0}")]
    Tls(io::Error),
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It ended before the answer did.
    #[error("the server closed the connection too early")]
    Closed,
    /// The answer's head is malformed, or too large.
    #[error("the server's answer is malformed: {0}")]
    Head(#[from] HeadError),
    /// The answer's content is malformed.
    #[error("the server's answer is malformed: {0}")]
    Body(#[from] BodyError),
    /// The server wants to go on in another protocol, which nobody asked for.
    #[error("the server switches to another protocol unasked")]
    Upgrade,
    /// The server does not go on in another protocol, as it was asked to.
    #[error("the server answers {0}")]
    Refused(StatusCode),
    /// The answer's content is over the limit.
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    /// It took too long.
    #[error("it took longer than {} seconds", .0.as_secs_f32())]
    Timeout(Duration),
    /// The request's target has a byte that none has.
    #[error("the target has a forbidden byte")]
    Target,
}

/// What is spoken over TLS.
const PROTOCOLS: &[&str] = &["http/1.1"];

/// How long an idle connection is kept. Servers that close it earlier cost another connection.
const KEEP: Duration = Duration::from_secs(30);

/// Bytes to make room for before each read.
const READ: usize = 4 << 10;

/// A connection, over whatever.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

struct Idle {
    stream: Box<dyn Stream>,
    since: Moment,
}

impl Client {
    /// For a component, which asks the server of this URL; relative paths of Unix sockets start at the
    /// top directory. What is believed of servers over TLS is the component's property too.
    ///
    /// # Errors
    /// When the program has no resolver, or a certificate of ours has no key.
    pub fn new(
        mut url: HttpUrl,
        limits: ClientLimits,
        tls: ConnectorConfig,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        if let Origin::Unix(path) = &mut url.origin {
            *path = cx.path(&*path);
        }
        let connector = Arc::new(Connector::new(tls, PROTOCOLS, cx)?);
        let client = Self::with_resolv(url, limits, cx.fixture::<ResolvKind>()?, cx.cores());
        Ok(Self { connector, ..client })
    }

    /// For a component that asks at URLs which it hears of only later, by [`Client::at`]; of servers over TLS the CAs
    /// of the system are believed.
    ///
    /// # Errors
    /// When the program has no resolver.
    pub fn anywhere(limits: ClientLimits, cx: &mut CreateCx<'_>) -> Result<Self> {
        let url = "http://localhost/".parse().map_err(|e| Error::other(format!("{e}")))?;
        Self::new(url, limits, ConnectorConfig::default(), cx)
    }

    /// The same for another URL, with connections of its own.
    #[must_use]
    pub fn at(&self, url: HttpUrl) -> Self {
        let (resolv, connector) = (self.resolv.clone(), self.connector.clone());
        Self { url, resolv, limits: self.limits, connector, idle: PerCore::new(0, Vec::new) }
    }

    /// For a program that asks without a stage.
    #[must_use]
    pub fn alone(url: HttpUrl, limits: ClientLimits) -> Self {
        Self::with_resolv(url, limits, Arc::new(Resolv::new(ResolvConfig::default())), 0)
    }

    /// For what is no component.
    pub(crate) fn with_resolv(
        url: HttpUrl,
        limits: ClientLimits,
        resolv: Arc<Resolv>,
        cores: usize,
    ) -> Self {
        let connector = Connector::with_paths(ConnectorConfig::default(), PROTOCOLS);
        let connector = Arc::new(connector);
        Self { url, resolv, limits, connector, idle: PerCore::new(cores, Vec::new) }
    }

    /// Reads the files that are needed to ask over TLS, if that is how the server is asked. Blocks.
    ///
    /// # Errors
    /// When one can't be read or used.
    pub fn prepare(&self) -> Result<()> {
        match self.url.origin {
            Origin::Tcp { scheme: Scheme::Https, .. } => self.connector.prepare(),
            _ => Ok(()),
        }
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &HttpUrl {
        &self.url
    }

    /// Asks at the URL, with these fields besides `host`. An answer with any status is one.
    ///
    /// A kept connection that turns out to be closed is replaced by another one, once.
    ///
    /// # Errors
    /// When there is no whole answer within the limits.
    pub async fn get(&self, fields: HeaderMap) -> Result<Answer, ClientError> {
        let request = self.encode(&Method::GET, fields)?;
        let total = self.limits.total;
        let asked = timeout(total, self.ask(&request));
        asked.await.unwrap_or(Err(ClientError::Timeout(total)))
    }

    /// Posts content to the URL, with these fields besides `host` and `content-length`, on a new
    /// connection: nothing is sent twice. An answer with any status is one.
    ///
    /// # Errors
    /// When there is no whole answer within the limits.
    pub async fn post(&self, fields: HeaderMap, content: &[u8]) -> Result<Answer, ClientError> {
        self.send(&Method::POST, fields, content).await
    }

    /// The same by any method but `HEAD` and `CONNECT`.
    ///
    /// # Errors
    /// When there is no whole answer within the limits.
    pub async fn send(
        &self,
        method: &Method,
        mut fields: HeaderMap,
        content: &[u8],
    ) -> Result<Answer, ClientError> {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
        let mut request = self.encode(method, fields)?;
        request.extend_from_slice(content);
        let asked = async {
            let stream = self.connect().await?;
            self.exchange(stream, &request).await.map_err(|failure| failure.error)
        };
        let total = self.limits.total;
        timeout(total, asked).await.unwrap_or(Err(ClientError::Timeout(total)))
    }

    /// Asks at the URL to go on in another protocol, with these fields besides `host`, on a new connection: which that
    /// is, if the server agrees.
    ///
    /// # Errors
    /// When it does not, within the limits.
    pub async fn switch(
        &self,
        protocol: HeaderValue,
        fields: HeaderMap,
    ) -> Result<Switched, ClientError> {
        let mut fields = fields;
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(UPGRADE, protocol);
        let request = self.encode(&Method::GET, fields)?;
        let asked = async {
            let (mut stream, mut early) = (self.connect().await?, BytesMut::new());
            stream.write_all(&request).await?;
            let mut heads = HeadReader::default();
            loop {
                match heads.read_response(&Method::GET, &mut early, &HeadLimits::default())? {
                    Some(head) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                        return Ok(Switched { early, stream });
                    }
                    Some(head) if head.status.is_informational() => {}
                    Some(head) => return Err(ClientError::Refused(head.status)),
                    None if read_more(&mut stream, &mut early).await? == 0 => {
                        return Err(ClientError::Closed);
                    }
                    None => {}
                }
            }
        };
        let total = self.limits.total;
        timeout(total, asked).await.unwrap_or(Err(ClientError::Timeout(total)))
    }

    fn encode(&self, method: &Method, fields: HeaderMap) -> Result<BytesMut, ClientError> {
        let mut all = HeaderMap::new();
        all.insert(HOST, self.url.authority.clone());
        all.extend(fields);
        let mut request = BytesMut::new();
        encode_request(&mut request, method, self.url.target.as_bytes(), &all)
            .map_err(|_| ClientError::Target)?;
        Ok(request)
    }

    async fn ask(&self, request: &[u8]) -> Result<Answer, ClientError> {
        if let Some(stream) = self.kept() {
            match self.exchange(stream, request).await {
                Err(Failure { nothing_came: true, .. }) => {}
                result => return result.map_err(|failure| failure.error),
            }
        }
        let stream = self.connect().await?;
        self.exchange(stream, request).await.map_err(|failure| failure.error)
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, ClientError> {
        let limit = self.limits.connect;
        let (host, port, scheme) = match &self.url.origin {
            Origin::Unix(path) => {
                let connected = timeout(limit, UnixStream::connect(path)).await;
                let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                return Ok(Box::new(connected.map_err(ClientError::Connect)?));
            }
            Origin::Tcp { host, port, scheme } => (host, *port, *scheme),
        };
        let addresses = self.resolv.resolve(host).await.map_err(ClientError::Resolve)?;
        let mut last = io::ErrorKind::NotFound.into();
        for ip in addresses.iter() {
            match timeout(limit, TcpStream::connect(SocketAddr::new(*ip, port))).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return match scheme {
                        Scheme::Http => Ok(Box::new(stream)),
                        Scheme::Https => {
                            let shaken = self.connector.connect(stream.into(), host).await;
                            Ok(Box::new(shaken.map_err(ClientError::Tls)?))
                        }
                    };
                }
                Ok(Err(e)) => last = e,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(ClientError::Connect(last))
    }

    /// One request and its answer, after which the connection is kept if it can be.
    async fn exchange(
        &self,
        mut stream: Box<dyn Stream>,
        request: &[u8],
    ) -> Result<Answer, Failure> {
        // Nor has POST a part in how an answer is framed.
        let (mut buffer, method) = (BytesMut::new(), &Method::GET);
        let sent = stream.write_all(request).await;
        // A server may answer and close without having read everything.
        let answer =
            match (receive(&mut stream, method, &mut buffer, self.limits.content).await, sent) {
                (Err(Failure { nothing_came: true, .. }), Err(e)) => {
                    return Err(Failure { error: e.into(), nothing_came: true });
                }
                (answer, _) => answer?,
            };
        let (answer, keeps) = answer;
        if keeps && buffer.is_empty() {
            let mut idle = self.idle.mine();
            if idle.len() < self.limits.kept {
                idle.push(Idle { stream, since: clock::now() });
            }
        }
        Ok(answer)
    }

    /// A connection that is kept and, for all we know, open.
    fn kept(&self) -> Option<Box<dyn Stream>> {
        let mut idle = self.idle.mine();
        while let Some(Idle { mut stream, since }) = idle.pop() {
            if clock::now().since(since) > KEEP {
                // The others have been idle for longer.
                idle.clear();
                return None;
            }
            let mut byte = [0];
            let mut byte = ReadBuf::new(&mut byte);
            let mut cx = Context::from_waker(Waker::noop());
            if Pin::new(&mut stream).poll_read(&mut cx, &mut byte).is_pending() {
                return Some(stream);
            }
        }
        None
    }
}

/// Sends a request, as it is encoded, over a connection, and receives the answer with content of at most
/// `limit` bytes.
///
/// # Errors
/// When there is no whole answer.
pub async fn ask_over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    method: &Method,
    request: &[u8],
    limit: usize,
) -> Result<Answer, ClientError> {
    let mut stream: Box<dyn Stream> = Box::new(stream);
    stream.write_all(request).await?;
    stream.flush().await?;
    let received = receive(&mut stream, method, &mut BytesMut::new(), limit).await;
    received.map(|(answer, _)| answer).map_err(|failure| failure.error)
}

/// A connection that has gone on in another protocol.
pub struct Switched {
    /// What has come of that already.
    early: BytesMut,
    stream: Box<dyn Stream>,
}

impl AsyncRead for Switched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let most = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early.split_to(most));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Switched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Why there is no answer, and whether there is no trace of one, so that the request may be repeated.
struct Failure {
    error: ClientError,
    nothing_came: bool,
}

/// An answer, and whether the connection can carry another one.
async fn receive(
    stream: &mut Box<dyn Stream>,
    method: &Method,
    buffer: &mut BytesMut,
    limit: usize,
) -> Result<(Answer, bool), Failure> {
    let mut came = false;
    let result = async {
        let mut heads = HeadReader::default();
        let head = loop {
            let limits = HeadLimits::default();
            match heads.read_response(method, buffer, &limits)? {
                Some(head) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                    return Err(ClientError::Upgrade);
                }
                Some(head) if head.status.is_informational() => {}
                Some(head) => break head,
                None if read_more(stream, buffer).await? == 0 => return Err(ClientError::Closed),
                None => came = true,
            }
        };
        let content = receive_content(stream, buffer, head.framing, limit).await?;
        let keeps = head.keep_alive && head.framing != BodyLength::UntilClose;
        Ok((Answer { status: head.status, headers: head.headers.into(), content }, keeps))
    };
    let result = result.await;
    result.map_err(|error| Failure { error, nothing_came: !came })
}

async fn receive_content(
    stream: &mut Box<dyn Stream>,
    buffer: &mut BytesMut,
    framing: BodyLength,
    limit: usize,
) -> Result<Bytes, ClientError> {
    let mut decoder = BodyDecoder::new(framing);
    let mut content = BytesMut::new();
    loop {
        let announced = decoder.remaining().unwrap_or_default();
        if (content.len() as u64).saturating_add(announced) > limit as u64 {
            return Err(ClientError::TooLarge(limit));
        }
        match decoder.decode(buffer)? {
            Decoded::Data(data) => content.extend_from_slice(&data),
            Decoded::End(_) => return Ok(content.freeze()),
            Decoded::NeedMore if read_more(stream, buffer).await? == 0 => {
                decoder.finish().map_err(|_| ClientError::Closed)?;
            }
            Decoded::NeedMore => {}
        }
    }
}

async fn read_more(stream: &mut Box<dyn Stream>, buffer: &mut BytesMut) -> io::Result<usize> {
    buffer.reserve(READ);
    stream.read_buf(buffer).await
}
