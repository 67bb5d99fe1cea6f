//! `serve`: serves in this process until a signal says otherwise.

use hemi_core::Engine;
use hemi_core::io::IoDriver;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{Level, info};

use crate::{Call, Failure, confine, dirs};

pub(crate) fn serve(call: &Call<'_>) -> Result<(), Failure> {
    let (program, options) = (call.program, call.options);
    let level = match options.debug {
        0 => Level::INFO,
        1 => Level::DEBUG,
        _ => Level::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(rustix::termios::isatty(std::io::stderr()))
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    allow_many_files();
    let (source, constants) = dirs::locate(call)?;
    confine::become_user(call, &constants)?;
    let _ = confine::enter_sandbox(call, &source, &constants)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("cannot start: {e}"))?;
    runtime.block_on(async {
        let engine = Engine::start(program.registry())?;
        let engine = engine.io(options.io.unwrap_or(IoDriver::DEFAULT))?;
        let mut engine = engine.constants(constants);
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

/// Raises the limit on open files as far as it goes without privilege.
fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it is refused, the limit that there is decides how many connections are served.
    let _ = setrlimit(Resource::Nofile, limit);
}
