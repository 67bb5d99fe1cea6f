//! `serve`: serves until a signal, or somebody at the control socket, says otherwise.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

use rustix::fs::OFlags;
use tokio::runtime::Builder;

use crate::leader::{self, StartedBy};
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
