//! The handlet `static`: files of a directory.
//!
//! ```gorox
//! stage {
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		.webRoot = %topDir + "/site"
//! 		rule $path ^= "/assets/" {
//! 			static {
//! 				.cacheControl = "public, max-age=31536000, immutable"
//! 				.precompressed = ("br", "zstd", "gzip")
//! 			}
//! 		}
//! 		rule $path ^= "/pub/" {
//! 			static { .stripPrefix = "/pub"  .webRoot = %topDir + "/downloads"  .autoIndex = true }
//! 		}
//! 		rule { static { .mimeTypes = ["wat": "text/plain"]  .spaFallback = "/index.html" } }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Paths that are not found are left to the next handlet or rule. So are hidden files: any segment of
//! the path that starts with a dot, but for `.well-known` (RFC 8615), and copies that editors and
//! people leave beside a file: `a~`, `a.bak`, `a.old`, `a.orig`, `a.save` and `a.swp`. What is found
//! answers GET and HEAD, and 405 to all else.
//!
//! A listing is a page, or JSON for who asks with `Accept: application/json` or `?format=json`. It is
//! sorted by `?sort=name`, `size` or `time`, and `&order=asc` or `desc`.

mod answer;
mod listing;
mod media_types;
mod paths;
mod precompressed;
mod ranges;
mod try_list;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use hemi_core::config::{Diagnostic, Spanned};
use hemi_core::fcache::{Content, Entry, Fcache, FcacheKind, Links, Root};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_proto::accept;
use hemi_proto::accept_encoding::Coding;
use hemi_proto::path::push_encoded;
use hemi_web::{Handlet, Reply, Request, Response};
use http::StatusCode;
use http::header::{HeaderValue, VARY};
use serde::Deserialize;

use super::{is_get_or_head, only_get_and_head, redirect_to};

use crate::site_path::SitePath;
use answer::{CacheControl, Common};
use listing::{Lister, Wish};
use media_types::Charset;
pub(crate) use media_types::MediaType;
use paths::{Kept, join};
use precompressed::{Choice, FileCoding, Siblings};
use try_list::{Candidate, TryList};

/// Serves the files of a directory.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct StaticConfig {
    /// The directory. Nothing outside it is served, whatever links there are.
    pub web_root: PathBuf,
    /// The beginning of paths that stands for the directory: with `"/assets"` the path `/assets/a.css`
    /// is its file `a.css`. Whole segments have to match; other paths are left to the next handlet.
    #[serde(default)]
    pub strip_prefix: Option<SitePath>,
    /// The file that stands for its directory; empty for none.
    #[serde(default = "index_html")]
    pub index_file: String,
    /// What is looked for instead of the path alone, in order: paths of files, or of directories with
    /// a slash at their end, as in `($path, $path + "/", $path + ".html", "=404")`. A status can be
    /// the last: without one, what is not found is left to the next handlet.
    #[serde(default)]
    pub try_files: TryList,
    /// The file for paths that are not found, as applications in one page have it. Only those that ask
    /// for `text/html` by name get it, and never for a path with the extension of a file that is none.
    #[serde(default)]
    pub spa_fallback: Option<Spanned<SitePath>>,
    /// Whether directories without an index file are listed.
    #[serde(default)]
    pub auto_index: bool,
    /// Entries of a directory that are read for a listing, at most.
    #[serde(default = "five_thousand")]
    pub max_entries: NonZeroUsize,
    /// Compressed files to be sent in place of `a.css` to who takes them: `"br"` for `a.css.br`, `"zstd"`
    /// for `a.css.zst`, `"gzip"` for `a.css.gz`. The client chooses; of what it likes as much, the first
    /// is sent. One that is older than its original is not.
    #[serde(default)]
    pub precompressed: Vec<FileCoding>,
    /// Which symbolic links are followed: those that stay in the directory (`"beneath"`), of these only
    /// such as belong to the owner of what they lead to (`"owner"`), or `"none"`.
    #[serde(default)]
    pub symlinks: Links,
    /// Whether hidden files are served too.
    #[serde(default)]
    pub serve_hidden: bool,
    /// Whether copies of files are served too.
    #[serde(default)]
    pub serve_copies: bool,
    /// Whether files have an entity tag, made of their inode, time and length.
    #[serde(default = "yes")]
    pub etag: bool,
    /// The value of `cache-control` for files, such as `"public, max-age=3600"`. Rules tell paths apart.
    #[serde(default)]
    pub cache_control: Option<CacheControl>,
    /// Media types by file name extension, in addition to the built-in ones.
    #[serde(default)]
    pub mime_types: BTreeMap<String, MediaType>,
    /// The media type of files with another extension.
    #[serde(default = "MediaType::octet_stream")]
    pub default_type: MediaType,
    /// The charset of text whose media type is built in; empty to name none.
    #[serde(default = "Charset::utf_8")]
    pub charset: Charset,
}

