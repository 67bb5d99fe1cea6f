//! What the servers of RFC 862 and RFC 863 have in common: all but what they do with a connection's bytes.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hemi_core::config::Spanned;
use hemi_core::gate::{Accepted, Gate, GateConfig, GateCounters};
use hemi_core::io::Socket;
use hemi_core::listen::{Address, ListenOptions};
use hemi_core::metrics::Measures;
use hemi_core::server::Server;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Run, Shut};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// What a small server does.
pub trait Service: DeserializeOwned + Explain + Send + Sync + 'static {
    /// The sign of its server.
    const SIGN: &'static str;

    /// Deals with bytes that have come.
    ///
    /// # Errors
    /// When the connection does not take an answer in time.
    fn take(
        socket: &mut Socket,
        bytes: &[u8],
        idle: Duration,
    ) -> impl Future<Output = io::Result<()>> + Send;
}

/// Properties of all of them.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct SmallConfig {
    /// Where to listen: `"127.0.0.1:7"`, `":7"`, or the path of a Unix socket.
    pub address: Spanned<Address>,
    /// How long a connection may be silent, or keep its answers waiting.
    #[serde(default = "one_minute")]
    pub idle_timeout: Duration,
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

/// A server of a small service.
#[derive(Debug)]
pub struct SmallServer<S> {
    address: Address,
    idle: Duration,
    gate_config: GateConfig,
    counters: Arc<GateCounters>,
    gate: OnceLock<Gate>,
    service: PhantomData<S>,
}

impl<S: Service> Component for SmallServer<S> {
    const SIGN: &'static str = S::SIGN;
    type Config = (S, SmallConfig, GateConfig);

    fn create((_, config, gate_config): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let address = cx.listen_on(config.address)?;
        let cores = cx.cores();
        let counters = cx.keep(|| GateCounters::new(cores));
        let (idle, gate, service) = (config.idle_timeout, OnceLock::new(), PhantomData);
        Ok(Self { address, idle, gate_config, counters, gate, service })
    }
}

impl<S: Service> Lifecycle for SmallServer<S> {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let options = ListenOptions::default();
        let counters = self.counters.clone();
        let gate = Gate::open(cx, &self.address, &self.gate_config, options, counters)?;
        let _ = self.gate.set(gate);
        Ok(())
    }

    async fn run(&self, cx: &Run) {
        let Some(gate) = self.gate.get() else { return };
        let (idle, shut, stop) = (self.idle, cx.shut().clone(), cx.stop().clone());
        gate.run(cx, move |accepted| serve::<S>(accepted, idle, shut.clone(), stop.clone())).await;
    }

    fn measure(&self, out: &mut Measures) {
        if let Some(gate) = self.gate.get() {
            gate.measure(out);
        }
    }
}

impl<S: Service> Server for SmallServer<S> {
    fn active(&self) -> usize {
        self.gate.get().map_or(0, Gate::active)
    }

    fn addresses(&self) -> Vec<Address> {
        self.gate.get().map(|gate| gate.address().clone()).into_iter().collect()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.counters.named().to_vec()
    }
}

async fn serve<S: Service>(mut accepted: Accepted, idle: Duration, shut: Shut, stop: Shut) {
    tokio::select! {
        () = stop.cancelled() => {}
        // What ends a connection, its client knows.
        _ = take_all::<S>(&mut accepted.socket, idle, &shut) => {}
    }
}

/// Takes all to the end of the stream; once `shut` has fired, to where the client is silent.
async fn take_all<S: Service>(socket: &mut Socket, idle: Duration, shut: &Shut) -> io::Result<()> {
    let mut buf = vec![0; 8 << 10];
    loop {
        let got = tokio::select! {
            biased;
            got = timeout(idle, socket.read(&mut buf)) => got??,
            () = shut.cancelled() => 0,
        };
        match buf.get(..got) {
            None | Some([]) => return Ok(()),
            Some(bytes) => S::take(socket, bytes, idle).await?,
        }
    }
}
