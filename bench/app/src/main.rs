//! The program that the bench measures the programming model with: routes, an axum router, uploads.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use axum::Router;
use axum::routing::get;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{
    FormError, Handlet, HandletRegistry, Json, Mapper, Multipart, Path, Reply, Request, Tower,
};
use serde::{Deserialize, Serialize};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Serialize)]
struct Item {
    shop: u32,
    item: u32,
    name: &'static str,
}

fn item(Path((shop, item)): Path<(u32, u32)>) -> Json<Item> {
    Json(Item { shop, item, name: "lamp" })
}

/// Takes the files of a form, and tells how many bytes they have.
async fn upload(mut form: Multipart) -> Result<String, FormError> {
    let mut bytes = 0;
    while let Some(mut part) = form.next_part().await? {
        while let Some(piece) = part.chunk().await? {
            bytes += piece.len();
        }
    }
    Ok(bytes.to_string())
}

/// Routes of a mapper or of an axum router.
#[derive(Debug, Deserialize, Explain)]
struct NoConfig {}

/// Answers by a mapper.
struct Shops(Mapper);

impl Component for Shops {
    const SIGN: &'static str = "shops";
    type Config = NoConfig;

    fn create(_: NoConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self(Mapper::new().get("/shops/{shop}/items/{item}", item).post("/upload", upload)))
    }
}

impl Lifecycle for Shops {}

impl Handlet for Shops {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.0.handle(req).await
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        self.0.handle_now(req)
    }
}

/// Answers by an axum router.
struct AxumRouter(Tower<Router>);

impl Component for AxumRouter {
    const SIGN: &'static str = "axumRouter";
    type Config = NoConfig;

    fn create(_: NoConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        let router = Router::new().route("/axum/shops/{shop}/items/{item}", get(axum_item));
        Ok(Self(Tower::new(router)))
    }
}

impl Lifecycle for AxumRouter {}

impl Handlet for AxumRouter {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.0.handle(req).await
    }
}

async fn axum_item(
    axum::extract::Path((shop, item)): axum::extract::Path<(u32, u32)>,
) -> axum::Json<Item> {
    axum::Json(Item { shop, item, name: "lamp" })
}

fn main() -> ExitCode {
    let program = hemi_procmgr::Program {
        name: "bench-app",
        title: "What the bench measures",
        version: env!("CARGO_PKG_VERSION"),
        default_config: "stage {}",
        register: |registry| {
            hemi_web::register(registry);
            registry.handlet::<Shops>().handlet::<AxumRouter>();
        },
    };
    program.run(std::env::args_os().skip(1), std::env::vars_os())
}
