//! One call, as it is made.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::clock;
use hemi_proto::rpcx::{AUTH_KEY, CodecId, Compression, Head, Metadata, Mode, Open, TIMEOUT_KEY};
use tokio::time::timeout;

use super::Client;
use super::conn::{Answer, Conn, Seq, Then};
use super::dial::Line;
use super::hrpc::{Saying, Written};
use crate::rpc_error::Failure;
use crate::{Cluster, Payload, RpcError};

/// A call that is being put together.
#[must_use = "it is made by `call` or `send`"]
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    client: &'a Client,
    service: &'a str,
    method: &'a str,
    metadata: Metadata,
    codec: CodecId,
    compression: Compression,
    timeout: Option<Duration>,
}

/// What is said of a call besides its argument.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) metadata: Metadata,
    pub(crate) codec: Option<CodecId>,
    pub(crate) timeout: Option<Duration>,
}

impl<'a> Ask<'a> {
    pub(super) fn new(client: &'a Client, service: &'a str, method: &'a str) -> Self {
        let config = client.config();
        let (codec, compression) = (config.codec, config.compression());
        let metadata = Metadata::new();
        Self { client, service, method, metadata, codec, compression, timeout: None }
    }

    pub(crate) fn with(self, options: Options) -> Self {
        let Options { metadata, codec, timeout } = options;
        Self { metadata, codec: codec.unwrap_or(self.codec), timeout, ..self }
    }

    /// Says something besides.
    pub fn metadata(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.metadata.set(key, value);
        self
    }

    /// Shows a token, such as `Bearer …`.
    pub fn token(self, token: &str) -> Self {
        self.metadata(AUTH_KEY, token)
    }

    /// Writes the argument in this, and is answered in it.
    pub fn codec(mut self, codec: CodecId) -> Self {
        self.codec = codec;
        self
    }

    /// Sends a large argument in gzip, and is answered so.
    pub fn gzip(mut self) -> Self {
        self.compression = Compression::GZIP;
        self
    }

    /// The same by another number, from 2 to 7, as [`ClientConfig::compressions`](crate::ClientConfig::compressions) has it; by HRPC 2 is
    /// zstd and 3 is snappy. A large argument is sent as it is by a number that has no meaning.
    pub fn compressed(mut self, number: u8) -> Self {
        self.compression = Compression::new(number).unwrap_or_default();
        self
    }

    /// Waits no longer than this for the answer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes the call, and waits for the reply.
    ///
    /// # Errors
    /// When it fails there, or can't be asked.
    pub async fn call<A: Payload, R: Payload>(self, args: &A) -> Result<R, RpcError> {
        self.answer(args).await.map(|(reply, _)| reply)
    }

    /// The same with what is said besides the reply.
    ///
    /// # Errors
    /// When it fails there, or can't be asked.
    pub async fn answer<A: Payload, R: Payload>(self, args: &A) -> Result<(R, Metadata), RpcError> {
        let limit = self.timeout.unwrap_or(self.client.config().call_timeout);
        let until = clock::now().after(limit);
        let answer = match self.client.conn().await? {
            Line::Rpcx(conn) => {
                let seq = self.begin(&conn, args, Mode::Call, Then::Wait(until), limit).await?;
                let mut waiting = Waiting { conn: &conn, seq, answered: false };
                let answer = poll_fn(|cx| conn.poll_answer(cx, seq)).await;
                waiting.answered = true;
                answer
            }
            Line::Hrpc(conn) => match conn.call(self.written(args, limit, false)?, until).await {
                // It was about to end: there may be another server by now.
                Err(RpcError::Refused) if conn.is_over() => match self.client.conn().await? {
                    Line::Hrpc(conn) => conn.call(self.written(args, limit, false)?, until).await,
                    Line::Rpcx(_) => Err(RpcError::Refused),
                },
                answer => answer,
            },
        };
        let Answer { failed, code, codec, metadata, payload } = answer?;
        if failed {
            return Err(RpcError::Failed(Arc::new(Failure { code, codec, metadata, payload })));
        }
        let reply = R::decode(codec, &payload).map_err(RpcError::Unreadable)?;
        Ok((reply, metadata))
    }

