//! The handlet `fcgiProxy`: has scripts be run by a FastCGI server, such as PHP-FPM.
//!
//! ```gorox
//! stage {
//! 	fcgiBackend "php" { node { .address = "/run/php/php8.2-fpm.sock" } }
//! 	webapp "blog" {
//! 		.hostnames = ("*")
//! 		.webRoot = %topDir + "/blog"
//! 		rule $path -f && $path !$ ".php" { static {} }
//! 		rule { fcgiProxy { .toBackend = "php"  .script = "/index.php" } }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("blog") }
//! }
//! ```
//!
//! Without `.script`, the path says which script is meant: `/a/b.php/c` is the script `/a/b.php` with the path
//! `/c`, and `/a/` is `/a/index.php`. A script that is no file beneath `.webRoot` is left to the next
//! handlet, so that no upload can be run by a made-up path.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use hemi_core::fcache::{Content, Fcache, FcacheKind, Root};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request};
use serde::Deserialize;

use super::gateway::variables::Script;
use super::gateway::{GatewayConfig, Passing, SpecialConfig};
use crate::site_path::SitePath;
use crate::sticky::StickyConfig;

/// Has scripts be run by a FastCGI server.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct FcgiProxyConfig {
    /// The directory of the scripts, as the FastCGI server finds it, too.
    web_root: PathBuf,
    /// The script for all paths, such as `"/index.php"`; empty: the path says which.
    #[serde(default)]
    script: Option<SitePath>,
    /// The script that stands for its directory.
    #[serde(default = "index_php")]
    index_file: String,
    /// Endings of scripts, at which a path is split into that of the script and the rest.
    #[serde(default = "dot_php")]
    split_path: Vec<String>,
    /// Whether the script has to be a file here: to be turned off if the FastCGI server has its own files.
    #[serde(default = "yes")]
    check_script: bool,
}

fn index_php() -> String {
    "index.php".to_owned()
}

fn dot_php() -> Vec<String> {
    Vec::from([".php".to_owned()])
}

fn yes() -> bool {
    true
}

/// Has scripts be run by a FastCGI server.
pub struct FcgiProxy {
    passing: Passing,
    fcache: Arc<Fcache>,
    root: Root,
    /// Its path.
    web_root: String,
    script: Option<SitePath>,
    index_file: String,
    split_path: Vec<String>,
    check_script: bool,
}

impl Component for FcgiProxy {
    const SIGN: &'static str = "fcgiProxy";
    const ABOUT: Option<&'static str> =
        Some("Has scripts be run by a FastCGI server, such as PHP-FPM.");
    type Config = (GatewayConfig, SpecialConfig, StickyConfig, FcgiProxyConfig);

    fn create(
        (gateway, special, sticky, config): Self::Config,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        let fcache = cx.fixture::<FcacheKind>()?;
        let web_root = cx.path(&config.web_root);
        Ok(Self {
            passing: Passing::create((gateway, special, sticky), "FastCGI", cx)?,
            root: fcache.root(web_root.clone()),
            fcache,
            web_root: web_root.to_string_lossy().trim_end_matches('/').to_owned(),
            script: config.script,
            index_file: config.index_file,
            split_path: config.split_path,
            check_script: config.check_script,
        })
    }
}

impl Lifecycle for FcgiProxy {}

impl Handlet for FcgiProxy {
    async fn handle(&self, req: &mut Request) -> Reply {
        let script = self.script_of(req.path()).into_owned();
        if self.check_script && !self.is_file(&script.name) {
            return Reply::Next;
        }
        self.passing.pass_on(req, &Script { root: &self.web_root, ..script }).await
    }
}

impl FcgiProxy {
    fn script_of<'p>(&self, path: &'p str) -> Script<'p> {
        let root = "";
        if let Some(script) = &self.script {
            let name = script.as_str().to_owned().into();
            return Script { name, rest: path.into(), root };
        }
        let ends = self.split_path.iter().filter_map(|ending| end_of(path, ending));
        if let Some((name, rest)) = ends.min().map(|end| path.split_at(end)) {
            return Script { name: name.into(), rest: rest.into(), root };
        }
        let name: Cow<'_, str> = match path.ends_with('/') {
            true => format!("{path}{}", self.index_file).into(),
            false => path.into(),
        };
        Script { name, rest: "".into(), root }
    }

    fn is_file(&self, name: &str) -> bool {
        let entry = self.fcache.open(&self.root, name.trim_start_matches('/'));
        entry.is_ok_and(|e| matches!(e.content, Content::Small(_) | Content::Large(_)))
    }
}

/// Where the first segment of a path ends that has this ending.
fn end_of(path: &str, ending: &str) -> Option<usize> {
    let ends = path.match_indices(ending).map(|(at, found)| at + found.len());
    let mut ends = ends.filter(|end| matches!(path.as_bytes().get(*end), None | Some(b'/')));
    ends.next().filter(|_| !ending.is_empty())
}

impl std::fmt::Debug for FcgiProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FcgiProxy").field("web_root", &self.web_root).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_after_the_first_script() {
        for (path, end) in [
            ("/a.php", Some(6)),
            ("/a.php/b", Some(6)),
            ("/a.php/b.php", Some(6)),
            ("/a.phps", None),
            ("/a.phps/b.php", Some(13)),
            ("/a", None),
            ("/.php", Some(5)),
        ] {
            assert_eq!(end_of(path, ".php"), end, "{path}");
        }
        assert_eq!(end_of("/a", ""), None);
    }
}
