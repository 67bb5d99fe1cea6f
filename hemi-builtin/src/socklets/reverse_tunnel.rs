//! The socklet `reverseTunnel`: takes connections of servers that can't be connected to, and passes on to them what comes to
//! an address here.
//!
//! ```gorox
//! stage {
//! 	http1Backend "inner" { node { .address = "/run/gorox/inner.sock" } }
//! 	webapp "edge" {
//! 		.hostnames = ("edge.test")
//! 		.tlsCertificate = "conf/edge.crt"
//! 		.tlsPrivateKey = "conf/edge.key"
//! 		rule $path == "/tunnel" {
//! 			reverseTunnel "inner" {
//! 				.expose = "/run/gorox/inner.sock"
//! 				.tokens = ("a token that nobody guesses")
//! 			}
//! 		}
//! 		rule { httpProxy { .toBackend = "inner" } }
//! 	}
//! 	httpxServer "edge" { .address = ":3443"  .webapps = ("edge")  .tlsMode = true }
//! }
//! ```
//!
//! The other end is a `reverseServer`, behind a NAT or a firewall, which connects to this one and says a token, or shows
//! a certificate, as the webapp has it verified. What comes to `expose`, by whatever backend or program, goes to it by one
//! of the tunnels that there are, the one with the least to do. While there is none it waits for one, for so long: so a
//! server that starts anew is missed by nobody. A reload keeps the tunnels where the socklet has a name, and has the other
//! ends make new ones before it leaves these.

mod tunnels;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use hemi_core::config::{Diagnostic, Secret, Spanned};
use hemi_core::gate::{Accepted, Gate, GateConfig, GateCounters};
use hemi_core::io::{Foreign, Io as _, Relay, Relayed};
use hemi_core::listen::{Address, ListenOptions};
use hemi_core::metrics::Measures;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Run};
use hemi_web::{Reply, Request, Response, Socklet};
use http::header::{AUTHORIZATION, UPGRADE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;

use self::tunnels::Tunnels;
use crate::reverse::PROTOCOL;

/// Bytes of a token, at least.
const SHORTEST: usize = 16;

/// Takes connections of servers that can't be connected to.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct ReverseTunnelConfig {
    /// Where what comes is passed on to these servers: the path of a Unix socket, or an address such as
    /// `"127.0.0.1:7001"`.
    expose: Spanned<Address>,
    /// The tokens by which they are known, of 16 bytes at least. Without any they are known by the certificates that
    /// they show, which the webapp verifies (`tlsClientAuth`).
    #[serde(default)]
    tokens: Vec<Secret>,
    /// Tunnels at once, at most.
    #[serde(default = "one_hundred")]
    max_tunnels: usize,
    /// How long a connection may wait for a tunnel, and for the server behind it to take it.
    #[serde(default = "fifteen_seconds")]
    wait_timeout: Duration,
    /// After which time other ends are asked, again and again, whether they are still there; 0s for never.
    #[serde(default = "fifteen_seconds")]
    tunnel_keep_alive: Duration,
    /// How long nothing may pass either way.
    #[serde(default = "ten_minutes")]
    idle_timeout: Duration,
}

fn one_hundred() -> usize {
    100
}

