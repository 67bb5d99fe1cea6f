//! Connections to a node, each shared by many calls.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong, Reason};
use hemi_core::tls::Link;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tonic::Status;
use tracing::debug;

use super::GrpcChannelConfig;
use super::body::{AnswerBody, Asked, Content, Pump, status_of};
use super::hrpc;
use crate::{Client, ClientConfig, CodecId, Endpoint};

/// Bytes of an answer that a node may send before they are taken,
const STREAM_WINDOW: u32 = 1 << 20;

/// and of all answers of a connection: the most there can be (RFC 9113, 6.9.1), so that those that nobody takes hold up no
/// others.
const CONN_WINDOW: u32 = i32::MAX as u32;

/// Calls under way on a connection, at most: for each there is room then. More have another one.
const MOST_CALLS: usize = (CONN_WINDOW / STREAM_WINDOW) as usize;

/// Bytes of metadata that a node may send.
const HEAD_SIZE: u32 = 64 << 10;

/// How long a connection is kept that is one too many.
const KEPT: Duration = Duration::from_secs(60);

/// How long a node is left alone that can't be connected to, at first and at most.
const LEFT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// What has become of a call.
pub(super) enum Sent {
    /// An answer has begun; the content of the request, if it can be sent again.
    Answered(http::Response<AnswerBody>, Option<Content>),
    /// Nobody can have seen it.
    Unseen(Status, Content),
    /// The connection was lost with it; the content, if it can be sent again.
    Lost(Status, Option<Content>),
}

/// A node.
pub(super) struct Node {
    address: String,
    endpoint: Endpoint,
    /// There if it is called by HRPC.
    hrpc: Option<Client>,
    slots: Box<[Slot]>,
    next: AtomicUsize,
    trouble: Mutex<Trouble>,
}

/// Until when a node is left alone, and how long it will be the next time.
struct Trouble {
    until: Option<Instant>,
    pause: Duration,
}

