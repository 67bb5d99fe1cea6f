//! PUT: what comes is written beside the core to a new file, which takes its place once it is whole.

use std::sync::Arc;

use hemi_web::{Body, Response};
use http::StatusCode;
use http::header::{CONTENT_RANGE, ETAG, HeaderValue, IF_NONE_MATCH};

use super::answers::{Answer, Refusal};
use super::locks::Depth;
use super::tree::{Kind, Place, Upload};
use super::{Asked, Inner, blocking, of_parent};

/// Bytes of a write.
const BATCH: usize = 256 << 10;

pub(super) async fn put(inner: Arc<Inner>, asked: Asked, body: &mut Body) -> Answer {
    // RFC 9110, 14.5: it would be taken for the whole.
    if asked.headers.contains_key(CONTENT_RANGE) {
        return Err(StatusCode::BAD_REQUEST.into());
    }
    let asked = Arc::new(asked);
    let (at, of) = (inner.clone(), asked.clone());
    let begun = blocking(move || begin(&at, &of)).await?;
    let Begun { mut upload, status, place } = begun;
    let mut batch = Vec::new();
    while let Some(piece) = body.chunk().await.transpose()? {
        if !batch.is_empty() && batch.len() + piece.len() > BATCH {
            (upload, batch) = write(upload, batch).await?;
        }
        batch.extend_from_slice(&piece);
    }
    (upload, _) = write(upload, batch).await?;
    blocking(move || {
        // Somebody may have locked it meanwhile.
        check(&inner, &asked, status)?;
        let placed = upload.place(place);
        let meta = placed.map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => StatusCode::PRECONDITION_FAILED.into(),
            std::io::ErrorKind::IsADirectory => StatusCode::METHOD_NOT_ALLOWED.into(),
            _ => of_parent(e),
        })?;
        let response = Response::new(status);
        Ok(match HeaderValue::try_from(meta.etag()) {
            Ok(etag) => response.field(ETAG, etag),
            Err(_) => response,
        })
    })
    .await
}

struct Begun {
    upload: Upload,
    status: StatusCode,
    place: Place,
}

fn begin(inner: &Inner, asked: &Asked) -> Result<Begun, Refusal> {
    let before = inner.tree.look(&asked.path)?;
    if before.as_ref().is_some_and(|meta| meta.kind == Kind::Collection) {
        return Err(Refusal::Method(
            "OPTIONS, GET, HEAD, DELETE, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK",
        ));
    }
    let (status, place) = match &before {
        Some(_) => (StatusCode::NO_CONTENT, Place::Any),
        None if asked.headers.contains_key(IF_NONE_MATCH) => (StatusCode::CREATED, Place::Free),
        None => (StatusCode::CREATED, Place::Any),
    };
    check(inner, asked, status)?;
    let upload = inner.tree.upload(&asked.path).map_err(of_parent)?;
    Ok(Begun { upload, status, place })
}

/// Finds out whether a client may put a file here, which is new if that is to be its answer.
fn check(inner: &Inner, asked: &Asked, status: StatusCode) -> Result<(), Refusal> {
    let before = inner.tree.look(&asked.path)?;
    let tokens = inner.preconditions(asked, before.as_ref())?;
    if status == StatusCode::CREATED {
        inner.check_member(asked, &asked.path, &tokens)
    } else {
        inner.check_lock(asked, &asked.path, Depth::Zero, &tokens)
    }
}

async fn write(mut upload: Upload, mut batch: Vec<u8>) -> Result<(Upload, Vec<u8>), Refusal> {
    blocking(move || {
        upload.write(&batch)?;
        batch.clear();
        Ok((upload, batch))
    })
    .await
}