fn fifteen_seconds() -> Duration {
    Duration::from_secs(15)
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

/// Takes connections of servers that can't be connected to.
#[derive(Debug)]
pub struct ReverseTunnel {
    address: Address,
    gate_config: GateConfig,
    gate_counters: Arc<GateCounters>,
    gate: OnceLock<Gate>,
    tokens: Vec<Secret>,
    shared: Arc<Shared>,
}

/// What connections need.
#[derive(Debug)]
struct Shared {
    tunnels: Arc<Tunnels>,
    most: usize,
    wait: Duration,
    keep_alive: Duration,
    idle: Duration,
}

impl Component for ReverseTunnel {
    const SIGN: &'static str = "reverseTunnel";
    type Config = (ReverseTunnelConfig, GateConfig);

    fn create((config, gate_config): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        if config.tokens.iter().any(|token| token.expose().len() < SHORTEST) {
            let help = "take 16 random bytes at least, such as `openssl rand -base64 24` makes";
            return Err(Diagnostic::new(cx.span(), "a token is too short").help(help).into());
        }
        let address = cx.listen_on(config.expose)?;
        let cores = cx.cores();
        let shared = Shared {
            tunnels: cx.keep(|| Tunnels::new(cores)),
            most: config.max_tunnels,
            wait: config.wait_timeout,
            keep_alive: config.tunnel_keep_alive,
            idle: config.idle_timeout,
        };
        Ok(Self {
            address,
            gate_config,
            gate_counters: cx.keep(|| GateCounters::new(cores)),
            gate: OnceLock::new(),
            tokens: config.tokens,
            shared: Arc::new(shared),
        })
    }
}

impl Lifecycle for ReverseTunnel {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let (options, counters) = (ListenOptions::default(), self.gate_counters.clone());
        let gate = Gate::open(cx, &self.address, &self.gate_config, options, counters)?;
        let _ = self.gate.set(gate);
        Ok(())
    }

    async fn run(&self, cx: &Run) {
        let Some(gate) = self.gate.get() else { return };
        let shared = self.shared.clone();
        gate.run(cx, move |accepted| carry(shared.clone(), accepted)).await;
    }

    fn measure(&self, out: &mut Measures) {
        self.shared.tunnels.measure(out);
    }
}

impl Socklet for ReverseTunnel {
    async fn accept(&self, req: &mut Request) -> Reply {
        if req.headers().get(UPGRADE) != Some(&PROTOCOL) {
            return Reply::Next;
        }
        if !self.knows(req) {
            self.shared.tunnels.counters.denied.add(1);
            let bearer = HeaderValue::from_static("Bearer");
            return Response::from(StatusCode::UNAUTHORIZED).field(WWW_AUTHENTICATE, bearer).into();
        }
        if self.shared.tunnels.count() >= self.shared.most {
            return StatusCode::SERVICE_UNAVAILABLE.into();
        }
        let (shared, peer) = (self.shared.clone(), req.peer());
        let keep = move |conn| async move {
            shared.tunnels.keep(conn, peer, shared.keep_alive).await;
        };
        Response::upgrade(keep).field(UPGRADE, PROTOCOL).into()
    }
}

impl ReverseTunnel {
    /// Whether it is one of those that may come.
    fn knows(&self, req: &Request) -> bool {
        if self.tokens.is_empty() {
            return req.tls().is_some_and(|tls| tls.client.is_some());
        }
        let said = req.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let Some((scheme, token)) = said.split_at_checked(7) else { return false };
        // How long it takes tells nothing of a token.
        let same =
            |known: &&Secret| verify_slices_are_equal(known.expose().as_bytes(), token).is_ok();
        scheme.eq_ignore_ascii_case(b"bearer ") && self.tokens.iter().filter(same).count() > 0
    }
}

/// Passes on what comes by a connection to the exposed address.
async fn carry(shared: Arc<Shared>, accepted: Accepted) {
    let Accepted { mut socket, ticket, .. } = accepted;
    let opened = ticket.until_ending(Box::pin(shared.tunnels.open(shared.wait))).await.flatten();
    let Some((stream, carried)) = opened else { return socket.reset() };
    let (mut stream, mut passed) = (Foreign(stream), Relayed::default());
    let relayed = Relay::new(shared.idle).run(&mut socket, &mut stream, Bytes::new(), &mut passed);
    let ended = ticket.until_ending(relayed).await;
    shared.tunnels.counters.passed(passed);
    if !matches!(ended, Some(Ok(()))) {
        // What is cut off must not look whole.
        socket.reset();
    }
    drop(carried);
}
