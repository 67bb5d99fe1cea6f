//! The handlet `webdav`: files of a directory that clients read, write and lock by WebDAV (RFC 4918,
//! classes 1 and 2).
//!
//! ```gorox
//! stage {
//! 	webapp "files" {
//! 		.hostnames = ("*")
//! 		.maxBodySize = 1G
//! 		rule $path ^= "/files/" {
//! 			webdav { .webRoot = %topDir + "/files"  .stripPrefix = "/files"  .lockTimeout = 10m }
//! 		}
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("files") }
//! }
//! ```
//!
//! Who may do this is to be said by other handlets before it: `access`, or one that asks who it is. Locks
//! belong to the user that took them, if one is known. They are kept in memory, and outlive a reload, but
//! not a restart. Properties that clients give are kept as the extended attribute `user.webdav` of the
//! file; a file system without such, or one where they don't fit (4 KiB on most), has them refused.
//!
//! Links, devices and the like are not there for clients. Collections are told one level at a time
//! (`Depth: infinity` is refused to PROPFIND), and are answered to GET by the next handlet, `static` with
//! `.autoIndex` for instance. Files are sent as `application/octet-stream`, whatever they are: a page that
//! some client has put there is not to run in the site's name.

mod answers;
mod asked;
mod copy_move;
mod get;
mod locking;
mod locks;
mod paths;
mod props;
mod put;
mod tree;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hemi_core::fcache::{FcacheKind, Links};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request, Respond, Response};
use http::header::{ALLOW, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;
use tokio::task::spawn_blocking;

use answers::{ALL, Answer, READING, Refusal, is_reading};
use asked::Asked;
use locks::{Depth, Locks};
use paths::{DavPath, Prefix};
use tree::{Kind, Tree};

/// Serves the files of a directory by WebDAV.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct WebdavConfig {
    /// The directory. Nothing outside it is read or written, and no link in it is followed.
    pub web_root: PathBuf,
    /// The beginning of paths that stands for the directory: with `"/files"` the path `/files/a.txt` is
    /// its file `a.txt`. Whole segments have to match; other paths are left to the next handlet.
    #[serde(default)]
    pub strip_prefix: Prefix,
    /// Whether clients may only read. Then there are no locks either.
    #[serde(default)]
    pub read_only: bool,
    /// Locks at once, at most: 507 beyond.
    #[serde(default = "a_thousand")]
    pub max_locks: NonZeroUsize,
    /// How long a lock holds, at most, until it is refreshed. Clients may ask for less.
    #[serde(default = "an_hour")]
    pub lock_timeout: Duration,
}

fn a_thousand() -> NonZeroUsize {
    const { NonZeroUsize::new(1000).unwrap() }
}

fn an_hour() -> Duration {
    Duration::from_secs(3600)
}

/// Serves files by WebDAV.
#[derive(Debug)]
pub struct Webdav {
    read_only: bool,
    inner: Arc<Inner>,
}

/// What the threads need that files are read and written on.
#[derive(Debug)]
struct Inner {
    tree: Tree,
    prefix: Prefix,
    locks: Arc<Locks>,
    max_locks: usize,
    lock_timeout: Duration,
}

impl Component for Webdav {
    const SIGN: &'static str = "webdav";
    type Config = WebdavConfig;

    fn create(config: WebdavConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let fcache = cx.fixture::<FcacheKind>()?;
        let root = fcache.root(cx.written(&config.web_root)).following(Links::None);
        let inner = Inner {
            tree: Tree::new(root),
            prefix: config.strip_prefix,
            locks: cx.keep(Locks::default),
            max_locks: config.max_locks.get(),
            lock_timeout: config.lock_timeout,
        };
        Ok(Self { read_only: config.read_only, inner: Arc::new(inner) })
    }
}

impl Lifecycle for Webdav {}

impl Handlet for Webdav {
    async fn handle(&self, req: &mut Request) -> Reply {
        let Some(path) = self.inner.prefix.below(req.path()) else { return Reply::Next };
        if *req.method() == Method::OPTIONS {
            return self.options().into();
        }
        if self.read_only && !is_reading(req.method()) {
            return Refusal::Method(READING).respond().into();
        }
        match self.answer(req, path).await {
            Ok(Some(response)) => response.into(),
            Ok(None) => Reply::Next,
            Err(refusal) => refusal.respond().into(),
        }
    }
}

