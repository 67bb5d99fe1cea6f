//! A UDP server of your own: sends back in capitals what it gets. Usage: `udp_server [ADDRESS]`.
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use hemi_core::listen::{Address, Datagrams};
use hemi_core::server::{Server, ServerRegistry};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Registry, Result, Run, Shut};

/// Sends back in capitals what it gets.
#[derive(serde::Deserialize, Explain)]
struct ShoutConfig {
    /// Where to receive: an IP address with port.
    address: hemi_core::config::Spanned<Address>,
}
struct ShoutServer(SocketAddr, OnceLock<Arc<Datagrams>>);
impl Component for ShoutServer {
    const SIGN: &'static str = "shoutServer";
    type Config = ShoutConfig;
    fn create(config: ShoutConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self(cx.receive_on(config.address)?, OnceLock::new()))
    }
}
impl Lifecycle for ShoutServer {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let _ = self.1.set(cx.listeners().open_datagrams(self.0, cx.cores())?);
        Ok(())
    }
    async fn run(&self, cx: &Run) {
        let Some(datagrams) = self.1.get() else { return };
        let start =
            |core| cx.cores().spawn(core, shout(core, datagrams.clone(), cx.shut().clone()));
        for core in (0..cx.cores().count()).map(start).collect::<Vec<_>>() {
            let _ = core.await;
        }
    }
}
impl Server for ShoutServer {}

async fn shout(core: usize, datagrams: Arc<Datagrams>, shut: Shut) -> std::io::Result<()> {
    let (socket, mut buf) = (datagrams.socket(core)?, vec![0; 65_536]);
    loop {
        let (length, from) = tokio::select! {
            biased;
            () = shut.cancelled() => socket.try_recv_from(&mut buf)?, // until none is left
            received = socket.recv_from(&mut buf) => match received {
                Ok(received) => received,
                Err(_) => continue,
            },
        };
        buf[..length].make_ascii_uppercase();
        let _ = socket.send_to(&buf[..length], from).await;
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3082".to_owned());
    let config = format!("stage {{ shoutServer \"main\" {{ .address = \"{address}\" }} }}");
    let mut registry = Registry::new();
    registry.server::<ShoutServer>();
    hemi_core::serve(registry, &config).await
}
