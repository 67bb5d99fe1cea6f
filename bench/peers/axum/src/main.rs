//! What `bench-app` does, on axum and hyper in their best configuration: `bench-axum FILE`, where the
//! file holds the address to listen on.

use axum::extract::{DefaultBodyLimit, Multipart, Path};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Serialize)]
struct Item {
    shop: u32,
    item: u32,
    name: &'static str,
}

async fn item(Path((shop, item)): Path<(u32, u32)>) -> Json<Item> {
    Json(Item { shop, item, name: "lamp" })
}

/// Takes the files of a form, and tells how many bytes they have.
async fn upload(mut form: Multipart) -> Result<String, StatusCode> {
    let mut bytes = 0;
    while let Some(mut part) = form.next_field().await.map_err(|e| e.status())? {
        while let Some(piece) = part.chunk().await.map_err(|e| e.status())? {
            bytes += piece.len();
        }
    }
    Ok(bytes.to_string())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let Some(config) = std::env::args().nth(1) else {
        return Err(std::io::Error::other("usage: bench-axum FILE"));
    };
    let address = std::fs::read_to_string(config)?;
    let app = Router::new()
        .route("/axum/shops/{shop}/items/{item}", get(item))
        .route("/upload", post(upload).layer(DefaultBodyLimit::disable()));
    let listener = TcpListener::bind(address.trim()).await?;
    // A socket that does not take the option serves without it.
    let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
    axum::serve(listener, app).await
}
