//! The handlet `cgi`: runs a program for each request, as CGI/1.1 has it (RFC 3875).
//!
//! ```gorox
//! stage {
//! 	webapp "tools" {
//! 		.hostnames = ("*")
//! 		rule $path ^= "/cgi-bin/" {
//! 			cgi {
//! 				.webRoot = %topDir + "/cgi-bin"
//! 				.mount = "/cgi-bin"
//! 				.maxProcs = 8
//! 				.timeout = 10s
//! 			}
//! 		}
//! 		rule { .returnCode = 404 }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("tools") }
//! }
//! ```
//!
//! `/cgi-bin/a/b` is the program `a` in that directory with the path `/b`, unless `a` is a directory. No shell
//! has a part in it: the program is a file that can be executed and begins with `#!`, or is in the machine's own
//! format. It is told what CGI says and nothing of this server's environment, and is killed with all that it
//! has started when its time is over, or its client has gone. What it writes to its error stream is in the log.

mod output;
mod process;

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hemi_core::config::{Size, Template};
use hemi_core::fcache::{Content, Fcache, FcacheKind, Root};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{Handlet, Reply, Request, Response, WebVar};
use http::StatusCode;
use serde::Deserialize;
use tracing::warn;

use super::gateway::special::Special;
use super::gateway::variables::{Script, variables};
use super::gateway::{Mount, MountConfig, SpecialConfig};
use output::Output;
use process::{Failure, Processes, Program};

/// Runs a program for each request.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct CgiConfig {
    /// The directory of the programs.
    web_root: PathBuf,
    /// What runs the programs, if they are not run by themselves, such as `"/usr/bin/php-cgi"`: the
    /// absolute path of another program, which is given the path of the file.
    #[serde(default)]
    interpreter: Option<PathBuf>,
    /// Variables for the program, besides those of CGI and a `PATH` of the system's directories.
    #[serde(default)]
    params: Vec<(String, Template<WebVar>)>,
    /// Programs that run at once, at most.
    #[serde(default = "sixteen")]
    max_procs: NonZeroUsize,
    /// Requests that wait for one of them to end, at most: 503 beyond.
    #[serde(default = "sixty_four")]
    max_waiting: usize,
    /// How long a request may take, with the time that it waits: 504 if there is no answer by then.
    #[serde(default = "thirty_seconds")]
    timeout: Duration,
    /// Bytes of content that does not say beforehand how long it is, at most, for it is waited for: 413
    /// beyond.
    #[serde(default = "eight_mebibytes")]
    max_buffered: Size,
}

fn sixteen() -> NonZeroUsize {
    const { NonZeroUsize::new(16).unwrap() }
}

fn sixty_four() -> usize {
    64
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

fn eight_mebibytes() -> Size {
    Size(8 << 20)
}

/// Segments of a path that are looked at for a program.
const SEGMENTS: usize = 32;

/// Runs a program for each request.
pub struct Cgi {
    fcache: Arc<Fcache>,
    root: Root,
    /// Its path.
    web_root: String,
    mount: Mount,
    interpreter: Option<PathBuf>,
    params: Vec<(String, Template<WebVar>)>,
    timeout: Duration,
    max_buffered: u64,
    processes: Processes,
    special: Special,
}

impl Component for Cgi {
    const SIGN: &'static str = "cgi";
    type Config = (CgiConfig, MountConfig, SpecialConfig);

    fn create((config, mount, special): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let fcache = cx.fixture::<FcacheKind>()?;
        let web_root = cx.path(&config.web_root);
        Ok(Self {
            root: fcache.root(web_root.clone()),
            fcache,
            web_root: web_root.to_string_lossy().trim_end_matches('/').to_owned(),
            mount: mount.into(),
            interpreter: config.interpreter.map(|path| cx.path(path)),
            params: config.params,
            timeout: config.timeout,
            max_buffered: config.max_buffered.0,
            processes: Processes::new(config.max_procs.get(), config.max_waiting),
            special: Special::create(&special, cx)?,
        })
    }
}

impl Lifecycle for Cgi {}

/// A file that is to be run.
struct Found {
    /// Its path below the root.
    file: String,
    script: Script<'static>,
}

impl Handlet for Cgi {
    async fn handle(&self, req: &mut Request) -> Reply {
        let Some(found) = self.find(req.path()) else { return Reply::Next };
        match self.run(req, &found).await {
            Ok(reply) => reply,
            Err(failure) => {
                if let Some(why) = failure.why {
                    warn!(request = %req.id(), program = found.file, "{why}");
                }
                failure.status.into()
            }
        }
    }
}

impl Cgi {
    /// The program that a path means, and what of the path is for it.
    fn find(&self, path: &str) -> Option<Found> {
        let below = self.mount.script_of(path)?;
        let (mount, below) = (below.name, below.rest.strip_prefix('/')?);
        let ends = below.match_indices('/').map(|(at, _)| at).chain([below.len()]);
        for end in ends.take(SEGMENTS) {
            let (file, rest) = below.split_at(end);
            match self.fcache.open(&self.root, file).ok()?.content {
                Content::Small(_) | Content::Large(_) => {
                    let name = Cow::Owned(format!("{mount}/{file}"));
                    let script = Script { name, rest: rest.to_owned().into(), root: "" };
                    return Some(Found { file: file.to_owned(), script });
                }
                Content::Directory => {}
                Content::Special => return None,
            }
        }
        None
    }

    async fn run(&self, req: &mut Request, found: &Found) -> Result<Reply, Failure> {
        let deadline = tokio::time::Instant::now() + self.timeout;
        let place = self.processes.place(deadline).await?;
        let mut body = req.take_body();
        if body.len().is_none() {
            let bytes = body.bytes(self.max_buffered).await;
            body = bytes.map_err(|e| Failure::silent(e.status()))?.into();
        }
        let script = Script { name: found.script.name.as_ref().into(), ..Script::default() };
        let script =
            Script { rest: found.script.rest.as_ref().into(), root: &self.web_root, ..script };
        let mut variables = variables(req, &script, body.len());
        let path = format!("{}/{}", self.web_root, found.file);
        let mut put = |name: &str, value: Vec<u8>| {
            variables.retain(|(other, _)| other != name);
            variables.push((name.to_owned().into(), value.into()));
        };
        put("SCRIPT_FILENAME", path.clone().into_bytes());
        put("PATH", b"/usr/local/bin:/usr/bin:/bin".to_vec());
        for (name, value) in &self.params {
            put(name, value.render(req).into_owned());
        }
        let owned = |(name, value): (Cow<'_, str>, Cow<'_, [u8]>)| {
            (name.into_owned().into(), value.into_owned().into())
        };
        let variables = variables.into_iter().map(owned).collect();
        let interpreter = self.interpreter.clone();
        let program = Program { path: path.into(), interpreter, variables };
        let running = program.start(place, deadline, req.id().into_owned()).await?;
        let (mut output, head) = Output::begin(running, req.method(), body, deadline).await?;
        if let Some(to) = head.local_redirect() {
            let failed = |_| Failure::of(StatusCode::BAD_GATEWAY, "it redirects to no path");
            req.redirect_within(to.as_bytes().to_vec()).map_err(failed)?;
            return Ok(Reply::Again);
        }
        output.announced(&head);
        let mut response = Response::new(head.status).with_body(output.into_body(head.length));
        *response.headers_mut() = head.headers;
        Ok(self.special.honour(req, response))
    }
}

impl std::fmt::Debug for Cgi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cgi").field("web_root", &self.web_root).finish_non_exhaustive()
    }
}
