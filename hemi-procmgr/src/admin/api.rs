//! The control API: JSON over HTTP.

mod metrics;

use std::sync::Arc;

use hemi_core::metrics::Exposition;
use hemi_web::{BoxError, Event, Json, Mapper, Path, Respond, Response, Sse, State, WebError};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Site;
use super::site::Seen;
use crate::control::{Act, ConfigView};

/// The routes of the API.
pub(super) fn mapper(site: &Arc<Site>) -> Mapper<Site> {
    Mapper::with_shared(site.clone())
        .get("/v1/status", status)
        .get("/v1/pids", pids)
        .get("/v1/config", config)
        .get("/v1/events", events)
        .post("/v1/{act}", act)
        .get("/metrics", metrics)
        .max_content(super::CONTENT)
}

async fn status(site: State<Site>) -> Response {
    Json(&*site.overview().await).respond()
}

/// The ids of all processes.
#[derive(Serialize)]
struct Pids {
    leader: u32,
    worker: Option<u32>,
    retiring: Vec<u32>,
}

async fn pids(site: State<Site>) -> Json<Pids> {
    let overview = site.overview().await;
    Json(Pids {
        leader: overview.leader.pid,
        worker: overview.worker.as_ref().map(|worker| worker.pid),
        retiring: overview.retiring.iter().map(|worker| worker.pid).collect(),
    })
}

async fn config(site: State<Site>) -> Json<ConfigView> {
    Json(site.control.config().await)
}

/// What is to be done is named by the path, and told more of by an object; the content may be missing.
async fn act(Path(name): Path<String>, site: State<Site>, content: String) -> Response {
    let mut act: Map<String, Value> = match content.trim() {
        "" => Map::new(),
        json => match serde_json::from_str(json) {
            Ok(act) => act,
            Err(e) => return WebError::new(StatusCode::BAD_REQUEST, e.to_string()).respond(),
        },
    };
    act.insert("act".to_owned(), name.into());
    let act: Act = match serde_json::from_value(act.into()) {
        Ok(act) => act,
        Err(e) if e.to_string().starts_with("unknown variant") => {
            return WebError::new(StatusCode::NOT_FOUND, "there is no such command").respond();
        }
        Err(e) => return WebError::new(StatusCode::UNPROCESSABLE_ENTITY, e.to_string()).respond(),
    };
    match site.act(act).await {
        Ok(done) => Json(done).respond(),
        Err(refused) => (StatusCode::CONFLICT, Json(refused)).respond(),
    }
}

/// `status` once a second, and what happens.
async fn events(site: State<Site>) -> Sse {
    let (events, sse) = Sse::channel(4);
    tokio::spawn(async move {
        let mut watch = site.watch();
        while let Some(seen) = watch.next().await {
            let event = match seen {
                Seen::Event(event) => Event::json(&event)?.name("event"),
                Seen::Beat => Event::json(&*site.overview().await)?.name("status"),
            };
            events.send(event).await?;
        }
        Ok::<_, BoxError>(())
    });
    sse
}

/// What the worker tells, and what there is to tell of it, for Prometheus.
async fn metrics(site: State<Site>) -> Response {
    let text = metrics::measures(&*site.overview().await).write(Exposition::Prometheus);
    Response::typed(HeaderValue::from_static(Exposition::Prometheus.media_type()), text)
}
