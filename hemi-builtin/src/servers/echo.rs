//! The server `echoServer` (RFC 862): sends back what it gets, over TCP or a Unix socket.
//!
//! ```gorox
//! stage {
//! 	echoServer "echo" { .address = "127.0.0.1:3007" }
//! }
//! ```

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
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Sends back what it gets.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct EchoConfig {
    /// Where to listen: `"127.0.0.1:7"`, `":7"`, or the path of a Unix socket.
    pub address: Spanned<Address>,
    /// How long a connection may be silent, or keep its answers waiting.
    #[serde(default = "one_minute")]
    pub idle_timeout: Duration,
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

/// Sends back what it gets.
#[derive(Debug)]
pub struct EchoServer {
    address: Address,
    idle: Duration,
    gate_config: GateConfig,
    counters: Arc<GateCounters>,
    gate: OnceLock<Gate>,
}

impl Component for EchoServer {
    const SIGN: &'static str = "echoServer";
    type Config = (EchoConfig, GateConfig);

    fn create((config, gate_config): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let address = cx.listen_on(config.address)?;
        let cores = cx.cores();
        let counters = cx.keep(|| GateCounters::new(cores));
        let (idle, gate) = (config.idle_timeout, OnceLock::new());
        Ok(Self { address, idle, gate_config, counters, gate })
    }
}

impl Lifecycle for EchoServer {
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
        gate.run(cx, move |accepted| echo(accepted, idle, shut.clone(), stop.clone())).await;
    }

    fn measure(&self, out: &mut Measures) {
        if let Some(gate) = self.gate.get() {
            gate.measure(out);
        }
    }
}

impl Server for EchoServer {
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

async fn echo(mut accepted: Accepted, idle: Duration, shut: Shut, stop: Shut) {
    tokio::select! {
        () = stop.cancelled() => {}
        // What ends a connection, its client knows.
        _ = send_back(&mut accepted.socket, idle, &shut) => {}
    }
}

/// Sends all back, to the end of the stream; once `shut` has fired, to where the client is silent.
async fn send_back(socket: &mut Socket, idle: Duration, shut: &Shut) -> std::io::Result<()> {
    let mut buf = vec![0; 8 << 10];
    loop {
        let got = tokio::select! {
            biased;
            got = timeout(idle, socket.read(&mut buf)) => got??,
            () = shut.cancelled() => 0,
        };
        match buf.get(..got) {
            None | Some([]) => return Ok(()),
            Some(bytes) => timeout(idle, socket.write_all(bytes)).await??,
        }
    }
}
