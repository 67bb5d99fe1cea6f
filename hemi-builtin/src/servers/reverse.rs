//! The server `reverseServer`: serves through another server, which it connects to, where it can't be connected to itself.
//!
//! ```gorox
//! stage {
//! 	tcpxBackend "local" { node { .address = "127.0.0.1:3080" } }
//! 	reverseServer "edge" {
//! 		.toServer = "https://edge.test/tunnel"
//! 		.token = "a token that nobody guesses"
//! 		.toBackend = "local"
//! 	}
//! }
//! ```
//!
//! At the other end stands a `reverseTunnel`. What comes to that is passed on to the nodes of the backend, whatever is
//! spoken: many connections at once, as streams of the one that is made from here. When that is lost another one is made,
//! after a pause that gets longer with each time that it fails, and is never the same for two servers.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use hemi_core::backend::By;
use hemi_core::client::{Client, ClientError, ClientLimits, Switched};
use hemi_core::clock;
use hemi_core::config::{HttpUrl, Ref, Secret, Spanned};
use hemi_core::cores::Counter;
use hemi_core::io::{Foreign, Io, Outbox, Relay, Relayed};
use hemi_core::metrics::Measures;
use hemi_core::server::Server;
use hemi_core::tls::ConnectorConfig;
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Prepare, Result, Run, Shut};
use hemi_net::{Dialed, Opening, TcpxBackend, TcpxBackendKind};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::proxying::Counters;
use crate::reverse::{AGAIN, CONN_WINDOW, GIVEN_UP, Noted, PROTOCOL, STREAM_WINDOW, Stream, watch};

/// A tunnel that has lasted for so long was no failure.
const LASTING: Duration = Duration::from_secs(1);

/// Bytes of the head of a stream, at most.
const HEAD: u32 = 8 << 10;

/// How long the other end may take to begin with HTTP/2.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves through another server.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct ReverseConfig {
    /// Where the other server has its `reverseTunnel`, such as `"https://edge.test/tunnel"`.
    to_server: HttpUrl,
    /// The token that it knows this server by.
    #[serde(default)]
    token: Option<Spanned<Secret>>,
    /// The backend that connections are passed on to.
    to_backend: Ref<TcpxBackendKind>,
    /// Tunnels that there are at once: each is a connection of its own.
    #[serde(default = "one")]
    tunnels: usize,
    /// Connections that each of them carries at once, at most.
    #[serde(default = "one_thousand")]
    max_conns: u32,
    /// How long connecting to the other server may take, until it has agreed.
    #[serde(default = "ten_seconds")]
    connect_timeout: Duration,
    /// How long to pause before connecting again after a failure; twice as long after each further one.
    #[serde(default = "half_a_second")]
    retry_delay: Duration,
    /// How long to pause at the most.
    #[serde(default = "thirty_seconds")]
    max_retry_delay: Duration,
    /// After which time the other server is asked, again and again, whether it is still there; 0s for never.
    #[serde(default = "fifteen_seconds")]
    tunnel_keep_alive: Duration,
    /// How long nothing may pass either way of a connection.
    #[serde(default = "ten_minutes")]
    idle_timeout: Duration,
}

fn one() -> usize {
    1
}

