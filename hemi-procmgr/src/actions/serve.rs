//! `serve`: serves until a signal, or somebody at the control socket, says otherwise.

use std::path::Path;
use std::process::Stdio;

use tokio::runtime::Builder;

use crate::leader::{self, StartedBy};
use crate::logging::Output;
use crate::messages::ToSuccessor;
use crate::{Call, Failure, confine, dirs, single};

pub(crate) fn serve(call: &Call<'_>) -> Result<(), Failure> {
    match (call.options.single, call.options.daemon) {
        (true, true) => {
            Err("--single serves in the foreground: leave --daemon out".to_owned().into())
        }
        (true, false) => single::run(call),
        (false, true) => detach(call),
        (false, false) => leader::run(call, StartedBy::Somebody),
    }
}

/// Starts a leader that has no terminal, and waits until it serves.
fn detach(call: &Call<'_>) -> Result<(), Failure> {
    let (_, constants) = dirs::locate(call)?;
    confine::provide(call, &constants)?;
    let output = Output::of(call, &constants).map(|output| output.open()).transpose()?;
    let output = output.map(|files| files.map(Stdio::from));
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| format!("cannot start: {e}"))?.block_on(async {
        let binary = Path::new("/proc/self/exe");
        let spawned = leader::spawn(binary, call.program.name, &call.args, output);
        let (_, sender, mut receiver) = spawned.map_err(|e| format!("cannot start: {e}"))?;
        // If it has ended already, it is heard why.
        let _ = sender.send(&ToSuccessor::Detach, vec![]).await;
        Ok(leader::serves(&mut receiver).await.map(drop)?)
    })
}
