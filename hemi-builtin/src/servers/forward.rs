//! What the servers that are forward proxies have in common: all but how a client says what it wants.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use hemi_core::config::Spanned;
use hemi_core::gate::{Accepted, Gate, GateConfig, GateCounters};
use hemi_core::listen::{Address, ListenOptions};
use hemi_core::metrics::Measures;
use hemi_core::server::Server;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Run};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::proxying::{ProxyConfig, Proxying};
use crate::tokens::TokensConfig;

/// How clients of a forward proxy say what they want.
pub trait Protocol: Send + Sync + Sized + 'static {
    /// The sign of its server.
    const SIGN: &'static str;
    /// Its own properties.
    type Config: DeserializeOwned + Explain;

    /// Makes it, and tells by which tokens clients are known.
    fn create(config: Self::Config) -> (Self, TokensConfig);

    /// Serves a client.
    fn serve(proxy: Arc<Proxy<Self>>, accepted: Accepted) -> impl Future<Output = ()> + Send;
}

/// Where a forward proxy listens.
#[derive(Debug, Deserialize, Explain)]
pub struct ForwardConfig {
    /// Where to listen: `"127.0.0.1:3128"`, `":3128"`, or the path of a Unix socket.
    pub address: Spanned<Address>,
}

/// A server that is a forward proxy.
#[derive(Debug)]
pub struct ForwardServer<P> {
    address: Address,
    gate_config: GateConfig,
    gate_counters: Arc<GateCounters>,
    gate: OnceLock<Gate>,
    proxy: Arc<Proxy<P>>,
}

/// What all connections share.
#[derive(Debug)]
pub struct Proxy<P> {
    pub(super) protocol: P,
    pub(super) proxying: Proxying,
}

impl<P: Protocol> Component for ForwardServer<P> {
    const SIGN: &'static str = P::SIGN;
    type Config = (P::Config, ForwardConfig, GateConfig, ProxyConfig);

    fn create(
        (own, forward, gate_config, config): Self::Config,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        let (protocol, tokens) = P::create(own);
        let cores = cx.cores();
        Ok(Self {
            address: cx.listen_on(forward.address)?,
            gate_config,
            gate_counters: cx.keep(|| GateCounters::new(cores)),
            gate: OnceLock::new(),
            proxy: Arc::new(Proxy { protocol, proxying: Proxying::create(config, tokens, cx)? }),
        })
    }
}

impl<P: Protocol> Lifecycle for ForwardServer<P> {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let (options, counters) = (ListenOptions::default(), self.gate_counters.clone());
        let gate = Gate::open(cx, &self.address, &self.gate_config, options, counters)?;
        let _ = self.gate.set(gate);
        self.proxy.proxying.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        let Some(gate) = self.gate.get() else { return };
        let proxy = self.proxy.clone();
        let serve = move |accepted| P::serve(proxy.clone(), accepted);
        tokio::join!(gate.run(cx, serve), self.proxy.proxying.run(cx));
    }

    fn measure(&self, out: &mut Measures) {
        if let Some(gate) = self.gate.get() {
            gate.measure(out);
        }
        self.proxy.proxying.counters().measure(out);
    }
}

impl<P: Protocol> Server for ForwardServer<P> {
    fn active(&self) -> usize {
        self.gate.get().map_or(0, Gate::active)
    }

    fn addresses(&self) -> Vec<Address> {
        self.gate.get().map(|gate| gate.address().clone()).into_iter().collect()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let own = self.proxy.proxying.counters().named();
        self.gate_counters.named().into_iter().chain(own).collect()
    }
}
