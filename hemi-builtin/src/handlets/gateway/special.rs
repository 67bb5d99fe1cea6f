//! Answers by which a program says what is to be answered instead: another path (`x-accel-redirect`), or a
//! file (`x-sendfile`). What they say is for this server, and never passed on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hemi_core::fcache::{Content, Fcache, FcacheKind, Root};
use hemi_core::{CreateCx, Explain, Result};
use hemi_web::{Reply, Request, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, SET_COOKIE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use tracing::warn;

use crate::handlets::static_files::whole_file;

const ACCEL_REDIRECT: HeaderName = HeaderName::from_static("x-accel-redirect");
const SENDFILE: HeaderName = HeaderName::from_static("x-sendfile");

/// What programs say to servers, and to nobody else.
const FOR_SERVERS: [HeaderName; 8] = [
    ACCEL_REDIRECT,
    SENDFILE,
    HeaderName::from_static("x-accel-buffering"),
    HeaderName::from_static("x-accel-charset"),
    HeaderName::from_static("x-accel-expires"),
    HeaderName::from_static("x-accel-limit-rate"),
    HeaderName::from_static("x-lighttpd-send-file"),
    HeaderName::from_static("x-sendfile-temporary"),
];

/// Fields of the program's answer that hold for what is answered instead.
const KEPT: [HeaderName; 6] =
    [CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, SET_COOKIE];

/// What programs may say that is answered instead.
#[derive(Clone, Debug, Default, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct SpecialConfig {
    /// Whether the program may have another path of the webapp be answered instead, by the field
    /// `x-accel-redirect`: the rules are asked about it, with `$internal` being `1`.
    pub accel_redirect: bool,
    /// Directories of files that the program may have sent instead, by the field `x-sendfile`: their
    /// absolute paths.
    pub sendfile_roots: Vec<PathBuf>,
}

/// What of this a program may.
pub(in crate::handlets) struct Special {
    redirects: bool,
    files: Option<Files>,
}

struct Files {
    fcache: Arc<Fcache>,
    roots: Vec<(PathBuf, Root)>,
}

impl Special {
    /// As the config allows.
    pub(in crate::handlets) fn create(
        config: &SpecialConfig,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        let (redirects, roots) = (config.accel_redirect, &config.sendfile_roots);
        if roots.is_empty() {
            return Ok(Self { redirects, files: None });
        }
        let fcache = cx.fixture::<FcacheKind>()?;
        let roots = roots.iter().map(|root| cx.path(root));
        let roots = roots.map(|root| (root.clone(), fcache.root(root))).collect();
        Ok(Self { redirects, files: Some(Files { fcache, roots }) })
    }

    /// The answer, or what it says that is to be answered.
    pub(in crate::handlets) fn honour(&self, req: &mut Request, mut response: Response) -> Reply {
        let fields = response.headers_mut();
        let (to, file) = (fields.remove(ACCEL_REDIRECT), fields.remove(SENDFILE));
        for name in &FOR_SERVERS {
            fields.remove(name);
        }
        match (to, file, &self.files) {
            (Some(to), _, _) if self.redirects => redirect(req, &to, response.headers()),
            (_, Some(path), Some(files)) => {
                files.send(req, &path, response.headers()).unwrap_or_else(|| {
                    let (request, path) = (req.id(), String::from_utf8_lossy(path.as_bytes()));
                    warn!(%request, "no file beneath `.sendfileRoots`: {path:?}");
                    StatusCode::NOT_FOUND.into()
                })
            }
            _ => response.into(),
        }
    }
}

/// Has the rules be asked about another path; what the program's answer says of it holds in the end.
fn redirect(req: &mut Request, to: &HeaderValue, said: &HeaderMap) -> Reply {
    if req.redirect_within(to.as_bytes().to_vec()).is_err() {
        let (request, to) = (req.id(), String::from_utf8_lossy(to.as_bytes()));
        warn!(%request, "not a path that can be answered: {to:?}");
        return StatusCode::BAD_GATEWAY.into();
    }
    let said = kept(said);
    req.revise(move |response| apply(said, response));
    Reply::Again
}

fn kept(said: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in &KEPT {
        for value in said.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

fn apply(said: HeaderMap, response: &mut Response) {
    // What is said of a file does not hold for the page that tells of an error.
    if response.status().is_client_error() || response.status().is_server_error() {
        return;
    }
    let fields = response.headers_mut();
    for name in &KEPT {
        if *name != SET_COOKIE && said.contains_key(name) {
            fields.remove(name);
        }
        for value in said.get_all(name) {
            fields.append(name, value.clone());
        }
    }
}

impl Files {
    fn send(&self, req: &Request, path: &HeaderValue, said: &HeaderMap) -> Option<Reply> {
        let path = Path::new(std::str::from_utf8(path.as_bytes()).ok()?);
        let beneath = |(root, below): &(PathBuf, Root)| {
            let rest = path.strip_prefix(root).ok()?.to_str()?.to_owned();
            let entry = self.fcache.open(below, &rest).ok()?;
            matches!(entry.content, Content::Small(_) | Content::Large(_)).then_some((entry, rest))
        };
        let (entry, rest) = self.roots.iter().find_map(beneath)?;
        let mut response = whole_file(req, &entry, &rest);
        apply(kept(said), &mut response);
        Some(response.into())
    }
}
