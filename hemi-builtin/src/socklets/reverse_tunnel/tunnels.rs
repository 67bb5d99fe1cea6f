//! The tunnels that there are, and which of them carries what.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use hemi_core::listen::Peer;
use hemi_core::metrics::Measures;
use hemi_web::Upgraded;
use http::{Request, StatusCode};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{debug, info};

use crate::reverse::{AGAIN, CONN_WINDOW, GIVEN_UP, Noted, STREAM_WINDOW, Stream, watch};
use crate::servers::proxying::Counters;

/// Whom streams are asked for: the other end has one place only that they go to.
const AUTHORITY: &str = "tunnel:0";

/// All that there are. They outlive reloads.
#[derive(Debug)]
pub(super) struct Tunnels {
    known: Mutex<Vec<Arc<Tunnel>>>,
    came: Notify,
    pub(super) counters: Counters,
}

/// One of them.
#[derive(Debug)]
struct Tunnel {
    sender: SendRequest<Bytes>,
    /// Connections that it carries, or is to.
    carried: AtomicUsize,
    /// Whether another one will take its place.
    leaves: AtomicBool,
    /// Told when it carries nothing any more.
    idle: Notify,
}

/// A connection that a tunnel carries, until this is dropped.
#[derive(Debug)]
pub(super) struct Carried(Arc<Tunnel>);

/// A tunnel that is known, until this is dropped.
struct Known(Arc<Tunnels>, Arc<Tunnel>);

/// Why there is no stream.
enum NoStream {
    /// The tunnel has ended, or will.
    Gone,
    /// The server behind it does not take the connection.
    Refused,
}

impl Tunnels {
    pub(super) fn new(cores: usize) -> Self {
        Self { known: Mutex::default(), came: Notify::new(), counters: Counters::new(cores) }
    }

    pub(super) fn count(&self) -> usize {
        self.known().len()
    }

    pub(super) fn measure(&self, out: &mut Measures) {
        let help = "Reverse tunnels that there are.";
        out.gauge("hemi_reverse_tunnels", help, &[], self.count() as u64);
        self.counters.measure(out);
    }

    /// Has a connection be a tunnel, for as long as its other end is there.
    pub(super) async fn keep(self: &Arc<Self>, conn: Upgraded, peer: Peer, keep_alive: Duration) {
        let (draining, conn) = (conn.draining(), Noted::new(conn));
        let line = conn.line();
        let handshake = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONN_WINDOW)
            .max_concurrent_reset_streams(GIVEN_UP)
            .max_local_error_reset_streams(None)
            .handshake::<_, Bytes>(conn);
        let (sender, mut conn) = match handshake.await {
            Ok(shaken) => shaken,
            Err(e) => return debug!(%peer, "no tunnel: {e}"),
        };
        let ping = conn.ping_pong();
        let tunnel = Arc::new(Tunnel {
            sender,
            carried: AtomicUsize::new(0),
            leaves: AtomicBool::new(false),
            idle: Notify::new(),
        });
        let known = self.enter(tunnel.clone());
        info!(%peer, "a tunnel is open");
        let leave = async {
            draining.await;
            tunnel.leaves.store(true, Ordering::Relaxed);
            tunnel.ask_again().await;
            tunnel.until_idle().await;
        };
        tokio::select! {
            ended = conn => match ended {
                Ok(()) => info!(%peer, "the tunnel has ended"),
                Err(e) => info!(%peer, "the tunnel is lost: {e}"),
            },
            () = watch(ping, line, keep_alive) => info!(%peer, "the tunnel is lost: its other end is silent"),
            () = leave => debug!(%peer, "the tunnel is left"),
        }
        drop(known);
    }

    /// Opens a stream by the tunnel that has the least to do, for so long at most.
    pub(super) async fn open(self: &Arc<Self>, wait: Duration) -> Option<(Stream, Carried)> {
        timeout(wait, self.open_any()).await.ok().flatten()
    }

    async fn open_any(&self) -> Option<(Stream, Carried)> {
        let (mut tried, mut refused) = (Vec::new(), false);
        loop {
            let mut came = pin!(self.came.notified());
            came.as_mut().enable();
            let Some(carried) = self.pick(&tried) else {
                if refused {
                    return None;
                }
                came.await;
                continue;
            };
            match carried.0.open().await {
                Ok(stream) => return Some((stream, carried)),
                Err(why) => {
                    refused |= matches!(why, NoStream::Refused);
                    tried.push(carried.0.clone());
                }
            }
        }
    }

    /// The tunnel with the least to do, best one that is not about to end.
    fn pick(&self, tried: &[Arc<Tunnel>]) -> Option<Carried> {
        let known = self.known();
        let left = known.iter().filter(|one| !tried.iter().any(|other| Arc::ptr_eq(one, other)));
        let load = |one: &&Arc<Tunnel>| {
            (one.leaves.load(Ordering::Relaxed), one.carried.load(Ordering::Relaxed))
        };
        left.min_by_key(load).map(|tunnel| Carried::new(tunnel.clone()))
    }

    fn enter(self: &Arc<Self>, tunnel: Arc<Tunnel>) -> Known {
        self.known().push(tunnel.clone());
        self.came.notify_waiters();
        Known(self.clone(), tunnel)
    }

    fn known(&self) -> MutexGuard<'_, Vec<Arc<Tunnel>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.0.known().retain(|known| !Arc::ptr_eq(known, &self.1));
    }
}

impl Carried {
    fn new(tunnel: Arc<Tunnel>) -> Self {
        tunnel.carried.fetch_add(1, Ordering::Relaxed);
        Self(tunnel)
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        if self.0.carried.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl Tunnel {
    async fn open(&self) -> Result<Stream, NoStream> {
        let asked = async {
            let mut sender = self.sender.clone().ready().await?;
            let request = Request::connect(AUTHORITY).body(()).unwrap_or_default();
            let (answer, sending) = sender.send_request(request, false)?;
            Ok::<_, h2::Error>((answer.await?, sending))
        };
        match asked.await {
            Ok((answer, sending)) if answer.status() == StatusCode::OK => {
                Ok(Stream::new(sending, answer.into_body()))
            }
            Ok((answer, _)) => {
                debug!(status = %answer.status(), "the other end of a tunnel takes no connection");
                Err(NoStream::Refused)
            }
            Err(e) => {
                debug!("no stream by a tunnel: {e}");
                Err(NoStream::Gone)
            }
        }
    }

    /// Has the other end make another tunnel.
    async fn ask_again(&self) {
        let Ok(mut sender) = self.sender.clone().ready().await else { return };
        let uri = format!("http://{AUTHORITY}{AGAIN}");
        let request = Request::get(uri).body(()).unwrap_or_default();
        if let Ok((answer, _)) = sender.send_request(request, true) {
            let _ = answer.await;
        }
    }

    async fn until_idle(&self) {
        loop {
            let mut idle = pin!(self.idle.notified());
            idle.as_mut().enable();
            if self.carried.load(Ordering::Relaxed) == 0 {
                return;
            }
            idle.await;
        }
    }
}