#[derive(Default)]
struct Slot {
    /// One, and more while that carries as many calls as it may.
    conns: Mutex<Vec<Conn>>,
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Conn {
    sender: SendRequest<Bytes>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    gone: AtomicBool,
    calls: AtomicUsize,
    used: Mutex<Instant>,
}

impl State {
    fn new() -> Self {
        Self { gone: false.into(), calls: 0.into(), used: Mutex::new(Instant::now()) }
    }
}

/// Counts a call as under way for as long as it is kept.
#[derive(Debug)]
pub(super) struct Busy(Arc<State>);

impl Busy {
    fn on(conn: &Conn) -> Self {
        conn.state.calls.fetch_add(1, Ordering::Relaxed);
        *lock(&conn.state.used) = Instant::now();
        Self(conn.state.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// None for an address that can't be called from here.
    pub(super) fn new(address: &str, config: &GrpcChannelConfig) -> Option<Self> {
        let endpoint = match address.parse() {
            Ok(endpoint @ (Endpoint::Tcp(_) | Endpoint::Unix(_) | Endpoint::Hrpc(_))) => endpoint,
            _ => {
                tracing::warn!("a node is left out: {address} is no address of gRPC");
                return None;
            }
        };
        Some(Self {
            address: address.to_owned(),
            hrpc: match endpoint {
                Endpoint::Hrpc(_) => Some(Client::new(
                    endpoint.clone(),
                    ClientConfig {
                        codec: CodecId::PROTOBUF,
                        conns: config.conns,
                        connect_timeout: config.connect_timeout,
                        tls: config.tls.clone(),
                        max_message_size: hrpc::LONGEST,
                        ..ClientConfig::default()
                    },
                )),
                _ => None,
            },
            endpoint,
            slots: (0..config.conns.max(1)).map(|_| Slot::default()).collect(),
            next: AtomicUsize::new(0),
            trouble: Mutex::new(Trouble { until: None, pause: LEFT.0 }),
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// What is asked for.
    pub(super) fn authority(&self) -> &str {
        match &self.endpoint {
            Endpoint::Tcp(address) | Endpoint::Http(address) | Endpoint::Hrpc(address) => address,
            Endpoint::Unix(_) => "localhost",
        }
    }

    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.left_until().is_none_or(|until| now >= until)
    }

    pub(super) fn left_until(&self) -> Option<Instant> {
        lock(&self.trouble).until
    }

    /// Sends a call, and waits for the head of its answer.
    pub(super) async fn send(&self, config: &GrpcChannelConfig, asked: Asked) -> Sent {
        if let Some(client) = &self.hrpc {
            let sent = hrpc::send(client, asked).await;
            self.note(!matches!(sent, Sent::Unseen(..)));
            return sent;
        }
        let Asked { head, content, until } = asked;
        let (conn, busy) = match self.conn(config).await {
            Ok(conn) => conn,
            Err(e) => {
                return Sent::Unseen(
                    Status::unavailable(format!("{}: {e}", self.address)),
                    content,
                );
            }
        };
        let mut sender = match conn.sender.clone().ready().await {
            Ok(sender) => sender,
            Err(e) => {
                conn.state.gone.store(true, Ordering::Relaxed);
                return Sent::Unseen(status_of(&e), content);
            }
        };
        let empty = matches!(&content, Content::Whole(bytes) if bytes.is_empty());
        let (answer, mut stream) = match sender.send_request(head, empty) {
            Ok(sent) => sent,
            Err(e) => {
                conn.state.gone.store(true, Ordering::Relaxed);
                return Sent::Unseen(status_of(&e), content);
            }
        };
        let (pumping, back) = match content {
            Content::Whole(bytes) => {
                if !bytes.is_empty() {
                    // If that fails, the answer tells why.
                    let _ = stream.send_data(bytes.clone(), true);
                }
                (None, Some(Content::Whole(bytes)))
            }
            Content::Streamed(first, body) => (Some(Pump::start(stream, first, body)), None),
        };
        match answer.await {
            Ok(answer) => {
                let answer = answer.map(|stream| AnswerBody::new(stream, pumping, until, busy));
                Sent::Answered(answer, back)
            }
            Err(e) => {
                let unseen = e.reason() == Some(Reason::REFUSED_STREAM) || is_unprocessed(&e);
                match back {
                    Some(content) if unseen => {
                        conn.state.gone.store(true, Ordering::Relaxed);
                        Sent::Unseen(status_of(&e), content)
                    }
                    back => Sent::Lost(status_of(&e), back),
                }
            }
        }
    }

    /// A connection that has room for a call, which counts as under way on it.
    async fn conn(&self, config: &GrpcChannelConfig) -> Result<(Conn, Busy), String> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        let slot = &self.slots[at];
        if let Some(found) = slot.find() {
            return Ok(found);
        }
        let waits = slot.connecting.try_lock().is_err();
        let _turn = slot.connecting.lock().await;
        if let Some(found) = slot.find() {
            return Ok(found);
        }
        // Who waited for it need not wait as long again.
        if waits && !self.is_ready(Instant::now()) {
            return Err("it could not be connected to a moment ago".to_owned());
        }
        let connected = match timeout(config.connect_timeout, self.connect(config)).await {
            Ok(connected) => connected.map_err(|e| e.to_string()),
            Err(_) => Err("connecting takes too long".to_owned()),
        };
        self.note(connected.is_ok());
        let conn = connected?;
        let busy = Busy::on(&conn);
        lock(&slot.conns).push(conn.clone());
        Ok((conn, busy))
    }

    /// It could be connected to, or is left alone for a while.
    fn note(&self, works: bool) {
        let mut trouble = lock(&self.trouble);
        let pause = trouble.pause;
        *trouble = if works {
            Trouble { until: None, pause: LEFT.0 }
        } else {
            Trouble { until: Some(Instant::now() + pause), pause: (pause * 2).min(LEFT.1) }
        };
    }

    async fn connect(&self, config: &GrpcChannelConfig) -> std::io::Result<Conn> {
        let link = self.endpoint.connect(config.tls.as_ref()).await?;
        if let Link::Tls(stream) = &link
            && stream.info().alpn.as_deref() != Some(b"h2")
        {
            return Err(std::io::Error::other("it does not speak HTTP/2"));
        }
        let handshake = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONN_WINDOW)
            .max_header_list_size(HEAD_SIZE)
            .handshake::<_, Bytes>(link);
        let (sender, mut connection) = handshake.await.map_err(std::io::Error::other)?;
        let (pings, state) = (connection.ping_pong(), Arc::new(State::new()));
        let (own, node, keepalive) = (state.clone(), self.address.clone(), config.keepalive);
        let (knows, known) = oneshot::channel();
        // Is over when nobody holds the connection any more, or the node has closed it.
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => {
                    if let Err(e) = ended {
                        debug!(%node, "connection lost: {e}");
                    }
                }
                () = silent(pings, knows, keepalive, &own) => debug!(%node, "it gives no sign of life"),
            }
            own.gone.store(true, Ordering::Relaxed);
        });
        let lost = |_| std::io::Error::other("it does not speak HTTP/2");
        known.await.map_err(lost)?;
        Ok(Conn { sender, state })
    }
}

/// Is over when a node with calls under way does not answer. Who answers the first time has told before how many calls it
/// takes.
async fn silent(
    pings: Option<PingPong>,
    knows: oneshot::Sender<()>,
    (each, within): (Duration, Duration),
    state: &State,
) {
    let Some(mut pings) = pings else { return };
    if pings.ping(Ping::opaque()).await.is_err() {
        return;
    }
    let _ = knows.send(());
    if each.is_zero() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(each).await;
        if state.calls.load(Ordering::Relaxed) > 0
            && !matches!(timeout(within, pings.ping(Ping::opaque())).await, Ok(Ok(_)))
        {
            return;
        }
    }
}

/// Whether the server has said that it has not looked at the stream.
fn is_unprocessed(e: &h2::Error) -> bool {
    e.is_go_away() && e.is_remote() && e.reason() == Some(Reason::NO_ERROR)
}

impl Slot {
    /// The first connection that has room.
    fn find(&self) -> Option<(Conn, Busy)> {
        let mut conns = lock(&self.conns);
        let mut first = true;
        conns.retain(|conn| {
            let idle = conn.state.calls.load(Ordering::Relaxed) == 0
                && lock(&conn.state.used).elapsed() > KEPT;
            let kept = !conn.state.gone.load(Ordering::Relaxed) && (first || !idle);
            first &= !kept;
            kept
        });
        let conn = conns.iter().find(|conn| {
            let room = conn.sender.current_max_send_streams().min(MOST_CALLS);
            conn.state.calls.load(Ordering::Relaxed) < room
        })?;
        Some((conn.clone(), Busy::on(conn)))
    }
}