fn one_thousand() -> u32 {
    1000
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn half_a_second() -> Duration {
    Duration::from_millis(500)
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

fn fifteen_seconds() -> Duration {
    Duration::from_secs(15)
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

/// Serves through another server.
pub struct ReverseServer {
    tunnels: usize,
    shared: Arc<Shared>,
}

/// What all tunnels share.
struct Shared {
    client: Client,
    login: HeaderMap,
    backend: Arc<TcpxBackend>,
    most: u32,
    retry: (Duration, Duration),
    keep_alive: Duration,
    idle: Duration,
    /// Connections carried now.
    active: AtomicUsize,
    /// Tunnels that there are now.
    open: AtomicUsize,
    lost: Counter,
    counters: Arc<Counters>,
}

impl Component for ReverseServer {
    const SIGN: &'static str = "reverseServer";
    type Config = (ReverseConfig, ConnectorConfig);

    fn create((config, tls): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let limits = ClientLimits {
            connect: config.connect_timeout,
            total: config.connect_timeout,
            content: 0,
            kept: 0,
        };
        let mut login = HeaderMap::new();
        if let Some(token) = &config.token {
            let bearer = HeaderValue::try_from(format!("Bearer {}", token.value.expose()));
            let message = "a token has no bytes that a field can't have";
            let mut bearer = bearer.map_err(|_| Error::config(token.span, message))?;
            bearer.set_sensitive(true);
            login.insert(AUTHORIZATION, bearer);
        }
        let cores = cx.cores();
        let shared = Shared {
            client: Client::new(config.to_server, limits, tls, cx)?,
            login,
            backend: cx.follow(&config.to_backend)?,
            most: config.max_conns,
            retry: (config.retry_delay, config.max_retry_delay),
            keep_alive: config.tunnel_keep_alive,
            idle: config.idle_timeout,
            active: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            lost: (*cx.keep(|| Counter::new(cores))).clone(),
            counters: cx.keep(|| Counters::new(cores)),
        };
        Ok(Self { tunnels: config.tunnels.max(1), shared: Arc::new(shared) })
    }
}

impl Lifecycle for ReverseServer {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        self.shared.client.prepare()
    }

    async fn run(&self, cx: &Run) {
        let each = (0..self.tunnels).map(|nth| {
            let (shared, shut, stop) = (self.shared.clone(), cx.shut().clone(), cx.stop().clone());
            cx.cores().spawn(nth, shared.keep(shut, stop))
        });
        for ended in each.collect::<Vec<_>>() {
            let _ = ended.await;
        }
    }

    fn measure(&self, out: &mut Measures) {
        let Shared { open, lost, counters, .. } = &*self.shared;
        let help = "Reverse tunnels that there are.";
        out.gauge("hemi_reverse_tunnels", help, &[], open.load(Ordering::Relaxed) as u64);
        let help = "Connections served now.";
        out.gauge("hemi_server_conns_active", help, &[], self.active() as u64);
        let help = "Tunnels that were lost, or could not be opened.";
        out.counter("hemi_reverse_tunnels_lost", help, &[], lost.sum());
        counters.measure(out);
    }
}

impl Server for ReverseServer {
    fn active(&self) -> usize {
        self.shared.active.load(Ordering::Relaxed)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let Shared { open, lost, counters, .. } = &*self.shared;
        let open = open.load(Ordering::Relaxed) as u64;
        let own = [("tunnels_open", open), ("tunnels_lost", lost.sum())];
        own.into_iter().chain(counters.named()).collect()
    }
}

impl Shared {
    /// Has a tunnel be there, until the stage ends.
    async fn keep(self: Arc<Self>, shut: Shut, stop: Shut) {
        let (mut serving, mut failures) = (JoinSet::new(), 0);
        loop {
            let began = clock::now();
            let dialed = tokio::select! {
                biased;
                () = shut.cancelled() => break,
                dialed = self.client.switch(PROTOCOL, self.login.clone()) => dialed,
            };
            let is_lost = match dialed {
                Ok(conn) => {
                    let (again, asked) = oneshot::channel();
                    serving.spawn(self.clone().serve(conn, again, shut.clone()));
                    tokio::select! {
                        biased;
                        () = shut.cancelled() => break,
                        asked = asked => asked.is_err(),
                    }
                }
                Err(e) => {
                    warn!(server = %self.client.url().as_str(), "no tunnel: {}", told(&e));
                    true
                }
            };
            self.lost.add(u64::from(is_lost));
            let lasted = clock::now().since(began) >= LASTING;
            failures = if lasted { 0 } else { failures + 1 };
            if is_lost || failures > 1 {
                let pause = sleep(pause(failures, self.retry));
                tokio::select! {
                    () = shut.cancelled() => break,
                    () = pause => {}
                }
            }
            while serving.try_join_next().is_some() {}
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = async { while serving.join_next().await.is_some() {} } => {}
        }
    }

    /// Serves by a connection until it is lost, or the stage ends and so does what it carries; tells if the other
    /// end wants another one, for this one will not last.
    async fn serve(self: Arc<Self>, conn: Switched, again: oneshot::Sender<()>, shut: Shut) {
        let conn = Noted::new(conn);
        let line = conn.line();
        let handshake = Builder::new()
            .max_concurrent_streams(self.most)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONN_WINDOW)
            .max_concurrent_reset_streams(GIVEN_UP)
            .max_local_error_reset_streams(None)
            .max_header_list_size(HEAD)
            .handshake::<_, Bytes>(conn);
        let server = self.client.url().as_str();
        let shaken = tokio::select! {
            () = shut.cancelled() => return,
            shaken = timeout(HANDSHAKE, handshake) => shaken,
        };
        let mut conn = match shaken {
            Ok(Ok(conn)) => conn,
            Ok(Err(e)) => return warn!(%server, "no tunnel: {e}"),
            Err(_) => return warn!(%server, "no tunnel: the server is silent"),
        };
        info!(%server, "a tunnel is open");
        let _open = One::of(&self, |shared| &shared.open);
        let mut watch = std::pin::pin!(watch(conn.ping_pong(), line, self.keep_alive));
        let (mut streams, mut again, mut ends) = (JoinSet::new(), Some(again), false);
        loop {
            tokio::select! {
                accepted = conn.accept() => match accepted {
                    Some(Ok((request, respond))) => {
                        self.take((request, respond), &mut streams, &mut again, &shut);
                    }
                    Some(Err(e)) => return info!(%server, "the tunnel is lost: {e}"),
                    None => return info!(%server, "the tunnel has ended"),
                },
                () = &mut watch => return info!(%server, "the tunnel is lost: the server is silent"),
                () = shut.cancelled(), if !ends => {
                    ends = true;
                    conn.graceful_shutdown();
                }
                Some(_) = streams.join_next() => {}
            }
        }
    }

    /// Takes a stream.
    fn take(
        self: &Arc<Self>,
        (request, mut respond): (Request<RecvStream>, SendResponse<Bytes>),
        streams: &mut JoinSet<()>,
        again: &mut Option<oneshot::Sender<()>>,
        shut: &Shut,
    ) {
        if request.method() == Method::CONNECT {
            streams.spawn(self.clone().carry(request.into_body(), respond, shut.clone()));
            return;
        }
        let status = match request.uri().path() {
            AGAIN => {
                let _ = again.take().map(|again| again.send(()));
                StatusCode::NO_CONTENT
            }
            _ => StatusCode::NOT_FOUND,
        };
        // Who is gone needs no answer.
        let _ = respond.send_response(answer(status), true);
    }

    /// Passes on what comes by a stream. Once `shut` has fired it is over when the node has ended: clients that keep
    /// connections for later do not look at them.
    async fn carry(
        self: Arc<Self>,
        content: RecvStream,
        mut respond: SendResponse<Bytes>,
        shut: Shut,
    ) {
        let _active = One::of(&self, |shared| &shared.active);
        let Ok(dialed) = self.backend.dial(&By::default(), &Opening::AsIs).await else {
            self.counters.denied.add(1);
            let _ = respond.send_response(answer(StatusCode::BAD_GATEWAY), true);
            return;
        };
        let Ok(sending) = respond.send_response(answer(StatusCode::OK), false) else { return };
        let ended = Shut::new();
        let mut stream = Noticed(Foreign(Stream::new(sending, content)), ended.clone());
        let mut uncut = Uncut { dialed, whole: false };
        let (mut passed, link) = (Relayed::default(), &mut uncut.dialed.link);
        let ended = tokio::select! {
            biased;
            done = Relay::new(self.idle).run(&mut stream, link, Bytes::new(), &mut passed) => done,
            () = async { tokio::join!(shut.cancelled(), ended.cancelled()); } => Ok(()),
        };
        self.counters.passed(passed);
        match ended {
            Ok(()) => uncut.whole = true,
            Err(e) => debug!(node = %uncut.dialed.target, "what a tunnel carries is cut off: {e}"),
        }
    }
}

/// A connection to a node, which is reset when it is dropped before all has passed: it must not look whole.
struct Uncut {
    dialed: Dialed,
    whole: bool,
}

impl Drop for Uncut {
    fn drop(&mut self) {
        if !self.whole {
            self.dialed.link.reset();
        }
    }
}

/// A stream whose end is noticed, when all before it is sent.
struct Noticed(Foreign<Stream>, Shut);

impl Io for Noticed {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.0.poll_recv(cx, buf)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<io::Result<()>> {
        self.0.poll_send(cx, out)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.1.cancel();
        self.0.shutdown()
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

fn answer(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response
}

/// What the operator is told.
fn told(error: &ClientError) -> String {
    match error {
        ClientError::Refused(StatusCode::UNAUTHORIZED) => {
            "the server does not know the token, or wants a certificate".to_owned()
        }
        other => other.to_string(),
    }
}

/// How long to pause after so many failures in a row: from a half of it to all.
fn pause(failures: u32, (first, most): (Duration, Duration)) -> Duration {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most);
    let share = RandomState::new().hash_one(()) >> 32;
    doubled.mul_f64(0.5 + share as f64 / f64::from(u32::MAX) / 2.0)
}

/// One of what is counted, until this is dropped.
struct One(Arc<Shared>, fn(&Shared) -> &AtomicUsize);

impl One {
    fn of(shared: &Arc<Shared>, what: fn(&Shared) -> &AtomicUsize) -> Self {
        what(shared).fetch_add(1, Ordering::Relaxed);
        Self(shared.clone(), what)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.1(&self.0).fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for ReverseServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReverseServer").field("tunnels", &self.tunnels).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_get_longer_and_are_never_the_same() {
        let retry = (Duration::from_millis(500), Duration::from_secs(30));
        for (failures, most) in
            [(0, 500), (1, 500), (2, 1000), (4, 4000), (7, 30_000), (99, 30_000)]
        {
            let most = Duration::from_millis(most);
            let pauses: Vec<_> = (0..50).map(|_| pause(failures, retry)).collect();
            assert!(pauses.iter().all(|pause| *pause >= most / 2 && *pause <= most), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }
}