impl Webdav {
    fn options(&self) -> Response {
        let (class, allowed) = if self.read_only { ("1", READING) } else { ("1, 2", ALL) };
        Response::new(StatusCode::OK)
            .field(HeaderName::from_static("dav"), HeaderValue::from_static(class))
            // Some clients of Microsoft look for it.
            .field(HeaderName::from_static("ms-author-via"), HeaderValue::from_static("DAV"))
            .field(ALLOW, HeaderValue::from_static(allowed))
    }

    /// The answer; none leaves it to the next handlet.
    async fn answer(&self, req: &mut Request, path: DavPath) -> Result<Option<Response>, Refusal> {
        let inner = self.inner.clone();
        let mut asked = Asked::of(req, path);
        match asked.method.as_str() {
            "GET" | "HEAD" => return blocking(move || get::get(&inner, &asked)).await,
            "PUT" => return put::put(inner, asked, req.body()).await.map(Some),
            _ => {}
        }
        let takes_content = matches!(asked.method.as_str(), "PROPFIND" | "PROPPATCH" | "LOCK");
        asked.read_content(req.body(), takes_content).await?;
        if asked.method.as_str() == "PROPFIND" {
            let found = blocking(move || props::find(&inner, &asked)).await?;
            return Ok(Some(found.respond()));
        }
        let act = match asked.method.as_str() {
            "PROPPATCH" => props::patch,
            "MKCOL" => make_collection,
            "DELETE" => delete,
            "COPY" | "MOVE" => copy_move::copy_or_move,
            "LOCK" => locking::lock,
            "UNLOCK" => locking::unlock,
            _ => return Err(Refusal::Method(ALL)),
        };
        blocking(move || act(&inner, &asked)).await.map(Some)
    }
}

/// Does what may block beside the core.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    spawn_blocking(work).await.map_err(std::io::Error::other)?
}

fn make_collection(inner: &Inner, asked: &Asked) -> Answer {
    let before = inner.tree.look(&asked.path)?;
    let keys = inner.preconditions(asked, before.as_ref())?;
    if before.is_some() {
        return Err(Refusal::Method(ALL));
    }
    inner.check_member(asked, &asked.path, &keys)?;
    match inner.tree.make_collection(&asked.path) {
        Ok(()) => Ok(Response::new(StatusCode::CREATED)),
        // A link, or something made meanwhile.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Err(Refusal::Method(ALL)),
        Err(e) => Err(of_parent(e)),
    }
}

fn delete(inner: &Inner, asked: &Asked) -> Answer {
    let meta = inner.tree.look(&asked.path)?.ok_or(StatusCode::NOT_FOUND)?;
    let keys = inner.preconditions(asked, Some(&meta))?;
    // RFC 4918, 9.6.1.
    if meta.kind == Kind::Collection && asked.depth()?.is_some_and(|depth| depth == Depth::Zero) {
        return Err(StatusCode::BAD_REQUEST.into());
    }
    inner.check_member(asked, &asked.path, &keys)?;
    inner.check_lock(asked, &asked.path, Depth::Infinity, &keys)?;
    inner.remove(&asked.path)?;
    inner.locks.forget(&asked.path);
    Ok(Response::new(StatusCode::NO_CONTENT))
}

/// What is said when something can't be put to its place: that there is no such place, most often.
fn of_parent(e: std::io::Error) -> Refusal {
    match e.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            StatusCode::CONFLICT.into()
        }
        _ => e.into(),
    }
}

impl Inner {
    fn href(&self, path: &DavPath) -> String {
        let mut href = String::new();
        self.prefix.push_href(&mut href, path, false);
        href
    }

    fn remove(&self, path: &DavPath) -> Result<(), Refusal> {
        self.tree.remove(path).map_err(|failed| {
            let href = self.href(&failed.path);
            Refusal::failed(failed, &self.href(path), &href)
        })
    }
}
