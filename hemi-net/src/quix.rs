//! The router `quixRouter`: connections of QUIC, to backends, with their seals unbroken or terminated here.
//!
//! ```gorox
//! stage {
//! 	udpxBackend "shop" {
//! 		node { .address = "127.0.0.1:7443" }
//! 		node { .address = "127.0.0.1:7444" }
//! 	}
//! 	udpxBackend "blog" { node { .address = "127.0.0.1:8443" } }
//! 	quixRouter "front" {
//! 		.address = ":3443"
//! 		case "shop" $serverName == ("shop.test", "www.shop.test") {
//! 			udpxProxy { .toBackend = "shop" }
//! 		}
//! 		case "blog" $nextProto *= "h3" { udpxProxy { .toBackend = "blog" } }
//! 	}
//! }
//! ```
//!
//! It is a `udpxRouter` that knows connections: many of a client may come from one port, each to a node of its own. Whom a
//! client asks for is seen without a key, in its first datagrams, and so is the id by which the node wants to be spoken
//! to. By that a client is known when it comes from another address or port, and what it sends goes on to its node,
//! which makes sure of the new way itself, as it would without a router. Clients that move of their own will speak to
//! their node by ids that nobody else has seen: they are known if its ids begin alike, with four bytes at least, as those
//! of Hemi's own servers do, and those of others that are made for balancers. The cases are asked once more for what
//! comes by a new way.
//!
//! With `tlsMode` it terminates QUIC, by a certificate of its own, and `quixProxy` passes on what is said: streams and
//! datagrams to nodes that speak QUIC, or each stream to a node that speaks TCP.

pub(crate) mod backend;
pub(crate) mod conn;
pub(crate) mod conns;
mod relay;
mod terminated;

use hemi_core::gate::GateConfig;
use hemi_core::listen::Address;
use hemi_core::metrics::Measures;
use hemi_core::quic::QuicConfig;
use hemi_core::server::Server;
use hemi_core::tls::{SiteConfig, TlsConfig};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Run};
use serde::Deserialize;

use self::conns::Conns;
use self::terminated::Terminated;
use crate::tls::Tls;
use crate::{UdpxConfig, UdpxRouter};

/// Routes connections of QUIC.
#[derive(Debug, Default, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct QuixConfig {
    /// The protocols that clients have to agree on one of (RFC 9001, 8.1), most liked first, with `tlsMode`.
    pub tls_protocols: Vec<String>,
}

/// Routes connections of QUIC.
#[derive(Debug)]
pub struct QuixRouter(By);

/// How it does that.
#[derive(Debug)]
enum By {
    /// With their seals unbroken.
    PassingOn(Box<UdpxRouter>),
    Terminating(Box<Terminated>),
}

/// The properties of those that terminate QUIC.
type Terminating = (GateConfig, TlsConfig, SiteConfig, QuicConfig);

impl Component for QuixRouter {
    const SIGN: &'static str = "quixRouter";
    const ABOUT: Option<&'static str> = Some(
        "Routes connections of QUIC to backends, with their seals unbroken or terminated here.",
    );
    type Config = (UdpxConfig, QuixConfig, Terminating);

    fn create((config, own, terminating): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let (gate, tls, site, quic) = terminating;
        let place = config.address.span;
        Ok(Self(match Tls::create(tls, site, own.tls_protocols, place, cx)? {
            Some(tls) => {
                let router = Terminated::create(config, (gate, quic, tls), cx)?;
                By::Terminating(Box::new(router))
            }
            None => {
                let router = UdpxRouter::of(config, Some(cx.keep(Conns::default)), cx)?;
                By::PassingOn(Box::new(router))
            }
        }))
    }
}

/// Calls the same of both.
macro_rules! on_either {
    ($self:expr, $router:ident => $call:expr) => {
        match &$self.0 {
            By::PassingOn($router) => $call,
            By::Terminating($router) => $call,
        }
    };
}

impl Lifecycle for QuixRouter {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        on_either!(self, router => router.prepare(cx))
    }

    async fn run(&self, cx: &Run) {
        on_either!(self, router => router.run(cx).await);
    }

    fn measure(&self, out: &mut Measures) {
        on_either!(self, router => router.measure(out));
    }
}

impl Server for QuixRouter {
    fn active(&self) -> usize {
        on_either!(self, router => router.active())
    }

    fn addresses(&self) -> Vec<Address> {
        on_either!(self, router => router.addresses())
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        on_either!(self, router => router.counters())
    }
}