fn index_html() -> String {
    "index.html".to_owned()
}

fn five_thousand() -> NonZeroUsize {
    const { NonZeroUsize::new(5000).unwrap() }
}

fn yes() -> bool {
    true
}

/// Serves files.
#[derive(Debug)]
pub struct Static {
    fcache: Arc<Fcache>,
    root: Root,
    prefix: Option<SitePath>,
    index_file: String,
    try_files: TryList,
    spa_fallback: Option<SitePath>,
    lister: Option<Lister>,
    siblings: Siblings,
    kept: Kept,
    common: Common,
    types: BTreeMap<String, MediaType>,
    default_type: MediaType,
    charset: Charset,
}

/// What a request leads to. Paths are those below the root.
enum Found<'r> {
    /// A file.
    File(Arc<Entry>, Cow<'r, str>),
    /// The file for what is not found.
    Fallback(Arc<Entry>, Cow<'r, str>),
    /// A directory, asked for without the slash at its end.
    Slashless,
    /// A directory that is to be listed.
    Listing(Cow<'r, str>),
    /// No file, and that is to be said.
    Status(StatusCode),
}

/// An answer, or what has to be waited for.
enum Answered<'r> {
    Now(Reply),
    /// The directory to be listed.
    Later(Cow<'r, str>),
}

impl Component for Static {
    const SIGN: &'static str = "static";
    type Config = StaticConfig;

    fn create(config: StaticConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        check(&config, cx)?;
        let fcache = cx.fixture::<FcacheKind>()?;
        let root = || fcache.root(cx.path(&config.web_root)).following(config.symlinks);
        let kept = Kept { hidden: !config.serve_hidden, copies: !config.serve_copies };
        let siblings = Siblings::new(root(), config.precompressed);
        let root = root();
        let lister = || Lister::new(root.clone(), kept, config.max_entries.get());
        let extension = |name: &str| name.trim_start_matches('.').to_ascii_lowercase();
        Ok(Self {
            prefix: config.strip_prefix,
            index_file: config.index_file,
            try_files: config.try_files,
            spa_fallback: config.spa_fallback.map(|fallback| fallback.value),
            lister: config.auto_index.then(lister),
            kept,
            common: Common {
                has_etag: config.etag,
                cache_control: config.cache_control,
                varies: siblings.are_looked_for(),
            },
            types: config.mime_types.into_iter().map(|(e, t)| (extension(&e), t)).collect(),
            default_type: config.default_type,
            charset: config.charset,
            siblings,
            fcache,
            root,
        })
    }
}

/// Finds paths that no request would ever lead to.
fn check(config: &StaticConfig, cx: &CreateCx<'_>) -> Result<()> {
    let outside = |path: &str| {
        config.strip_prefix.as_ref().filter(|prefix| prefix.strip(path).is_none()).map(|prefix| {
            let message = format!("\"{path}\" is outside `.stripPrefix`");
            let proposal = format!("\"{}{path}\"", prefix.as_str());
            (message, format!("paths are written as requests have them: write {proposal}"))
        })
    };
    for path in config.try_files.literals() {
        if let Some((message, help)) = outside(path) {
            return Err(Diagnostic::new(cx.span(), message).help(help).into());
        }
    }
    let Some(fallback) = &config.spa_fallback else { return Ok(()) };
    if let Some((message, help)) = outside(fallback.as_str()) {
        return Err(Diagnostic::new(fallback.span, message).help(help).into());
    }
    if config.try_files.ends_with_status() {
        let message = "`.spaFallback` is never reached: `.tryFiles` ends with a status";
        return Err(Diagnostic::new(fallback.span, message).help("leave the status out").into());
    }
    Ok(())
}

impl Lifecycle for Static {}

impl Handlet for Static {
    async fn handle(&self, req: &mut Request) -> Reply {
        let directory = match self.answer(req) {
            Answered::Now(reply) => return reply,
            Answered::Later(directory) => directory.into_owned(),
        };
        let Some(lister) = &self.lister else { return Reply::Next };
        let wish = Wish::of(req, self.prefix.as_ref());
        match lister.list(directory, wish).await {
            Ok(listing) => listing.into(),
            Err(e) => failed(&e),
        }
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        match self.answer(req) {
            Answered::Now(reply) => Some(reply),
            Answered::Later(_) => None,
        }
    }
}

impl Static {
    fn answer<'r>(&'r self, req: &'r Request) -> Answered<'r> {
        let reply = match self.find(req) {
            Ok(Found::Status(status)) => status.into(),
            Ok(_) if !is_get_or_head(req.method()) => only_get_and_head().into(),
            Ok(Found::File(entry, path)) => self.send(req, entry, &path).into(),
            Ok(Found::Fallback(entry, path)) => {
                let vary = HeaderValue::from_static("accept");
                self.send(req, entry, &path).field(VARY, vary).into()
            }
            Ok(Found::Slashless) => redirect_to_slash(req).into(),
            Ok(Found::Listing(directory)) => return Answered::Later(directory),
            Err(e) => failed(&e),
        };
        Answered::Now(reply)
    }

    fn find<'r>(&'r self, req: &'r Request) -> io::Result<Found<'r>> {
        let nothing = || Err(io::ErrorKind::NotFound.into());
        let Some(path) = self.below(req.path()) else { return nothing() };
        let found = if self.prefix.as_ref().is_some_and(|prefix| prefix.as_str() == req.path()) {
            self.in_directory("").map(|_| Found::Slashless)
        } else if self.try_files.is_empty() {
            self.look(path)
        } else {
            self.try_in_order(req, path)
        };
        match (&found, &self.spa_fallback) {
            (Err(e), Some(fallback)) if !is_passing(e) && self.asks_for_page(req) => {
                let Some(path) = self.below(fallback.as_str()) else { return nothing() };
                match self.look(path)? {
                    Found::File(entry, path) => Ok(Found::Fallback(entry, path)),
                    _ => nothing(),
                }
            }
            _ => found,
        }
    }

    /// What a path of requests is below the root; none if there it is nothing that is served.
    fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        let path = match &self.prefix {
            Some(prefix) if prefix.as_str() == path => return Some(""),
            Some(prefix) => prefix.strip(path)?,
            None => path,
        };
        path.strip_prefix('/').filter(|path| !self.kept.keeps(path))
    }

    /// The first of the candidates that is there.
    fn try_in_order<'r>(&'r self, req: &'r Request, path: &str) -> io::Result<Found<'r>> {
        for candidate in self.try_files.iter() {
            let rendered = match candidate {
                Candidate::Path(template) => template.render(req),
                Candidate::Status(status) => return Ok(Found::Status(*status)),
            };
            let Some(tried) = str::from_utf8(&rendered).ok().and_then(|path| self.below(path))
            else {
                continue;
            };
            // As of `$path + "/a"`, where the path has a slash at its end.
            match self.look(tried.trim_start_matches('/')) {
                // It is meant with a slash, or not meant.
                Ok(Found::Slashless) => {}
                Ok(_) if tried.strip_suffix('/') == Some(path) => return Ok(Found::Slashless),
                Ok(found) => return Ok(found.into_owned()),
                Err(e) if is_passing(&e) => return Err(e),
                Err(_) => {}
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    fn look<'p>(&'p self, path: &'p str) -> io::Result<Found<'p>> {
        let directory = path.strip_suffix('/').or_else(|| path.is_empty().then_some(path));
        let Some(directory) = directory else {
            let entry = self.fcache.open(&self.root, path)?;
            return match entry.content {
                Content::Small(_) | Content::Large(_) => Ok(Found::File(entry, path.into())),
                Content::Directory => self.in_directory(path).map(|_| Found::Slashless),
                Content::Special => Err(io::ErrorKind::NotFound.into()),
            };
        };
        self.in_directory(directory)
    }

    /// The file that stands for a directory, or what it holds.
    fn in_directory<'p>(&'p self, directory: &'p str) -> io::Result<Found<'p>> {
        match self.index_of(directory) {
            Ok(found) => Ok(found),
            Err(e) if self.lister.is_none() || is_passing(&e) => Err(e),
            Err(_) => match self.fcache.open(&self.root, directory)?.content {
                Content::Directory => Ok(Found::Listing(directory.into())),
                _ => Err(io::ErrorKind::NotFound.into()),
            },
        }
    }

    fn index_of(&self, directory: &str) -> io::Result<Found<'_>> {
        if self.index_file.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let path = join(directory, &self.index_file);
        let entry = self.fcache.open(&self.root, &path)?;
        match entry.content {
            Content::Small(_) | Content::Large(_) => Ok(Found::File(entry, path)),
            Content::Directory | Content::Special => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Whether a request is one of a person that opens a page, as far as can be told.
    fn asks_for_page(&self, req: &Request) -> bool {
        let media_type = self.media_type_of_extension(req.path());
        is_get_or_head(req.method())
            && accept::named(req.headers(), "text/html").is_some_and(|quality| !quality.is_zero())
            && media_type.is_none_or(|media_type| media_type.essence() == "text/html")
    }

    /// Sends a file, or what stands compressed beside it.
    fn send(&self, req: &Request, original: Arc<Entry>, path: &str) -> Response {
        let (entry, coding) = match self.siblings.choose(&self.fcache, req, &original, path) {
            Choice::Original => (original, Coding::Identity),
            Choice::Compressed(entry, coding) => (entry, coding),
            Choice::Nothing => {
                let vary = HeaderValue::from_static("accept-encoding");
                return Response::from(StatusCode::NOT_ACCEPTABLE).field(VARY, vary);
            }
        };
        match entry.note(|| self.common.prepare(&entry, self.media_type(path), coding)) {
            Some(answer) => answer.respond(req, &entry),
            // Somebody else's note: roots are not shared.
            None => StatusCode::INTERNAL_SERVER_ERROR.into(),
        }
    }

    fn media_type(&self, path: &str) -> MediaType {
        self.media_type_of_extension(path).unwrap_or_else(|| self.default_type.clone())
    }

    fn media_type_of_extension(&self, path: &str) -> Option<MediaType> {
        let (_, extension) = path.rsplit_once('.')?;
        let extension = extension.to_ascii_lowercase();
        let built_in = || Some(MediaType::of(&extension)?.in_charset(&self.charset));
        self.types.get(&extension).cloned().or_else(built_in)
    }
}

impl Found<'_> {
    fn into_owned(self) -> Found<'static> {
        let owned = |path: Cow<'_, str>| Cow::Owned(path.into_owned());
        match self {
            Self::File(entry, path) => Found::File(entry, owned(path)),
            Self::Fallback(entry, path) => Found::Fallback(entry, owned(path)),
            Self::Slashless => Found::Slashless,
            Self::Listing(path) => Found::Listing(owned(path)),
            Self::Status(status) => Found::Status(status),
        }
    }
}

/// The answer to a GET or HEAD for a file that was found in another way, by this path below its root.
pub(super) fn whole_file(req: &Request, entry: &Entry, path: &str) -> Response {
    let common = Common { has_etag: true, cache_control: None, varies: false };
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    let media_type = MediaType::of(&extension.to_ascii_lowercase());
    let media_type = media_type.map(|media_type| media_type.in_charset(&Charset::utf_8()));
    let media_type = media_type.unwrap_or_else(MediaType::octet_stream);
    common.prepare(entry, media_type, Coding::Identity).respond(req, entry)
}

/// What is said where nothing was found.
fn failed(e: &io::Error) -> Reply {
    if is_passing(e) { StatusCode::SERVICE_UNAVAILABLE.into() } else { Reply::Next }
}

/// Whether there is no memory (12) or no descriptor (23, 24) for the file now, and soon may be.
fn is_passing(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(12 | 23 | 24))
}

/// To the same path with a slash, by which links in the directory's page are resolved.
///
/// The path is the normalised one: two slashes at the start would name another host.
fn redirect_to_slash(req: &Request) -> Response {
    let mut to = String::new();
    push_encoded(&mut to, req.path());
    to.push('/');
    if let Some(query) = req.query() {
        to.push('?');
        to.push_str(query);
    }
    redirect_to(StatusCode::MOVED_PERMANENTLY, to)
}
