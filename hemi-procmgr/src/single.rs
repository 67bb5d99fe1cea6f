//! Serving in one process: `serve --single`.

use std::sync::Arc;

use hemi_core::Engine;
use hemi_core::io::IoDriver;
use rustix::process::Signal;
use tokio::runtime::Builder;
use tokio::time::{Interval, interval};
use tracing::{error, info, warn};

use crate::signals::Signals;
use crate::systemd::{self, Notifier};
use crate::{Call, Failure, confine, dirs, logging, worker};

/// Serves until a signal says otherwise.
pub(crate) fn run(call: &Call<'_>) -> Result<(), Failure> {
    let (program, options, pid) = (call.program, call.options, std::process::id());
    logging::begin("single", options.debug, None);
    worker::allow_many_files();
    let inherited = systemd::sockets(&call.env, pid)?;
    let notifier = Notifier::new(&call.env, pid);
    let (source, constants) = dirs::locate(call)?;
    confine::provide(call, &constants)?;
    confine::become_user(call)?;
    let confined = confine::enter_sandbox(call, &source, &source, &constants)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("cannot start: {e}"))?;
    runtime.block_on(async {
        let engine = Engine::start(program.registry())?;
        let engine = engine.io(options.io.unwrap_or(IoDriver::DEFAULT))?;
        let engine = engine.constants(constants.clone()).grace(options.grace());
        let mut engine = engine.binder(Arc::new(inherited));
        let mut signals = Signals::watch()?;
        engine.load(&source)?;
        let top_dir = constants.top_dir.display();
        info!(cores = engine.cores(), %top_dir, "{} {} serves", program.name, program.version);
        let status = format!("{} {} serves", program.name, program.version);
        notifier.ready(pid, &status);
        let mut alive = notifier.pulse().map(interval);
        let end = loop {
            let signal = tokio::select! {
                signal = signals.next() => signal,
                () = next_tick(&mut alive) => {
                    notifier.alive();
                    continue;
                }
            };
            match signal {
                Signal::HUP => {
                    notifier.reloading();
                    let room = confined.admits(engine.registry(), &source, &constants);
                    let loaded =
                        room.and_then(|()| engine.load(&source).map_err(|e| e.to_string()));
                    if let Err(e) = loaded {
                        error!("the config is refused, and nothing is changed: {e}");
                    }
                    notifier.ready(pid, &status);
                }
                Signal::USR1 => engine.reopen(),
                Signal::USR2 => {
                    warn!("a single process can't be replaced: `serve` without --single can");
                }
                end => break end,
            }
        };
        notifier.stopping();
        if end == Signal::QUIT {
            info!("stopping");
            return Ok(());
        }
        info!("draining; once more to stop at once");
        tokio::select! {
            () = engine.quit() => {}
            _ = signals.end() => {}
        }
        Ok(())
    })
}

/// Waits for it; for ever if there is none.
async fn next_tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}
