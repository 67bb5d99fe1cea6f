//! The router `quixRouter`: connections of QUIC, to backends, with their seals unbroken.
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

pub(crate) mod conns;

use hemi_core::listen::Address;
use hemi_core::metrics::Measures;
use hemi_core::server::Server;
use hemi_core::{Component, CreateCx, Lifecycle, Prepare, Result, Run};

use self::conns::Conns;
use crate::{UdpxConfig, UdpxRouter};

/// Routes connections of QUIC.
#[derive(Debug)]
pub struct QuixRouter(UdpxRouter);

impl Component for QuixRouter {
    const SIGN: &'static str = "quixRouter";
    type Config = UdpxConfig;

    fn create(config: UdpxConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let conns = cx.keep(Conns::default);
        UdpxRouter::of(config, Some(conns), cx).map(Self)
    }
}

impl Lifecycle for QuixRouter {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.0.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        self.0.run(cx).await;
    }

    fn measure(&self, out: &mut Measures) {
        self.0.measure(out);
    }
}

impl Server for QuixRouter {
    fn active(&self) -> usize {
        self.0.active()
    }

    fn addresses(&self) -> Vec<Address> {
        self.0.addresses()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.0.counters()
    }
}
