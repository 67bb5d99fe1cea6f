//! The reviser `ssi`: server-side includes, which put pages together from files.
//!
//! ```gorox
//! stage {
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		.webRoot = %topDir + "/site"
//! 		rule {
//! 			static { .mimeTypes = ["shtml": "text/html; charset=utf-8"] }
//! 			ssi { .maxDepth = 4 }
//! 		}
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! The directives, as Apache and nginx have them, stand in comments `<!--#name attribute="value" -->`:
//!
//! - `include virtual="/path"` or `file="name"`: a file below `webRoot`, whose own directives count too.
//!   A `virtual` path that does not begin with a slash, and any `file`, starts at the page that holds it.
//! - `echo var="name"`, with entities for what would be markup; before it `encoding="url"` or `"none"`.
//! - `set var="name" value="text"`, `if expr="..."`, `elif expr="..."`, `else`, `endif`.
//! - `config errmsg="..." timefmt="..." sizefmt="bytes"` or `"abbrev"`, `echomsg="..."`.
//! - `fsize` and `flastmod` with `virtual` or `file`.
//!
//! Variables are those that were set, then `DATE_GMT`, `DATE_LOCAL` (the same), `LAST_MODIFIED`,
//! `DOCUMENT_NAME`, `DOCUMENT_URI`, `QUERY_STRING`, `REMOTE_ADDR`, `REQUEST_METHOD`, `REQUEST_URI`,
//! `SERVER_NAME`, and `HTTP_NAME` for fields of the request. In values `$name` or `${name}` stands for
//! the value of a variable. What does not work leaves `errmsg` in the page. No program is ever run.
//!
//! Files are included as they are, without asking handlets: only those of certain extensions are, and
//! none whose path has a segment that begins with a dot. In the place where this stands no parts of
//! contents are served (RFC 9110, 14.2): leave downloads out by the rule's condition.

mod page;
mod variables;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hemi_core::config::Size;
use hemi_core::fcache::{Content, Entry, Fcache, FcacheKind, Root};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_proto::path::{EncodedSeparators, normalize};
use hemi_web::{Body, Request, Response, Reviser};
use serde::Deserialize;

use super::{MediaRange, MiddleRank, change_content, forget_range, is_changeable, is_plain};
use page::Page;
use variables::Variables;

/// Puts pages together from files.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct SsiConfig {
    /// The directory of the files. Nothing outside it is included, whatever links there are.
    pub web_root: PathBuf,
    /// Files inside files, at most.
    #[serde(default = "eight")]
    pub max_depth: usize,
    /// Bytes of included files in one page, at most; each counts 64 more.
    #[serde(default = "sixteen_mebibytes")]
    pub max_size: Size,
    /// The extensions of files that may be included. Others may be programs, whose text nobody is to see.
    #[serde(default = "pages")]
    pub extensions: Vec<String>,
    /// The media types of contents that are looked through: `"text/html"`, or `"text/*"` for all of a kind.
    #[serde(default = "MediaRange::html")]
    pub on_content_types: Vec<MediaRange>,
    /// Where it stands among the revisers, from 6 to 25: those of a lower rank change contents first.
    #[serde(default = "rank_eight")]
    pub rank: MiddleRank,
}

fn eight() -> usize {
    8
}

fn sixteen_mebibytes() -> Size {
    Size(16 << 20)
}

fn pages() -> Vec<String> {
    ["html", "htm", "shtml", "inc", "txt", "svg", "css", "js", "json", "xml"]
        .map(str::to_owned)
        .into()
}

fn rank_eight() -> MiddleRank {
    MiddleRank::new(8)
}

/// Puts pages together.
pub struct Ssi {
    files: Arc<Files>,
    types: Vec<MediaRange>,
    rank: MiddleRank,
}

/// What may be included.
struct Files {
    fcache: Arc<Fcache>,
    root: Root,
    extensions: Vec<String>,
    max_depth: usize,
    max_size: u64,
}

impl Component for Ssi {
    const SIGN: &'static str = "ssi";
    type Config = SsiConfig;

    fn create(config: SsiConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let fcache = cx.fixture::<FcacheKind>()?;
        let extension = |name: String| name.trim_start_matches('.').to_ascii_lowercase();
        let files = Files {
            root: fcache.root(cx.path(config.web_root)),
            fcache,
            extensions: config.extensions.into_iter().map(extension).collect(),
            max_depth: config.max_depth,
            max_size: config.max_size.0,
        };
        Ok(Self { files: Arc::new(files), types: config.on_content_types, rank: config.rank })
    }
}

impl Lifecycle for Ssi {}

impl Reviser for Ssi {
    fn rank(&self) -> u8 {
        self.rank.number()
    }

    fn request(&self, req: &mut Request) {
        forget_range(req);
    }

    fn response(&self, req: &Request, response: &mut Response) {
        if is_changeable(response, &self.types) && is_plain(response) {
            let variables = Variables::new(req, response.headers());
            let page =
                |body| Body::stream(Page::new(self.files.clone(), variables, req.path(), body));
            change_content(req, response, page);
        }
    }
}

/// How a directive names a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// `virtual`: as a link would.
    Virtual,
    /// `file`: beside the page or below it.
    File,
}

impl Files {
    /// The path below the root of a file that a page of this directory names; none if it is none that
    /// may be looked at. Directories end with a slash.
    fn path(&self, place: Place, name: &str, directory: &str) -> Option<String> {
        let path = match place {
            Place::Virtual => {
                let name = name.split(['?', '#']).next().unwrap_or_default();
                let path = if name.starts_with('/') {
                    name.to_owned()
                } else {
                    format!("{directory}{name}")
                };
                let path = normalize(path.as_bytes(), EncodedSeparators::Refuse).ok()?;
                String::from_utf8(path.into_owned()).ok()?
            }
            Place::File => {
                let leads_out = |segment: &str| matches!(segment, "" | "." | "..");
                if name.split('/').any(leads_out) || name.contains(|c: char| c.is_ascii_control()) {
                    return None;
                }
                format!("{directory}{name}")
            }
        };
        let path = path.strip_prefix('/')?;
        let hidden = path.split('/').any(|segment| segment.starts_with('.'));
        (!hidden).then(|| path.to_owned())
    }

    /// A file by such a path.
    fn open(&self, path: &str) -> io::Result<Arc<Entry>> {
        let entry = self.fcache.open(&self.root, path)?;
        match entry.content {
            Content::Small(_) | Content::Large(_) => Ok(entry),
            Content::Directory | Content::Special => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Whether its extension says that its text may be seen.
    fn may_be_included(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default();
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        extension.is_some_and(|e| self.extensions.iter().any(|own| own.eq_ignore_ascii_case(e)))
    }
}
