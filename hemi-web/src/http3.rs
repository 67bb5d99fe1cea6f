//! The server `http3Server`: HTTP/3 over QUIC. Beside HTTP over TCP it is better served by an `httpxServer`
//! with `.http3 = true`, which tells clients of it.
//!
//! ```gorox
//! stage {
//! 	webapp "hello" {
//! 		.hostnames = ("*")
//! 		.tlsCertificate = "hello.crt"
//! 		.tlsPrivateKey = "hello.key"
//! 		rule { .returnCode = 200  .returnText = "Hello" }
//! 	}
//! 	http3Server "main" {
//! 		.address = "127.0.0.1:3443"
//! 		.webapps = ("hello")
//! 		.quicEarlyData = true
//! 	}
//! }
//! ```

use std::sync::{Arc, OnceLock};

use hemi_core::config::{Ref, Spanned};
use hemi_core::gate::{GateConfig, GateCounters};
use hemi_core::listen::Address;
use hemi_core::metrics::Measures;
use hemi_core::quic::{QuicConfig, QuicGate, Sessions};
use hemi_core::server::Server;
use hemi_core::tls::TlsConfig;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Run};
use serde::Deserialize;

use crate::conn::http3;
use crate::http_config::HttpConfig;
use crate::httpx::{Shared, Tls};
use crate::webapp::WebappKind;

/// Serves webapps over HTTP/3.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct Http3Config {
    /// Where to receive: `"127.0.0.1:443"` or `":443"`.
    pub address: Spanned<Address>,
    /// The webapps it serves, by their names; the host asked for decides which. Their certificates are shown.
    pub webapps: Spanned<Vec<Ref<WebappKind>>>,
}

/// A server of HTTP/3.
#[derive(Debug)]
pub struct Http3Server {
    address: Address,
    counters: Arc<GateCounters>,
    shared: Arc<Shared>,
    tls: Tls,
    http3: Http3,
}

/// What a server needs for HTTP/3.
#[derive(Debug)]
pub(crate) struct Http3 {
    quic: QuicConfig,
    limits: GateConfig,
    /// Of clients that may send early data, when they come again.
    sessions: Arc<Sessions>,
    gate: OnceLock<QuicGate>,
}

impl Component for Http3Server {
    const SIGN: &'static str = "http3Server";
    type Config = (Http3Config, HttpConfig, GateConfig, TlsConfig, QuicConfig);

    fn create((own, http, gate, tls, quic): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let tls = TlsConfig { tls_mode: true, ..tls };
        let cores = cx.cores();
        Ok(Self {
            address: cx.listen_on(own.address)?,
            counters: cx.keep(|| GateCounters::new(cores)),
            shared: Arc::new(Shared::create(&own.webapps, http, &tls, cx)?),
            tls: Tls::create(tls, cx),
            http3: Http3::create(quic, gate, cx),
        })
    }
}

impl Lifecycle for Http3Server {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.tls.prepare(&self.shared, &[], cx.cores())?;
        self.http3.prepare(cx, &self.address, &self.tls, self.counters.clone())
    }

    async fn run(&self, cx: &Run) {
        self.http3.run(cx, &self.shared).await;
    }

    fn measure(&self, out: &mut Measures) {
        for address in self.addresses() {
            let address = address.to_string();
            out.info("hemi_server", "Where a server listens.", &[("address", &address)]);
        }
        self.shared.measure(out);
        self.counters.measure(out);
        self.http3.measure(out);
    }
}

impl Server for Http3Server {
    fn active(&self) -> usize {
        self.http3.active()
    }

    fn addresses(&self) -> Vec<Address> {
        self.http3.gate.get().map(|gate| Address::Tcp(gate.address())).into_iter().collect()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.shared.counters.named().chain(self.counters.named()).collect()
    }
}

impl Http3 {
    pub(crate) fn create(quic: QuicConfig, limits: GateConfig, cx: &mut CreateCx<'_>) -> Self {
        Self { quic, limits, sessions: cx.keep(Sessions::default), gate: OnceLock::new() }
    }

    pub(crate) fn prepare(
        &self,
        cx: &Prepare<'_>,
        address: &Address,
        tls: &Tls,
        counters: Arc<GateCounters>,
    ) -> Result<()> {
        let Some(acceptor) = tls.acceptor.get() else { return Ok(()) };
        let crypto = self.quic.crypto(acceptor, &["h3"], &self.sessions)?;
        let gate = QuicGate::open(cx, address, &self.limits, &self.quic, crypto, counters)?;
        let _ = self.gate.set(gate);
        Ok(())
    }

    pub(crate) async fn run(&self, cx: &Run, shared: &Arc<Shared>) {
        let Some(gate) = self.gate.get() else { return };
        let shared = shared.clone();
        gate.run(cx, move |accepted| http3::serve(accepted, shared.clone())).await;
    }

    pub(crate) fn active(&self) -> usize {
        self.gate.get().map_or(0, QuicGate::active)
    }

    pub(crate) fn measure(&self, out: &mut Measures) {
        if let Some(gate) = self.gate.get() {
            gate.measure(out);
        }
    }
}
