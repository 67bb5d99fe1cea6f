//! Calls services elsewhere that speak rpcx or HRPC: many calls at once on a few connections.

mod ask;
mod conn;
mod dial;
mod driver;
mod endpoint;
mod hrpc;
mod transport;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hemi_core::tls::Connector;
use hemi_proto::rpcx::{CodecId, Compression, Limits, Metadata, Pairs, TIMEOUT_KEY};
use tokio::sync::mpsc;

pub(crate) use self::ask::Options;
pub use self::ask::{Ask, Remote, Via};
use self::dial::{Line, Slot};
pub use self::endpoint::{BadEndpoint, Endpoint};
use self::hrpc::Saying;
use crate::hrpc::Pipe;
use crate::{Compressions, RpcError};

/// How a client calls.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// What arguments are written in: MessagePack by default, as in Go.
    pub codec: CodecId,
    /// Whether payloads of more than 1024 bytes are sent in gzip, and answered so.
    pub gzip: bool,
    /// What other numbers of compressions mean: see [`Ask::compressed`].
    pub compressions: Compressions,
    /// How many connections there are to the server: one by default.
    pub conns: usize,
    /// How long connecting may take: a second by default.
    pub connect_timeout: Duration,
    /// What connections are encrypted by, if they are.
    pub tls: Option<Arc<Connector>>,
    /// How long an answer may take: 30 seconds by default. Services are told.
    pub call_timeout: Duration,
    /// How long a server may be silent before it is asked for a sign of life; if none comes in the same time again, the
    /// connection is given up. 30 seconds by default.
    pub heartbeat: Duration,
    /// Bytes of an answer, at most: 16 MiB by default. One that is longer ends its connection.
    pub max_message_size: usize,
    /// Bytes that a compressed answer may become, at most: 64 MiB by default.
    pub max_decompressed_size: usize,
    /// Bytes of calls that wait to be sent on a connection, at most: 1 MiB by default. Further calls wait for room.
    pub max_unsent: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            codec: CodecId::MSGPACK,
            gzip: false,
            compressions: Compressions::default(),
            conns: 1,
            connect_timeout: Duration::from_secs(1),
            tls: None,
            call_timeout: Duration::from_secs(30),
            heartbeat: Duration::from_secs(30),
            max_message_size: 16 << 20,
            max_decompressed_size: 64 << 20,
            max_unsent: 1 << 20,
        }
    }
}

impl ClientConfig {
    fn frames(&self) -> Limits {
        Limits { message: self.max_message_size, metadata: self.max_message_size }
    }

    /// Those of HRPC.
    fn messages(&self) -> hemi_proto::hrpc::Limits {
        let Limits { message, metadata } = self.frames();
        hemi_proto::hrpc::Limits { message, metadata: metadata.min(64 << 10) }
    }

    fn compression(&self) -> Compression {
        if self.gzip { Compression::GZIP } else { Compression::NONE }
    }
}

/// A message that the server has sent without being asked.
#[derive(Clone, Debug)]
pub struct Push {
    /// The service that it names.
    pub service: String,
    /// The method that it names.
    pub method: String,
    /// What it says besides.
    pub metadata: Metadata,
    /// What its payload is written in: bytes, mostly.
    pub codec: CodecId,
    /// The payload.
    pub payload: Bytes,
}

/// Calls the services of one server. Clones share its connections, which are made when they are first needed, and again
/// when they were lost.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    slots: Box<[Slot]>,
    next: AtomicUsize,
    /// What calls with the usual timeout say about it.
    timeout: Metadata,
}

/// What the connections of a client share.
#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    config: ClientConfig,
    hrpc_compressions: Compressions,
    pushes: Option<mpsc::Sender<Push>>,
}

impl Push {
    fn new(
        service: &[u8],
        method: &[u8],
        metadata: Pairs<'_>,
        codec: CodecId,
        payload: Bytes,
    ) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (service, method) = (text(service), text(method));
        Self { service, method, metadata: metadata.into(), codec, payload }
    }
}

impl Shared {
    /// Gives a push to who takes them, if somebody does.
    fn push(&self, push: Push) {
        if let Some(pushes) = &self.pushes
            && pushes.try_send(push).is_err()
        {
            tracing::debug!("a push was lost: nobody takes those before it");
        }
    }
}

impl Client {
    /// A client of the server at this address: `"127.0.0.1:8972"`, `"host:8972"`, `"tcp@host:8972"`, `"http@host:8972"`
    /// for a way in by HTTP, the path of a Unix socket, or `"hrpc@host:8972"` for HRPC.
    ///
    /// # Errors
    /// When that is none.
    pub fn to(address: &str) -> Result<Self, BadEndpoint> {
        Ok(Self::new(address.parse()?, ClientConfig::default()))
    }

    /// A client of this server. It is used within a runtime of tokio.
    #[must_use]
    pub fn new(endpoint: Endpoint, config: ClientConfig) -> Self {
        Self::build(endpoint, config, None)
    }

    /// The same with what the server sends without being asked. While `waiting` messages wait to be received, further
    /// ones are lost.
    #[must_use]
    pub fn with_pushes(
        endpoint: Endpoint,
        config: ClientConfig,
        waiting: usize,
    ) -> (Self, mpsc::Receiver<Push>) {
        let (sender, receiver) = mpsc::channel(waiting.max(1));
        (Self::build(endpoint, config, Some(sender)), receiver)
    }

    fn build(endpoint: Endpoint, config: ClientConfig, pushes: Option<mpsc::Sender<Push>>) -> Self {
        let timeout = timeout_metadata(config.call_timeout);
        let slots = (0..config.conns.max(1)).map(|_| Slot::default()).collect();
        let hrpc_compressions = config.compressions.by_hrpc();
        let shared = Arc::new(Shared { endpoint, config, hrpc_compressions, pushes });
        Self(Arc::new(Inner { shared, slots, next: AtomicUsize::new(0), timeout }))
    }

    /// Whom it calls.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.shared.endpoint
    }

    /// Begins to ask for something: see [`Ask`].
    pub fn ask<'a>(&'a self, service: &'a str, method: &'a str) -> Ask<'a> {
        Ask::new(self, service, method)
    }

    /// Begins a call whose messages go both ways; it is one of gRPC.
    ///
    /// # Errors
    /// When it can't be sent: the server has not seen it.
    pub(crate) async fn open(
        &self,
        service: &str,
        method: &str,
        metadata: &Metadata,
        limit: Option<Duration>,
    ) -> Result<Pipe, RpcError> {
        let Line::Hrpc(conn) = self.conn().await? else { return Err(RpcError::Refused) };
        let (codec, compression, one_way) = (CodecId::PROTOBUF, Compression::NONE, false);
        let saying = Saying { service, method, metadata, codec, compression, limit, one_way };
        conn.open(&saying).await
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.0.shared.config
    }

    /// A connection, made now if need be.
    async fn conn(&self) -> Result<Line, RpcError> {
        let next = match &self.0.slots[..] {
            [_] => 0,
            slots => self.0.next.fetch_add(1, Ordering::Relaxed) % slots.len(),
        };
        self.0.slots[next].conn(&self.0.shared).await
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.slots.iter().for_each(Slot::close);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(self.endpoint()).finish()
    }
}

fn timeout_metadata(timeout: Duration) -> Metadata {
    let mut metadata = Metadata::new();
    metadata.set(TIMEOUT_KEY, timeout.as_millis().max(1).to_string());
    metadata
}
