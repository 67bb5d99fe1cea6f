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
//! the path that starts with a dot, but for `.well-known` (RFC 8615).

mod media_types;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hemi_core::config::Spanned;
use hemi_core::fcache::{Content, Entry, Fcache, FcacheKind, Root};
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Result};
use hemi_proto::conditional::{Validators, Verdict, evaluate, if_range_holds};
use hemi_proto::date::format_date;
use hemi_proto::etag::ETag;
use hemi_proto::range::{RangeOutcome, Ranges, unsatisfied_content_range};
use hemi_web::{Body, Handlet, Prepared, Reply, Request, Response};
use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED,
    LOCATION, RANGE,
};
use http::{Method, StatusCode};
use serde::Deserialize;

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
    pub mime_types: BTreeMap<String, Spanned<String>>,
    /// The media type of files with another extension.
    #[serde(default = "octet_stream")]
    pub default_type: Spanned<String>,
}

fn index_html() -> String {
    "index.html".to_owned()
}

fn octet_stream() -> Spanned<String> {
    Spanned::from("application/octet-stream".to_owned())
}

/// Serves files.
#[derive(Debug)]
pub struct Static {
    fcache: Arc<Fcache>,
    root: Root,
    index_file: String,
    types: BTreeMap<String, HeaderValue>,
    default_type: HeaderValue,
}

/// What an entry of the cache is answered with, worked out once.
struct Answer {
    fields: Arc<Prepared>,
    etag: String,
}

impl Component for Static {
    const SIGN: &'static str = "static";
    type Config = StaticConfig;

    fn create(config: StaticConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let mut types = BTreeMap::new();
        for (extension, media_type) in config.mime_types {
            let extension = extension.trim_start_matches('.').to_ascii_lowercase();
            types.insert(extension, media_type_of(&media_type)?);
        }
        let fcache = cx.fixture::<FcacheKind>()?;
        Ok(Self {
            root: fcache.root(cx.path(&config.web_root)),
            fcache,
            index_file: config.index_file,
            types,
            default_type: media_type_of(&config.default_type)?,
        })
    }
}

fn media_type_of(text: &Spanned<String>) -> Result<HeaderValue> {
    let bad = || Error::config(text.span, format!("\"{}\" is not a media type", text.value));
    let value = HeaderValue::from_str(&text.value).map_err(|_| bad())?;
    if text.value.contains('/') { Ok(value) } else { Err(bad()) }
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
        let path = req.path();
        let Some(relative) = path.strip_prefix('/') else { return Reply::Next };
        if is_hidden(relative) {
            return Reply::Next;
        }
        let entry = match self.find(relative) {
            Ok(Found::Entry(entry, name)) => {
                let answer = entry.note(|| self.prepare(&entry, &name));
                match answer {
                    Some(answer) => return respond(req, &entry, answer).into(),
                    None => Err(io::ErrorKind::Other.into()),
                }
            }
            Ok(Found::Directory) => return see_with_slash(req).into(),
            Err(e) => Err::<(), io::Error>(e),
        };
        match entry.map_err(|e| e.kind()) {
            Err(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory) => Reply::Next,
            Err(io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidFilename) => Reply::Next,
            // No descriptors or memory: it may be there in a moment.
            _ => StatusCode::SERVICE_UNAVAILABLE.into(),
        }
    }
}
