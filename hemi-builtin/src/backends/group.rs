//! What backends have in common whose connections carry one request at a time: nodes, and connections to them.

use std::sync::Arc;

use hemi_core::backend::{BackendConfig, Nodes};
use hemi_core::metrics::Measures;
use hemi_core::tls::Connector;
use hemi_core::{CreateCx, Prepare, Result, Run};

use super::conns::{Conns, ConnsConfig};
use super::exchange::{Shared, TimesConfig};

/// Properties of such a backend.
pub(super) type GroupConfig = (BackendConfig, ConnsConfig, TimesConfig);

/// Nodes, and connections to them.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) nodes: Nodes,
    pub(super) shared: Arc<Shared>,
}

impl Group {
    /// With connections that are encrypted, if there is a connector.
    pub(super) fn create(
        (backend, conns, times): GroupConfig,
        connector: Option<Connector>,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        let conns = Conns::new(conns, cx.cores()).over(connector);
        Ok(Self { nodes: Nodes::of(backend, cx)?, shared: Arc::new(Shared { conns, times }) })
    }

    /// Reads the files that TLS needs, and looks the nodes up.
    pub(super) fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.shared.conns.prepare()?;
        self.nodes.prepare(cx)
    }

    /// Watches over nodes and connections, until the stage ends.
    pub(super) async fn run(&self, cx: &Run) {
        tokio::join!(self.nodes.run(cx), self.shared.conns.run(cx));
    }
    /// Tells what is known of them.
    pub(super) fn measure(&self, out: &mut Measures) {
        self.nodes.measure_with_conns(out, |endpoint| self.shared.conns.kept(endpoint));
    }
}
