//! `serve`: serves until a signal, or somebody at the control socket, says otherwise.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

use hemi_core::Engine;
use hemi_core::io::IoDriver;
use rustix::fs::OFlags;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::leader::{self, StartedBy};
use crate::messages::ToSuccessor;
use crate::{Call, Failure, confine, dirs, logging, worker};

pub(crate) fn serve(call: &Call<'_>) -> Result<(), Failure> {
    match (call.options.single, call.options.daemon) {
        (true, true) => {
            Err("--single serves in the foreground: leave --daemon out".to_owned().into())
        }
        (true, false) => serve_alone(call),
        (false, true) => detach(call),
        (false, false) => leader::run(call, StartedBy::Somebody),
    }
}

/// Serves in this process.
fn serve_alone(call: &Call<'_>) -> Result<(), Failure> {
    let (program, options) = (call.program, call.options);
    logging::begin(options.debug, None);
    worker::allow_many_files();
    let (source, constants) = dirs::locate(call)?;
    confine::provide(call, &constants)?;
    confine::become_user(call)?;
    confine::enter_sandbox(call, &source, &source, &constants)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("cannot start: {e}"))?;
    runtime.block_on(async {
        let engine = Engine::start(program.registry())?;
        let engine = engine.io(options.io.unwrap_or(IoDriver::DEFAULT))?;
        let mut engine = engine.constants(constants).grace(options.grace());
        let mut ends = Ends::watch().map_err(|e| format!("cannot watch for signals: {e}"))?;
        engine.load(&source)?;
        info!(cores = engine.cores(), "{} {} serves", program.name, program.version);
        ends.next().await;
        info!("draining; once more to stop at once");
        tokio::select! {
            () = engine.quit() => {}
            () = ends.next() => {}
        }
        Ok(())
    })
}

/// Starts a leader that has no terminal, and waits until it serves.
fn detach(call: &Call<'_>) -> Result<(), Failure> {
    let (_, constants) = dirs::locate(call)?;
    let dir = &constants.log_dir;
    let cannot = |e| format!("cannot write to {}: {e}", dir.display());
    confine::provide(call, &constants)?;
    std::fs::create_dir_all(dir).map_err(cannot)?;
    let name = call.program.name;
    let output = ["out", "err"].map(|end| append_to(&dir.join(format!("{name}.{end}"))));
    let [stdout, stderr] = output;
    let output = [stdout.map_err(cannot)?, stderr.map_err(cannot)?];
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| format!("cannot start: {e}"))?.block_on(async {
        let binary = Path::new("/proc/self/exe");
        let spawned = leader::spawn(binary, name, &call.args, Some(output));
        let (_, sender, mut receiver) = spawned.map_err(|e| format!("cannot start: {e}"))?;
        // If it has ended already, it is heard why.
        let _ = sender.send(&ToSuccessor::Detach, vec![]).await;
        Ok(leader::serves(&mut receiver).await?)
    })
}

fn append_to(path: &Path) -> std::io::Result<Stdio> {
    let mut options = OpenOptions::new();
    // The directory may be a worker's, which must not point elsewhere.
    options.mode(0o640).custom_flags(OFlags::NOFOLLOW.bits() as i32);
    Ok(options.append(true).create(true).open(path)?.into())
}

/// The signals that end a program.
struct Ends {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Ends {
    fn watch() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
