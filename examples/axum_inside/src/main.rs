//! An `axum::Router`, with its middleware, inside Hemi. Usage: `axum_inside [ADDRESS]`.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Path, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use hemi_core::{Error, Parts, Result, serve_parts};
use hemi_web::{HttpxServer, Rule, Tower, Webapp};

async fn hello(Path(name): Path<String>) -> String {
    format!("Hello, {name}\n")
}

async fn whoami(ConnectInfo(client): ConnectInfo<SocketAddr>) -> String {
    format!("{}\n", client.ip())
}

/// A middleware as programs with axum have them.
async fn sign(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert("x-made-by", "axum".parse().expect("text without controls"));
    response
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3080".to_owned());
    let address = address.parse().map_err(|e| Error::other(format!("{address}: {e}")))?;

    let router = Router::new()
        .route("/hello/{name}", get(hello))
        .route("/whoami", get(whoami))
        .layer(from_fn(sign));

    let handlet = Tower::new(router).peer(ConnectInfo);
    let mut parts = Parts::new();
    let webapp = Webapp::new("axum").rule(Rule::new().handlet(handlet)).install(&mut parts)?;
    HttpxServer::new(address, [webapp]).install("main", &mut parts)?;
    serve_parts(parts).await
}
