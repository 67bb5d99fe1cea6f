//! COPY and MOVE (RFC 4918 sections 9.8 and 9.9).

use std::io;

use hemi_web::Response;
use http::StatusCode;

use super::answers::{Answer, Refusal};
use super::locks::Depth;
use super::paths::DavPath;
use super::tree::{Kind, Meta};
use super::{Asked, Inner, of_parent};

/// Answers COPY and MOVE. May block.
pub(super) fn copy_or_move(inner: &Inner, asked: &Asked) -> Answer {
    let moves = asked.method.as_str() == "MOVE";
    let from = &asked.path;
    let to = destination(inner, asked)?;
    let meta = inner.tree.look(from)?.ok_or(StatusCode::NOT_FOUND)?;
    let tokens = inner.preconditions(asked, Some(&meta))?;
    let depth = asked.depth()?.unwrap_or(Depth::Infinity);
    if moves && depth == Depth::Zero && meta.kind == Kind::Collection {
        return Err(StatusCode::BAD_REQUEST.into());
    }
    // Neither into itself, nor over what it is in.
    if to.is_within(from) || from.is_within(&to) {
        return Err(StatusCode::FORBIDDEN.into());
    }
    let there = inner.tree.look(&to)?;
    if there.is_some() && !overwrites(asked)? {
        return Err(StatusCode::PRECONDITION_FAILED.into());
    }
    if moves {
        inner.check_member(asked, from, &tokens)?;
        inner.check_lock(asked, from, Depth::Infinity, &tokens)?;
    }
    inner.check_lock(asked, &to, Depth::Infinity, &tokens)?;
    if there.is_none() {
        inner.check_member(asked, &to, &tokens)?;
    }
    let (parent, _) = to.split().ok_or(StatusCode::FORBIDDEN)?;
    if inner.tree.look(&parent)?.is_none_or(|parent| parent.kind == Kind::File) {
        return Err(StatusCode::CONFLICT.into());
    }
    make_room(inner, &meta, there.as_ref(), &to)?;
    if moves {
        inner.tree.rename(from, &to).map_err(of_parent)?;
        inner.locks.forget(from);
    } else if meta.kind == Kind::Collection && depth == Depth::Zero {
        inner.tree.copy_shallow(from, &to).map_err(of_parent)?;
    } else {
        inner.tree.copy(from, &to).map_err(|failed| {
            let href = inner.href(&failed.path);
            Refusal::failed(failed, &inner.href(&to), &href)
        })?;
    }
    let status = if there.is_some() { StatusCode::NO_CONTENT } else { StatusCode::CREATED };
    Ok(Response::new(status))
}

/// Removes what stands in the way; a file is replaced by a file in one go.
fn make_room(
    inner: &Inner,
    meta: &Meta,
    there: Option<&Meta>,
    to: &DavPath,
) -> Result<(), Refusal> {
    let Some(there) = there else { return Ok(()) };
    inner.locks.forget_inside(to);
    if (meta.kind, there.kind) == (Kind::File, Kind::File) {
        return Ok(());
    }
    match inner.remove(to) {
        Err(Refusal::Io(e)) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn destination(inner: &Inner, asked: &Asked) -> Result<DavPath, Refusal> {
    let mut lines = asked.headers.get_all("destination").iter();
    match (lines.next(), lines.next()) {
        (Some(uri), None) => Ok(inner.prefix.resolve(uri.as_bytes(), asked.authority.as_ref())?),
        _ => Err(StatusCode::BAD_REQUEST.into()),
    }
}

fn overwrites(asked: &Asked) -> Result<bool, Refusal> {
    match asked.headers.get("overwrite").map(|value| value.as_bytes()) {
        None | Some(b"T" | b"t") => Ok(true),
        Some(b"F" | b"f") => Ok(false),
        Some(_) => Err(StatusCode::BAD_REQUEST.into()),
    }
}
