//! The actions that ask a program that runs, by its control socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hemi_core::HttpUrl;
use hemi_core::client::{Answer, Client, ClientError, ClientLimits};
use hemi_core::status::Timestamp;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use serde_json::json;

use crate::control::{Done, Overview, Refused, Worker};
use crate::dirs::{self, Home};
use crate::{Call, FAILED, Failure, NOT_RUNNING, term};

/// What asking may cost: an upgrade takes until the new processes serve, or have had their time.
const LIMITS: ClientLimits = ClientLimits {
    connect: Duration::from_secs(5),
    total: Duration::from_secs(120),
    content: 64 << 20,
    kept: 0,
};

pub(crate) fn status(call: &Call<'_>) -> Result<(), Failure> {
    tell(call, |overview| {
        let mut text = leader_text(overview) + &workers_text(overview);
        if let Some(load) = &overview.last_load {
            let at = ago(load.at);
            text += &match &load.refused {
                None => format!("config loaded {at}\n"),
                Some(refused) => format!("config refused {at}: {}\n", refused.message.trim_end()),
            };
        }
        for (why, times) in &overview.restarts {
            text += &format!("restarts for {why}: {times}\n");
        }
        if let Some(end) = &overview.last_end {
            text += &format!("worker {} {} {}\n", end.pid, end.reason, ago(end.at));
            end.last_lines.iter().for_each(|line| text += &format!("    {line}\n"));
        }
        text
    })
}

pub(crate) fn pids(call: &Call<'_>) -> Result<(), Failure> {
    tell(call, |overview| {
        let mut text = format!("leader {}\n", overview.leader.pid);
        if let Some(worker) = &overview.worker {
            text += &format!("worker {}\n", worker.pid);
        }
        for worker in &overview.retiring {
            text += &format!("draining {}\n", worker.pid);
        }
        text
    })
}

pub(crate) fn leader(call: &Call<'_>) -> Result<(), Failure> {
    tell(call, leader_text)
}

pub(crate) fn worker(call: &Call<'_>) -> Result<(), Failure> {
    tell(call, workers_text)
}

pub(crate) fn reload(call: &Call<'_>) -> Result<(), Failure> {
    act(call, "reload", json!({}))
}

pub(crate) fn rework(call: &Call<'_>) -> Result<(), Failure> {
    act(call, "rework", json!({}))
}

pub(crate) fn upgrade(call: &Call<'_>) -> Result<(), Failure> {
    let binary = call.options.binary.as_deref().map(absolute).transpose()?;
    act(call, "upgrade", json!({ "binary": binary }))
}

pub(crate) fn reopen(call: &Call<'_>) -> Result<(), Failure> {
    act(call, "reopen", json!({}))
}

pub(crate) fn quit(call: &Call<'_>) -> Result<(), Failure> {
    act(call, "quit", json!({}))
}

pub(crate) fn stop(call: &Call<'_>) -> Result<(), Failure> {
    act(call, "stop", json!({}))
}

pub(crate) fn recmd(call: &Call<'_>) -> Result<(), Failure> {
    let place = match call.options.operands.first() {
        Some(path) if path.contains('/') => Some(absolute(Path::new(path))?.display().to_string()),
        address => address.cloned(),
    };
    act(call, "recmd", json!({ "address": place }))
}

pub(crate) fn reweb(call: &Call<'_>) -> Result<(), Failure> {
    act(call, "reweb", json!({ "address": call.options.operands.first() }))
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()).into())
}

fn leader_text(overview: &Overview) -> String {
    let Overview { program, version, leader, .. } = overview;
    format!("leader {}: {program} {version}, since {}\n", leader.pid, ago(leader.since))
}

fn workers_text(overview: &Overview) -> String {
    let mut text = match &overview.worker {
        Some(worker) => worker_text(worker),
        None => "no worker serves\n".to_owned(),
    };
    for worker in &overview.retiring {
        text += &format!("worker {}: drains, since {}\n", worker.pid, ago(worker.since));
    }
    text
}

