//! The backend `udpxBackend`: servers that datagrams are passed on to.
//!
//! ```gorox
//! stage {
//! 	udpxBackend "syslog" {
//! 		.balancer = "hash"
//! 		node { .address = "127.0.0.1:5514" }
//! 		node { .address = "127.0.0.1:5515"  .backup = true }
//! 	}
//! 	udpxRouter "syslog" {
//! 		.address = "127.0.0.1:3514"
//! 		case { udpxProxy { .toBackend = "syslog" } }
//! 	}
//! }
//! ```
//!
//! A node where nobody listens says so, and counts as failed. The path of a Unix socket is a node, too.

use hemi_core::backend::{BackendConfig, By, NoNode, Nodes, Pick};
use hemi_core::config::KindName;
use hemi_core::metrics::Measures;
use hemi_core::{Component, CreateCx, Kind, Lifecycle, Place, Prepare, Rank, Result, Run};

/// The kind of the one component [`UdpxBackend`].
#[derive(Debug)]
pub struct UdpxBackendKind;

impl KindName for UdpxBackendKind {
    const NAME: &'static str = "udpxBackend";
}

impl Kind for UdpxBackendKind {
    type Object = UdpxBackend;
    const RANK: Rank = Rank::BACKEND;
    const PLACE: Place = Place::Referred;
}

/// Servers that datagrams are passed on to.
#[derive(Debug)]
pub struct UdpxBackend {
    nodes: Nodes,
}

impl Component for UdpxBackend {
    const SIGN: &'static str = "udpxBackend";
    const ABOUT: Option<&'static str> = Some("Servers that datagrams are passed on to.");
    type Config = BackendConfig;

    fn create(config: BackendConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self { nodes: Nodes::of(config, cx)? })
    }
}

impl Lifecycle for UdpxBackend {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.nodes.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        self.nodes.run(cx).await;
    }

    fn measure(&self, out: &mut Measures) {
        self.nodes.measure(out);
    }
}

impl UdpxBackend {
    /// Its nodes.
    #[must_use]
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Chooses a node, other than those that were `tried`.
    ///
    /// # Errors
    /// When there is none.
    pub fn pick(&self, by: &By<'_>, tried: &[Pick]) -> Result<Pick, NoNode> {
        self.nodes.pick(by, tried)
    }
}
