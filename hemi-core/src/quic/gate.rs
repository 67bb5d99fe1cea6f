//! Accepting connections of QUIC for one server: as [`crate::gate::Gate`] does for those of TCP.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use quinn::{Connecting, Connection, Incoming, ServerConfig};
use tokio::time::timeout;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, warn};

use super::{Endpoints, Entered, QuicConfig, QuicCrypto};
use crate::gate::{GateConfig, GateCounters, State, Ticket, affordable_conns};
use crate::listen::{Address, Peer};
use crate::metrics::Measures;
use crate::stage::Run;
use crate::{Error, Prepare, Result};

/// The accepting side of one server.
#[derive(Debug)]
pub struct QuicGate {
    address: SocketAddr,
    endpoints: Mutex<Option<(Entered, TaskTrackerToken)>>,
    accepting: Arc<Accepting>,
}

/// A connection, just accepted. The server counts it until the ticket is dropped.
#[derive(Debug)]
pub struct QuicAccepted {
    /// The connection: its handshake is over, unless early data is allowed.
    pub conn: Connection,
    /// Its other end, as of now.
    pub peer: Peer,
    /// Its place in the server's count.
    pub ticket: Ticket,
}

/// What the loops of all cores share.
#[derive(Debug)]
struct Accepting {
    limits: GateConfig,
    quic: QuicConfig,
    crypto: QuicCrypto,
    config: Arc<ServerConfig>,
    state: Arc<State>,
    half_open: Arc<AtomicUsize>,
}

/// A handshake that is under way.
struct HalfOpen(Arc<AtomicUsize>);

impl HalfOpen {
    fn new(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all.clone())
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl QuicGate {
    /// Binds the address, or takes over the endpoints that an earlier stage has; counts into `counters`,
    /// which [`crate::CreateCx::keep`] carries over reloads.
    ///
    /// # Errors
    /// When the address is that of a Unix socket, or can't be bound.
    pub fn open(
        cx: &Prepare<'_>,
        address: &Address,
        limits: &GateConfig,
        quic: &QuicConfig,
        crypto: QuicCrypto,
        counters: Arc<GateCounters>,
    ) -> Result<Self> {
        let Address::Tcp(address) = *address else {
            return Err(Error::other(format!("QUIC needs an IP address, {address} is none")));
        };
        let endpoints = cx.listeners().open_quic(address, cx.cores())?;
        let mut limits = limits.clone();
        if limits.max_conns == 0 {
            limits.max_conns = affordable_conns();
        }
        let config = Arc::new(quic.server_config(&crypto, endpoints.token_key()));
        let (quic, state) = (quic.clone(), Arc::new(State::new(counters)));
        let accepting =
            Accepting { limits, quic, crypto, config, state, half_open: Arc::default() };
        Ok(Self {
            address: endpoints.address(),
            endpoints: Mutex::new(Some((Entered::new(endpoints), cx.stage().accepting()))),
            accepting: Arc::new(accepting),
        })
    }

    /// Where it listens: with the port the kernel chose, if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections served now.
    #[must_use]
    pub fn active(&self) -> usize {
        self.accepting.state.active()
    }

    /// Tells what it counts, for the server it accepts for.
    pub fn measure(&self, out: &mut Measures) {
        let help = "Connections of QUIC served now.";
        out.gauge("hemi_server_quic_conns_active", help, &[], self.active() as u64);
        let help = "Handshakes of QUIC under way.";
        let half_open = self.accepting.half_open.load(Ordering::Relaxed) as u64;
        out.gauge("hemi_server_quic_half_open", help, &[], half_open);
    }

    /// Accepts on every core, each connection served by the future that `serve` makes, until the stage is
    /// told to end; then lets connections finish, until the stage's deadline.
    pub async fn run<F, Fut>(&self, run: &Run, serve: F)
    where
        F: Fn(QuicAccepted) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let taken = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((entered, token)) = taken else { return };
        let loops: Vec<_> = (0..entered.0.count())
            .map(|core| {
                let (accepting, endpoints) = (self.accepting.clone(), entered.0.clone());
                let (shut, serve) = (run.shut().clone(), serve.clone());
                run.cores().spawn(core, async move {
                    let all = accepting.accept_all(core, &endpoints, &serve);
                    tokio::select! {
                        biased;
                        () = shut.cancelled() => accepting.accept_queued(core, &endpoints, &serve),
                        ended = all => match ended {
                            Ok(()) => shut.cancelled().await,
                            Err(e) => warn!(address = %endpoints.address(), "no QUIC: {e}"),
                        },
                    }
                })
            })
            .collect();
        for ended in loops {
            let _ = ended.await;
        }
        // They close with the last connection, unless another stage has them.
        drop((entered, token));
        self.accepting.state.drain(run).await;
    }
}

