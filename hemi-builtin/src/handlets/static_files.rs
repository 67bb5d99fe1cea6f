//! The handlet `static`: files of a directory.
//!
//! ```gorox
//! stage {
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		.webRoot = %topDir + "/site"
//! 		rule { static { .indexFile = "index.html"  .mimeTypes = ["wat": "text/plain"] } }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Paths that are not found are left to the next handlet or rule. So are hidden files: any segment of
//! the path that starts with a dot, but for `.well-known` (RFC 8615), and copies that editors and
//! people leave beside a file: `a~`, `a.bak`, `a.old`, `a.orig`, `a.save` and `a.swp`. What is found
//! answers GET and HEAD, and 405 to all else.

mod media_types;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hemi_core::clock;
use hemi_core::fcache::{Content, Entry, Fcache, FcacheKind, Root};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_proto::conditional::{Validators, Verdict, evaluate, if_range_holds};
use hemi_proto::date::format_date;
use hemi_proto::etag::ETag;
use hemi_proto::range::{ByteRange, RangeOutcome, Ranges, unsatisfied_content_range};
use hemi_web::{Body, Handlet, Prepared, Reply, Request, Response};
use http::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, HeaderMap, HeaderValue, LAST_MODIFIED,
    LOCATION, RANGE,
};
use http::{Method, StatusCode};
use serde::Deserialize;

use super::{is_get_or_head, only_get_and_head};

pub(crate) use media_types::MediaType;

/// Serves the files of a directory.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct StaticConfig {
    /// The directory. Nothing outside it is served, whatever links there are.
    pub web_root: PathBuf,
    /// The file that stands for its directory; empty for none.
    #[serde(default = "index_html")]
    pub index_file: String,
    /// Media types by file name extension, in addition to the built-in ones.
    #[serde(default)]
    pub mime_types: BTreeMap<String, MediaType>,
    /// The media type of files with another extension.
    #[serde(default = "MediaType::octet_stream")]
    pub default_type: MediaType,
}

fn index_html() -> String {
    "index.html".to_owned()
}

/// Files up to this many bytes are kept with their fields in front, ready to be sent.
const WHOLE: usize = 4 << 10;

/// Serves files.
#[derive(Debug)]
pub struct Static {
    fcache: Arc<Fcache>,
    root: Root,
    index_file: String,
    types: BTreeMap<String, MediaType>,
    default_type: MediaType,
}

/// What a path leads to.
enum Found {
    /// A file.
    File(Arc<Entry>),
    /// A directory, asked for without the slash at its end.
    Directory,
}

/// What an entry of the cache is answered with, worked out once.
struct Answer {
    fields: Arc<Prepared>,
    /// Those of them that a 304 has (RFC 9110, 15.4.5).
    validators: Arc<Prepared>,
    etag: String,
}

impl Component for Static {
    const SIGN: &'static str = "static";
    type Config = StaticConfig;

    fn create(config: StaticConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let fcache = cx.fixture::<FcacheKind>()?;
        let extension = |name: &str| name.trim_start_matches('.').to_ascii_lowercase();
        Ok(Self {
            root: fcache.root(cx.path(&config.web_root)),
            fcache,
            index_file: config.index_file,
            types: config.mime_types.into_iter().map(|(e, t)| (extension(&e), t)).collect(),
            default_type: config.default_type,
        })
    }
}

impl Lifecycle for Static {}

impl Handlet for Static {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.answer(req)
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        Some(self.answer(req))
    }
}

impl Static {
    fn answer(&self, req: &Request) -> Reply {
        let Some(path) = req.path().strip_prefix('/').filter(|path| !is_hidden(path)) else {
            return Reply::Next;
        };
        match self.find(path) {
            Ok(_) if !is_get_or_head(req.method()) => only_get_and_head().into(),
            Ok(Found::File(entry)) => match entry.note(|| self.prepare(&entry, path)) {
                Some(answer) => respond(req, &entry, answer).into(),
                None => Reply::Next,
            },
            Ok(Found::Directory) => redirect_to_slash(req).into(),
            Err(e) if is_passing(&e) => StatusCode::SERVICE_UNAVAILABLE.into(),
            Err(_) => Reply::Next,
        }
    }

    fn find(&self, path: &str) -> io::Result<Found> {
        let directory = path.strip_suffix('/').or_else(|| path.is_empty().then_some(path));
        let Some(directory) = directory else {
            let entry = self.fcache.open(&self.root, path)?;
            return match entry.content {
                Content::Small(_) | Content::Large(_) => Ok(Found::File(entry)),
                Content::Directory => {
                    self.index_of(path)?;
                    Ok(Found::Directory)
                }
                Content::Special => Err(io::ErrorKind::NotFound.into()),
            };
        };
        self.index_of(directory).map(Found::File)
    }