    /// Makes the call, and wants no answer: it is not told either whether there is such a service.
    ///
    /// # Errors
    /// When it can't be sent.
    pub async fn send<A: Payload>(self, args: &A) -> Result<(), RpcError> {
        let limit = self.timeout.unwrap_or(self.client.config().call_timeout);
        match self.client.conn().await? {
            Line::Rpcx(conn) => {
                self.begin(&conn, args, Mode::OneWay, Then::Forget, limit).await.map(|_| ())
            }
            Line::Hrpc(conn) => {
                let until = clock::now().after(limit);
                conn.send(self.written(args, limit, true)?, until).await
            }
        }
    }

    /// The call as HRPC has it.
    fn written<A: Payload>(
        &self,
        args: &A,
        limit: Duration,
        one_way: bool,
    ) -> Result<Written, RpcError> {
        let &Self { service, method, codec, compression, .. } = self;
        let (metadata, limit) = (&self.metadata, Some(limit));
        let saying = Saying { service, method, metadata, codec, compression, limit, one_way };
        let compressions = &self.client.0.shared.hrpc_compressions;
        Written::new(&saying, args, compressions).map_err(RpcError::Unwritable)
    }

    async fn begin<A: Payload>(
        &self,
        conn: &Conn,
        args: &A,
        mode: Mode,
        then: Then,
        limit: Duration,
    ) -> Result<Seq, RpcError> {
        let own;
        let metadata = if self.metadata.is_empty() && self.timeout.is_none() {
            &self.client.0.timeout
        } else {
            let mut all = self.metadata.clone();
            all.set(TIMEOUT_KEY, limit.as_millis().max(1).to_string());
            own = all;
            &own
        };
        let mut write = |seq: Seq, out: &mut BytesMut| {
            let (codec, compression) = (self.codec, Compression::NONE);
            let head = Head { version: 0, mode, compression, codec, seq: seq.0 };
            let (service, method) = (self.service.as_bytes(), self.method.as_bytes());
            let open = Open::begin(out, &head, service, method, metadata.pairs());
            match args.encode(codec, out) {
                Ok(()) => {
                    let compressions = &self.client.config().compressions;
                    let compress = |payload: &[u8]| compressions.pack(self.compression, payload);
                    open.end_by(out, self.compression, compress);
                }
                Err(e) => {
                    open.cancel(out);
                    return Err(e);
                }
            }
            Ok(())
        };
        let mut began = poll_fn(|cx| Poll::Ready(conn.poll_begin(cx, then, &mut write))).await;
        if began.is_pending() {
            let room = poll_fn(|cx| conn.poll_begin(cx, then, &mut write));
            began = Poll::Ready(timeout(limit, room).await.map_err(|_| RpcError::TimedOut)?);
        }
        match began {
            Poll::Ready(began) => began,
            Poll::Pending => Err(RpcError::TimedOut),
        }
    }
}

/// Has a call forgotten that nobody waits for any more.
struct Waiting<'a> {
    conn: &'a Conn,
    seq: Seq,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.conn.forget(self.seq);
        }
    }
}

/// By whom a service is called.
#[derive(Clone, Debug)]
pub enum Via {
    /// One server.
    Client(Client),
    /// One of several.
    Cluster(Cluster),
}

impl From<Client> for Via {
    fn from(client: Client) -> Self {
        Self::Client(client)
    }
}

impl From<Cluster> for Via {
    fn from(cluster: Cluster) -> Self {
        Self::Cluster(cluster)
    }
}

/// A service elsewhere, with what is the same for all calls of it.
#[derive(Clone, Debug)]
pub struct Remote {
    via: Via,
    service: Arc<str>,
    options: Options,
}

impl Remote {
    /// The service of this name.
    pub fn new(via: impl Into<Via>, service: &str) -> Self {
        Self { via: via.into(), service: service.into(), options: Options::default() }
    }

    /// Says something besides in all calls.
    #[must_use]
    pub fn metadata(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.options.metadata.set(key, value);
        self
    }

    /// Writes arguments in this.
    #[must_use]
    pub fn codec(mut self, codec: CodecId) -> Self {
        self.options.codec = Some(codec);
        self
    }

    /// Waits no longer than this for answers.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// Calls a method.
    ///
    /// # Errors
    /// When it fails there, or can't be asked.
    pub async fn call<A: Payload, R: Payload>(
        &self,
        method: &str,
        args: &A,
    ) -> Result<R, RpcError> {
        let options = self.options.clone();
        match &self.via {
            Via::Client(client) => client.ask(&self.service, method).with(options).call(args).await,
            Via::Cluster(cluster) => {
                cluster.ask(&self.service, method).with(options).call(args).await
            }
        }
    }
}
