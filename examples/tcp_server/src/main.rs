//! A TCP server of your own: sends back in capitals what it gets. Usage: `tcp_server [ADDRESS]`.
use std::sync::{Arc, OnceLock};

use hemi_core::gate::{Accepted, Gate, GateConfig, GateCounters};
use hemi_core::listen::{Address, ListenOptions};
use hemi_core::server::{Server, ServerRegistry};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Registry, Result, Run, Shut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends back in capitals what it gets.
#[derive(serde::Deserialize, Explain)]
struct ShoutConfig {
    /// Where to listen: an IP address with port, or the path of a Unix socket.
    address: hemi_core::config::Spanned<Address>,
}
struct ShoutServer(Address, GateConfig, Arc<GateCounters>, OnceLock<Gate>);
impl Component for ShoutServer {
    const SIGN: &'static str = "shoutServer";
    type Config = (ShoutConfig, GateConfig);
    fn create((config, limits): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let (address, cores) = (cx.listen_on(config.address)?, cx.cores());
        Ok(Self(address, limits, cx.keep(|| GateCounters::new(cores)), OnceLock::new()))
    }
}
impl Lifecycle for ShoutServer {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let Self(at, limits, counters, gate) = self;
        let _ = gate.set(Gate::open(cx, at, limits, ListenOptions::default(), counters.clone())?);
        Ok(())
    }
    async fn run(&self, cx: &Run) {
        let Some(gate) = self.3.get() else { return };
        let (shut, stop) = (cx.shut().clone(), cx.stop().clone());
        gate.run(cx, move |accepted| shout(accepted, shut.clone(), stop.clone())).await;
    }
}
impl Server for ShoutServer {}

async fn shout(mut client: Accepted, shut: Shut, stop: Shut) {
    let mut buf = [0; 4096];
    loop {
        let received = tokio::select! {
            biased;
            received = client.socket.read(&mut buf) => received,
            () = shut.cancelled() => return, // for the client is silent
        };
        let Ok(length @ 1..) = received else { return };
        buf[..length].make_ascii_uppercase();
        let sent = stop.run_until_cancelled(client.socket.write_all(&buf[..length])).await;
        let Some(Ok(())) = sent else { return };
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3081".to_owned());
    let config = format!("stage {{ shoutServer \"main\" {{ .address = \"{address}\" }} }}");
    let mut registry = Registry::new();
    registry.server::<ShoutServer>();
    hemi_core::serve(registry, &config).await
}