    /// The file that stands for a directory.
    fn index_of(&self, directory: &str) -> io::Result<Arc<Entry>> {
        if self.index_file.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entry = match directory {
            "" => self.fcache.open(&self.root, &self.index_file)?,
            _ => self.fcache.open(&self.root, &format!("{directory}/{}", self.index_file))?,
        };
        match entry.content {
            Content::Small(_) | Content::Large(_) => Ok(entry),
            Content::Directory | Content::Special => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn prepare(&self, entry: &Entry, path: &str) -> Answer {
        let name = if path.is_empty() || path.ends_with('/') { &self.index_file } else { path };
        let etag = format!("\"{:x}-{:x}-{:x}\"", entry.version.0, entry.version.1, entry.len);
        let mut map = HeaderMap::with_capacity(4);
        let mut put = |field, text: &[u8]| {
            if let Ok(value) = HeaderValue::from_bytes(text) {
                map.insert(field, value);
            }
        };
        put(LAST_MODIFIED, &format_date(entry.modified));
        put(ETAG, etag.as_bytes());
        let validators = Arc::new(Prepared::new(map.clone()));
        map.insert(CONTENT_TYPE, self.media_type(name).value());
        map.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let fields = match &entry.content {
            Content::Small(bytes) if bytes.len() <= WHOLE => {
                Prepared::with_content(map, bytes.clone())
            }
            _ => Prepared::with_length(map, entry.len),
        };
        Answer { fields: Arc::new(fields), validators, etag }
    }

    fn media_type(&self, name: &str) -> MediaType {
        let Some((_, extension)) = name.rsplit_once('.') else { return self.default_type.clone() };
        let extension = extension.to_ascii_lowercase();
        let own = self.types.get(&extension).cloned();
        own.or_else(|| MediaType::of(&extension)).unwrap_or_else(|| self.default_type.clone())
    }
}

/// The answer with all of the file.
fn whole(entry: &Entry, answer: &Answer) -> Response {
    match &entry.content {
        Content::Small(bytes) if bytes.len() <= WHOLE => {
            Response::whole(StatusCode::OK, answer.fields.clone())
        }
        _ => {
            Response::prepared(StatusCode::OK, answer.fields.clone(), content(entry, 0..entry.len))
        }
    }
}

/// Whether there is no memory (12) or no descriptor (23, 24) for the file now, and soon may be.
fn is_passing(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(12 | 23 | 24))
}

/// Whether a segment of the path starts with a dot, or the last one names a copy.
fn is_hidden(path: &str) -> bool {
    let dotted = path.starts_with('.') || path.contains("/.");
    is_copy(path)
        || dotted && path.split('/').any(|part| part.starts_with('.') && part != ".well-known")
}

/// Copies of scripts and configs show what the originals keep to themselves.
fn is_copy(path: &str) -> bool {
    const COPIES: [&str; 5] = ["bak", "old", "orig", "save", "swp"];
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    path.ends_with('~') || COPIES.iter().any(|copy| extension.eq_ignore_ascii_case(copy))
}

/// To the same path with a slash, by which links in the directory's page are resolved.
///
/// The path is the normalised one: two slashes at the start would name another host.
fn redirect_to_slash(req: &Request) -> Response {
    let mut to = String::new();
    for byte in req.path().bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => to.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => to.push(char::from(byte)),
            _ => to.push_str(&format!("%{byte:02X}")),
        }
    }
    to.push('/');
    if let Some(query) = req.query() {
        to.push('?');
        to.push_str(query);
    }
    match HeaderValue::try_from(to) {
        Ok(to) => Response::from(StatusCode::MOVED_PERMANENTLY).field(LOCATION, to),
        Err(_) => StatusCode::BAD_REQUEST.into(),
    }
}

fn respond(req: &Request, entry: &Entry, answer: &Answer) -> Response {
    let headers = req.headers();
    if headers.is_empty() || headers.len() == 1 && headers.contains_key(HOST) {
        // There is nothing to consider.
        return whole(entry, answer);
    }
    let etag = ETag::parse(answer.etag.as_bytes());
    let current = Validators { etag, last_modified: Some(entry.modified) };
    match evaluate(req.method(), req.headers(), Some(current)) {
        Verdict::NotModified => {
            let fields = answer.validators.clone();
            return Response::prepared(StatusCode::NOT_MODIFIED, fields, Body::empty());
        }
        Verdict::PreconditionFailed => return StatusCode::PRECONDITION_FAILED.into(),
        Verdict::Proceed => {}
    }
    match range(req, entry, current) {
        Some(Err(())) => Response::from(StatusCode::RANGE_NOT_SATISFIABLE)
            .field(CONTENT_RANGE, unsatisfied_content_range(entry.len)),
        Some(Ok(range)) => {
            let part = content(entry, range.first()..range.last() + 1);
            Response::prepared(StatusCode::PARTIAL_CONTENT, answer.fields.clone(), part)
                .field(CONTENT_RANGE, range.content_range(entry.len))
        }
        None => whole(entry, answer),
    }
}

/// The one range asked for; none if all is to be sent, as when several are asked for.
fn range(req: &Request, entry: &Entry, current: Validators<'_>) -> Option<Result<ByteRange, ()>> {
    if *req.method() != Method::GET || !req.headers().contains_key(RANGE) {
        return None;
    }
    // A date is no proof that a file is the same while it may change again within the second.
    let settled = clock::calendar().duration_since(entry.modified).unwrap_or_default();
    let last_modified: Option<SystemTime> =
        current.last_modified.filter(|_| settled >= Duration::from_secs(2));
    if !if_range_holds(req.headers(), Validators { last_modified, ..current }) {
        return None;
    }
    match Ranges::from_headers(req.headers(), entry.len) {
        RangeOutcome::Whole => None,
        RangeOutcome::Unsatisfiable => Some(Err(())),
        RangeOutcome::Partial(ranges) => ranges.single().map(Ok),
    }
}

fn content(entry: &Entry, range: std::ops::Range<u64>) -> Body {
    match &entry.content {
        Content::Small(bytes) => bytes.slice(range.start as usize..range.end as usize).into(),
        Content::Large(file) => Body::file(file.clone(), range),
        Content::Directory | Content::Special => Body::empty(),
    }
}
