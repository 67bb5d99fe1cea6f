//! `cargo xtask test`: all that must hold before a change goes in.

use std::time::Instant;

use hemi_test::peer::{self, Need, PEERS};

use crate::cargo::{cargo, run as run_command};
use crate::{Result, fuzz, manual, tidy};

type Step = fn() -> Result;

/// In the order of their cost, so that the usual mistakes show early.
const STEPS: &[(&str, Step)] = &[
    ("format", || {
        run_command(cargo().args(["fmt", "--all", "--check"]))?;
        run_command(cargo().args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
    }),
    ("clippy", || {
        let args = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        run_command(cargo().args(args))
    }),
    ("tests", || run_command(cargo().args(["test", "--workspace"]))),
    // Where there is io_uring, the tests above have used it.
    ("tests by epoll", || {
        let args =
            ["test", "--package", "hemi-core", "--package", "hemi-web", "--package", "gorox"];
        run_command(cargo().args(args).args(["--test", "it"]).env("GOROX_TEST_IO", "epoll"))
    }),
    ("fuzz smoke", fuzz::smoke),
    ("tidy", tidy::run),
    ("manual", manual::run),
];

/// Runs the steps and stops at the first that fails.
#[expect(clippy::disallowed_methods, reason = "the time a step takes is real time")]
pub(crate) fn run() -> Result {
    let start = Instant::now();
    for (name, step) in STEPS {
        println!("==> {name}");
        let begin = Instant::now();
        step().map_err(|error| format!("==> {name}: FAILED: {error}"))?;
        println!("==> {name}: ok, {:.1} s", begin.elapsed().as_secs_f64());
    }
    println!("==> all ok, {:.1} s", start.elapsed().as_secs_f64());
    report_missing_peers();
    Ok(())
}

fn report_missing_peers() {
    let missing: Vec<_> = PEERS
        .iter()
        .filter(|peer| peer.need == Need::Always && peer::find(peer.program).is_none())
        .map(|peer| peer.program)
        .collect();
    if missing.is_empty() {
        println!("all peers are installed: no test was skipped");
    } else {
        println!("not installed: {}; the tests that need them were skipped", missing.join(", "));
        println!("(`cargo xtask peers` installs them)");
    }
}
