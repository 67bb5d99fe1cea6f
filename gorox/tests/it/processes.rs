//! Leader and worker, spoken to as operators do.

mod faults;
mod load;
mod orders;
mod quic;
mod upgrade;

use std::path::Path;
use std::process::Command;

use hemi_test::process::tree;
use hemi_test::{Program, Reply, Signal, TempDir, eventually, free_port};

use crate::cli::{Ended, GOROX, run};
use crate::pong::PATIENCE;

/// A program that serves by leader and worker, in a directory of its own.
pub(crate) struct Served {
    pub(crate) program: Program,
    pub(crate) dir: TempDir,
    /// Its config, for this directory and port, and with this text.
    config: Box<Config>,
}

type Config = dyn Fn(&Path, u16, &str) -> String;

impl Served {
    /// Serves this text at `/`, and a large file at `/large`.
    pub(crate) fn start(text: &str) -> Self {
        Self::start_by(text, config)
    }

    /// The same by another config.
    fn start_by(text: &str, config: impl Fn(&Path, u16, &str) -> String + 'static) -> Self {
        let attempt = || {
            let (dir, port) = (TempDir::new()?, free_port()?);
            std::fs::File::create(dir.path().join("large"))?.set_len(LARGE)?;
            dir.write("gorox.conf", config(dir.path(), port, text))?;
            let mut command = command(dir.path());
            command.arg("serve").args(hemi_test::io_driver().map(|io| format!("--io={io}")));
            let program = Program::start(command, ([127, 0, 0, 1], port).into())?;
            Ok((program, dir))
        };
        let in_use = |e: &std::io::Error| e.kind() == std::io::ErrorKind::AddrInUse;
        let (program, dir) =
            attempt().or_else(|e| if in_use(&e) { attempt() } else { Err(e) }).unwrap();
        Self { program, dir, config: Box::new(config) }
    }

    /// Writes the config anew, to serve this text.
    pub(crate) fn configure(&self, text: &str) {
        let port = self.program.addr().port();
        self.dir.write("gorox.conf", (self.config)(self.dir.path(), port, text)).unwrap();
    }

    /// Runs an action on it.
    fn ask(&self, args: &[&str]) -> Ended {
        let mut command = command(self.dir.path());
        command.args(args);
        run(command)
    }

    /// The same, which must do.
    #[track_caller]
    pub(crate) fn does(&self, args: &[&str]) -> String {
        let ended = self.ask(args);
        assert_eq!(ended.code, Some(0), "{args:?}: {}{}", ended.stderr, self.program.stderr());
        ended.stdout
    }

    /// What it tells of itself.
    fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.does(&["status", "--json"])).unwrap()
    }

    fn leader(&self) -> u32 {
        id(&self.status()["leader"]["pid"])
    }

    /// The worker that serves; 0, if there is none.
    pub(crate) fn worker(&self) -> u32 {
        id(&self.status()["worker"]["pid"])
    }

    /// Waits for another worker than this one.
    #[track_caller]
    pub(crate) fn worker_after(&self, before: u32) -> u32 {
        let another = || ![0, before].contains(&self.worker());
        assert!(eventually(PATIENCE, another), "{}", self.program.stderr());
        self.worker()
    }

    /// What it serves at `/`.
    pub(crate) fn text(&self) -> String {
        let reply = self.get();
        assert_eq!(reply.status, 200);
        reply.text()
    }

    fn get(&self) -> Reply {
        let mut client = self.program.connect().unwrap().with_timeout(PATIENCE);
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        client.read_response().unwrap()
    }

    /// Processes that serve: those of this directory, whoever started them.
    fn processes(&self) -> Vec<u32> {
        let dir = self.dir.path().to_str().unwrap();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let ours = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains(dir) && line.contains("serve") && lives(*pid)
        };
        ids.filter(ours).collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Leaders first, which start no more workers then.
        for _ in 0..3 {
            for pid in self.processes().into_iter().flat_map(tree) {
                kill(pid, Signal::KILL);
            }
        }
    }
}

/// Bytes of the file at `/large`.
const LARGE: u64 = 8 << 20;

fn config(dir: &Path, port: u16, text: &str) -> String {
    format!(
        r#"stage {{
            webapp "w" {{
                .hostnames = ("*")  .webRoot = "{}"
                rule $path == "/" {{ .returnCode = 200  .returnText = "{text}" }}
                rule {{ static {{}} }}
            }}
            httpxServer "s" {{ .address = "127.0.0.1:{port}"  .webapps = ("w") }}
        }}"#,
        dir.display()
    )
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(GOROX);
    command.current_dir(dir).arg("--config").arg(dir.join("gorox.conf"));
    command.arg("--var-dir").arg(dir.join("var"));
    command
}

fn id(value: &serde_json::Value) -> u32 {
    value.as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0)
}

pub(crate) fn kill(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    // It may have ended.
    let _ = rustix::process::kill_process(pid.unwrap(), signal);
}

fn lives(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}