impl Accepting {
    async fn accept_all<F, Fut>(
        &self,
        core: usize,
        endpoints: &Arc<Endpoints>,
        serve: &F,
    ) -> io::Result<()>
    where
        F: Fn(QuicAccepted) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (endpoint, followed) = endpoints.open(core, &self.config)?;
        loop {
            tokio::select! {
                biased;
                () = followed.cancelled() => return Ok(()),
                incoming = endpoint.accept() => match incoming {
                    Some(incoming) => self.accept(incoming, endpoints, serve),
                    None => return Err(io::Error::other("the endpoint has closed")),
                },
            }
        }
    }

    /// Accepts what has come by now: its first datagrams come to nobody else.
    fn accept_queued<F, Fut>(&self, core: usize, endpoints: &Arc<Endpoints>, serve: &F)
    where
        F: Fn(QuicAccepted) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let Some(endpoint) = endpoints.made(core) else { return };
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(incoming)) = pin!(endpoint.accept()).poll(&mut cx) {
            self.accept(incoming, endpoints, serve);
        }
    }

    fn accept<F, Fut>(&self, incoming: Incoming, endpoints: &Arc<Endpoints>, serve: &F)
    where
        F: Fn(QuicAccepted) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let half_open = self.half_open.load(Ordering::Relaxed);
        if half_open >= self.quic.quic_retry_above && !incoming.remote_address_validated() {
            // It fails for those only that were told to retry before.
            let _ = incoming.retry();
            return;
        }
        let Some(ticket) = self.admit(incoming.remote_address()) else {
            incoming.refuse();
            return;
        };
        let connecting = match incoming.accept_with(self.config.clone()) {
            Ok(connecting) => connecting,
            Err(e) => return debug!("no handshake: {e}"),
        };
        let handshake = Handshake {
            connecting,
            ticket,
            half_open: HalfOpen::new(&self.half_open),
            limit: self.quic.quic_handshake_timeout,
        };
        let early_data = self.quic.quic_early_data.then(|| self.crypto.clone());
        let serve = serve.clone();
        // Whatever stages do, the endpoints are kept for as long as the connection lasts.
        let endpoints = endpoints.clone();
        tokio::spawn(async move {
            match early_data {
                Some(crypto) => handshake.serve_early(&crypto, serve).await,
                None => handshake.serve(serve).await,
            }
            drop(endpoints);
        });
    }

    fn admit(&self, from: SocketAddr) -> Option<Ticket> {
        if self.state.active() >= self.limits.max_conns {
            self.state.counters().full.add(1);
            debug!(limit = "conns_full", "limit hit");
            return None;
        }
        self.state.admit(&peer_of(from), self.limits.max_conns_per_source)
    }
}

/// A connection that is not established yet.
struct Handshake {
    connecting: Connecting,
    ticket: Ticket,
    half_open: HalfOpen,
    limit: Duration,
}

impl Handshake {
    async fn serve<Fut: Future<Output = ()>>(self, serve: impl Fn(QuicAccepted) -> Fut) {
        let Self { connecting, ticket, half_open, limit } = self;
        match timeout(limit, connecting).await {
            Ok(Ok(conn)) => {
                drop(half_open);
                let peer = peer_of(conn.remote_address());
                serve(QuicAccepted { conn, peer, ticket }).await;
            }
            Ok(Err(e)) => debug!("handshake failed: {e}"),
            Err(_) => debug!(limit = "quic_handshake_timeout", "limit hit"),
        }
    }

    /// The same, but what the client sends before its handshake is over is served already.
    async fn serve_early<Fut: Future<Output = ()>>(
        mut self,
        crypto: &QuicCrypto,
        serve: impl Fn(QuicAccepted) -> Fut,
    ) {
        // The name that the client asks for has to be known, and its certificate where one is asked for.
        let asks = match timeout(self.limit, self.connecting.handshake_data()).await {
            Ok(Ok(asked)) => crypto.asks(asked),
            _ => return,
        };
        if asks {
            return self.serve(serve).await;
        }
        let Self { connecting, ticket, half_open, limit } = self;
        // A server can always.
        let Ok((conn, done)) = connecting.into_0rtt() else { return };
        let peer = peer_of(conn.remote_address());
        let watched = conn.clone();
        let watch = async move {
            if timeout(limit, done).await.is_err() {
                watched.close(0u32.into(), b"");
            }
            drop(half_open);
        };
        tokio::join!(serve(QuicAccepted { conn, peer, ticket }), watch);
    }
}

fn peer_of(mut address: SocketAddr) -> Peer {
    address.set_ip(address.ip().to_canonical());
    Peer::Tcp(address)
}