fn worker_text(worker: &Worker) -> String {
    let mut text = format!("worker {}: serves, since {}\n", worker.pid, ago(worker.since));
    let Some(report) = &worker.report else { return text + "    it does not answer\n" };
    for stage in &report.engine.stages {
        let what = if stage.ends_by.is_some() { "drains" } else { "serves" };
        let (id, conns) = (stage.id, stage.conns);
        text +=
            &format!("    stage {id}: {what}, {conns} connections, since {}\n", ago(stage.since));
    }
    text
}

fn ago(at: Timestamp) -> String {
    let seconds = Timestamp::now().since(at).as_secs();
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// Prints what the program tells of itself.
fn tell(call: &Call<'_>, text: impl FnOnce(&Overview) -> String) -> Result<(), Failure> {
    let answer = ask(call, Method::GET, "status", &[])?;
    if call.options.json {
        return print(&answer);
    }
    let overview = serde_json::from_slice(&answer.content).map_err(|e| nonsense(&e))?;
    term::say(&text(&overview));
    Ok(())
}

/// Has the program do something, and prints what was done.
fn act(call: &Call<'_>, what: &str, how: serde_json::Value) -> Result<(), Failure> {
    let answer = ask(call, Method::POST, what, how.to_string().as_bytes())?;
    if call.options.json {
        print(&answer)?;
    }
    if answer.status != StatusCode::OK {
        let refused: Refused = serde_json::from_slice(&answer.content).map_err(|e| nonsense(&e))?;
        let message = if call.options.json { String::new() } else { refused.message };
        return Err(Failure { status: FAILED, message });
    }
    if !call.options.json {
        let done: Done = serde_json::from_slice(&answer.content).map_err(|e| nonsense(&e))?;
        term::say(&format!("{}\n", done.message));
    }
    Ok(())
}

fn print(answer: &Answer) -> Result<(), Failure> {
    let value: serde_json::Value =
        serde_json::from_slice(&answer.content).map_err(|e| nonsense(&e))?;
    term::say(&format!("{value:#}\n"));
    Ok(())
}

pub(super) fn nonsense(e: &serde_json::Error) -> Failure {
    format!("the answer makes no sense: {e}").into()
}

fn ask(call: &Call<'_>, method: Method, what: &str, how: &[u8]) -> Result<Answer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("cannot start: {e}"))?;
    runtime.block_on(async { Asking::of(call, what)?.ask(call, method, how).await })
}

/// One who asks a program the same again and again.
pub(super) struct Asking {
    client: Client,
    socket: PathBuf,
    /// Where a worker without a leader waits for one.
    rescue: PathBuf,
}

impl Asking {
    /// How it stands.
    pub(super) fn new(call: &Call<'_>) -> Result<Self, Failure> {
        Self::of(call, "status")
    }

    fn of(call: &Call<'_>, what: &str) -> Result<Self, Failure> {
        let (_, constants) = dirs::locate(call)?;
        let home = Home::new(call, &constants);
        let socket = home.socket();
        let socket = std::path::absolute(&socket).unwrap_or(socket);
        let url: HttpUrl = format!("unix:{}:/v1/{what}", socket.display())
            .parse()
            .map_err(|e| format!("{}: {e}", socket.display()))?;
        Ok(Self { client: Client::alone(url, LIMITS), socket, rescue: home.rescue() })
    }

    pub(super) async fn ask(
        &self,
        call: &Call<'_>,
        method: Method,
        how: &[u8],
    ) -> Result<Answer, Failure> {
        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let asked = match method {
            Method::GET => self.client.get(fields).await,
            _ => self.client.post(fields, how).await,
        };
        let socket = self.socket.display();
        asked.map_err(|e| match e {
            ClientError::Connect(e) => {
                let name = call.program.name;
                let mut message = format!("{name} is not running here: {socket}: {e}");
                if is_bound(&self.rescue) {
                    message += &format!(
                        "\nA worker serves on without its leader: `{name} serve` leads it again"
                    );
                }
                Failure { status: NOT_RUNNING, message }
            }
            e => format!("no answer at {socket}: {e}").into(),
        })
    }
}

/// Whether there is a process with such a socket. It is not asked, for it would take that for a leader.
pub(crate) fn is_bound(socket: &Path) -> bool {
    let sockets = std::fs::read("/proc/net/unix").unwrap_or_default();
    let end = format!(" {}", socket.display());
    socket.exists() && String::from_utf8_lossy(&sockets).lines().any(|line| line.ends_with(&end))
}
