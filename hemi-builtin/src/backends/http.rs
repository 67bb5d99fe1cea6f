//! What backends that speak HTTP have in common.

use std::time::Duration;

use hemi_core::config::{Size, size_of_at_least};
use hemi_core::tls::{Connector, ConnectorConfig};
use hemi_core::{CreateCx, Explain, Result};
use serde::Deserialize;

/// Passes requests on to servers that speak HTTP.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpConfig {
    /// Whether nodes are spoken to over TLS. Their certificates must be for their hosts, or for `tlsPeerName`.
    pub tls_mode: bool,
    /// How long nothing may pass on a connection that has been upgraded, to WebSocket most often.
    pub tunnel_timeout: Duration,
    /// Bytes of an answer's head, at most, and 1K at least.
    #[serde(deserialize_with = "size_of_at_least::<1024, _>")]
    pub max_head_size: Size,
}

impl Default for HttpConfig {
    fn default() -> Self {
        let tunnel_timeout = Duration::from_secs(3600);
        Self { tls_mode: false, tunnel_timeout, max_head_size: Size(64 << 10) }
    }
}

impl HttpConfig {
    /// What encrypts connections over which these protocols are spoken, if they are to be.
    pub(super) fn connector(
        &self,
        tls: ConnectorConfig,
        protocols: &[&str],
        cx: &CreateCx<'_>,
    ) -> Result<Option<Connector>> {
        self.tls_mode.then(|| Connector::new(tls, protocols, cx)).transpose()
    }
}
