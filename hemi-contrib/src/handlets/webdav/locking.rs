//! LOCK and UNLOCK (RFC 4918 sections 9.10 and 9.11).

use std::sync::Arc;
use std::time::Duration;

use hemi_core::clock;
use hemi_proto::webdav::xml::{DAV, Element};
use hemi_web::Response;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};

use super::answers::{Answer, DECLARATION, Refusal, of_href, xml};
use super::locks::{Depth, Lock, NoLock, NotReleased, Scope};
use super::props::active_locks;
use super::tree::Place;
use super::{Asked, Inner, of_parent};

/// Bytes of what a client says about itself in a lock, at most: 413 beyond.
const MAX_OWNER: usize = 1 << 10;

const LOCK_TOKEN: HeaderName = HeaderName::from_static("lock-token");

/// Answers LOCK. May block.
pub(super) fn lock(inner: &Inner, asked: &Asked) -> Answer {
    let before = inner.tree.look(&asked.path)?;
    let tokens = inner.preconditions(asked, before.as_ref())?;
    let until = clock::now().after(timeout(inner, asked));
    if asked.content.is_empty() {
        let refreshed = inner.locks.refresh(&asked.path, asked.keys(&tokens), until);
        let refreshed = refreshed.ok_or(StatusCode::PRECONDITION_FAILED)?;
        return Ok(described(inner, StatusCode::OK, refreshed));
    }
    let (scope, owner) = wanted(&asked.content)?;
    if before.is_none() {
        inner.check_member(asked, &asked.path, &tokens)?;
    }
    let lock = Lock {
        token: token()?,
        root: asked.path.clone(),
        scope,
        depth: asked.depth()?.unwrap_or(Depth::Infinity),
        owner,
        user: asked.user.clone(),
        until,
    };
    let lock = inner.locks.take(lock, inner.max_locks).map_err(|no| match no {
        NoLock::Conflict(root) => {
            let about = of_href(&inner.href(&root));
            Refusal::Unmet(StatusCode::LOCKED, "no-conflicting-lock", about)
        }
        NoLock::Full => StatusCode::INSUFFICIENT_STORAGE.into(),
    })?;
    let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    if before.is_none() {
        // RFC 4918, 7.3: a lock on nothing makes an empty file.
        let made = inner.tree.upload(&asked.path).and_then(|upload| upload.place(Place::Free));
        if let Err(e) = made {
            inner.locks.forget(&asked.path);
            return Err(of_parent(e));
        }
    }
    let field = HeaderValue::try_from(format!("<{}>", lock.token));
    let response = described(inner, status, lock);
    Ok(field
        .map_or_else(|_| StatusCode::BAD_REQUEST.into(), |token| response.field(LOCK_TOKEN, token)))
}

/// Answers UNLOCK.
pub(super) fn unlock(inner: &Inner, asked: &Asked) -> Answer {
    let before = inner.tree.look(&asked.path)?;
    inner.preconditions(asked, before.as_ref())?;
    let token = asked.headers.get(LOCK_TOKEN).and_then(|value| value.to_str().ok());
    let token = token.and_then(|text| text.trim().strip_prefix('<')?.strip_suffix('>'));
    let tokens = [token.ok_or(StatusCode::BAD_REQUEST)?.to_owned()];
    match inner.locks.release(&asked.path, asked.keys(&tokens)) {
        Ok(()) => Ok(Response::new(StatusCode::NO_CONTENT)),
        Err(NotReleased::NotYours) => Err(StatusCode::FORBIDDEN.into()),
        Err(NotReleased::Unknown) => Err(Refusal::Unmet(
            StatusCode::CONFLICT,
            "lock-token-matches-request-uri",
            String::new(),
        )),
    }
}

/// How long the lock is to hold, at most as long as is allowed.
fn timeout(inner: &Inner, asked: &Asked) -> Duration {
    let text = asked.headers.get("timeout").and_then(|value| value.to_str().ok());
    let wishes = text.into_iter().flat_map(|text| text.split(','));
    // The first that can be understood; `Infinite` is as long as is allowed.
    let wish = wishes.map(str::trim).find_map(|wish| match wish.strip_prefix("Second-") {
        Some(seconds) => seconds.parse().map(Duration::from_secs).ok(),
        None => (wish == "Infinite").then_some(Duration::MAX),
    });
    wish.map_or(inner.lock_timeout, |wish| wish.min(inner.lock_timeout))
}

/// What kind of lock is asked for, and by whom.
fn wanted(content: &[u8]) -> Result<(Scope, Option<String>), Refusal> {
    let info = Element::parse(content)?;
    let bad = Refusal::Status(StatusCode::BAD_REQUEST);
    if !info.name.is_dav("lockinfo") {
        return Err(bad);
    }
    let is_write = info.dav("locktype").is_some_and(|kind| kind.dav("write").is_some());
    let scope = info.dav("lockscope");
    let scope = match (scope.and_then(|s| s.dav("exclusive")), scope.and_then(|s| s.dav("shared")))
    {
        (Some(_), None) => Scope::Exclusive,
        (None, Some(_)) => Scope::Shared,
        _ => return Err(bad),
    };
    if !is_write {
        return Err(bad);
    }
    let owner = info.dav("owner").map(|owner| {
        let mut text = String::new();
        owner.write(&mut text);
        text
    });
    if owner.as_ref().is_some_and(|owner| owner.len() > MAX_OWNER) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE.into());
    }
    Ok((scope, owner))
}

/// A token that nobody can guess: a random UUID (RFC 9562, 5.4).
fn token() -> Result<String, Refusal> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    let bits = u128::from_be_bytes(bytes);
    let bits = bits & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    let (a, rest) = hex.split_at(8);
    let (b, rest) = rest.split_at(4);
    let (c, rest) = rest.split_at(4);
    let (d, e) = rest.split_at(4);
    Ok(format!("urn:uuid:{a}-{b}-{c}-{d}-{e}"))
}

fn described(inner: &Inner, status: StatusCode, lock: Arc<Lock>) -> Response {
    let active = active_locks(inner, &[lock]);
    let body = format!(
        "{DECLARATION}<D:prop xmlns:D=\"{DAV}\"><D:lockdiscovery>{active}</D:lockdiscovery></D:prop>\n"
    );
    xml(status, body)
}
