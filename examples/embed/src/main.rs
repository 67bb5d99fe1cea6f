//! A stage built in code, without a config: counts the requests it gets. Usage: `embed [ADDRESS]`.

use std::sync::atomic::{AtomicU64, Ordering};

use hemi_core::{Error, Lifecycle, Parts, Result, serve_parts};
use hemi_web::{Handlet, HttpxServer, Reply, Request, Rule, Webapp};

#[derive(Default)]
struct Count(AtomicU64);

impl Lifecycle for Count {}

impl Handlet for Count {
    async fn handle(&self, _: &mut Request) -> Reply {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        format!("request {number}\n").into()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3080".to_owned());
    let address = address.parse().map_err(|e| Error::other(format!("{address}: {e}")))?;

    let mut parts = Parts::new();
    let webapp = Webapp::new("count").rule(Rule::new().handlet(Count::default()));
    let webapp = webapp.install(&mut parts)?;
    HttpxServer::new(address, [webapp]).install("main", &mut parts)?;
    serve_parts(parts).await
}
