//! `cargo xtask fuzz`: builds the libFuzzer targets of `fuzz/` on the stable toolchain and runs
//! them.

use std::fs;
use std::path::Path;

use hemi_test::TempDir;

use crate::Result;
use crate::cargo::{build, cargo, command, host, root, run as run_command};

/// How long each target fuzzes in a smoke run.
const SMOKE_SECONDS: u32 = 5;

/// What cargo-fuzz passes to rustc, but for the sanitizer, which needs a nightly toolchain.
const RUSTFLAGS: &str = "--cfg fuzzing \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1";

/// How long to fuzz, and whether what is found to be of interest is kept.
#[derive(Clone, Copy)]
enum Mode {
    /// Shortly, and the committed corpus stays as it is.
    Smoke,
    /// For this many seconds per target; new inputs are added to the corpus.
    Grow { seconds: u32 },
}

/// Runs every target over its committed corpus and a little beyond.
pub(crate) fn smoke() -> Result {
    fuzz(&[], Mode::Smoke)
}

pub(crate) fn run(args: &[String]) -> Result {
    let mut names = Vec::new();
    let mut mode = Mode::Smoke;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => {
                let seconds = args.next().ok_or("--seconds needs a number")?.parse()?;
                mode = Mode::Grow { seconds };
            }
            _ if arg.starts_with('-') => return Err(format!("unknown option {arg}").into()),
            _ => names.push(arg.clone()),
        }
    }
    fuzz(&names, mode)
}

/// Fuzzes these targets, or all if none is named.
fn fuzz(names: &[String], mode: Mode) -> Result {
    let dir = root().join("fuzz");
    let mut build_targets = cargo();
    build_targets.arg("build").arg("--manifest-path").arg(dir.join("Cargo.toml"));
    // With a target named, the flags don't apply to build scripts and procedural macros.
    build_targets.arg("--target").arg(host()?).env("RUSTFLAGS", RUSTFLAGS);
    let targets = build(&mut build_targets)?;
    if let Some(name) = names.iter().find(|name| !targets.iter().any(|(other, _)| other == *name)) {
        let known: Vec<_> = targets.iter().map(|(name, _)| name.as_str()).collect();
        return Err(format!("no fuzz target {name}; there are {}", known.join(", ")).into());
    }
    for (name, binary) in &targets {
        if names.is_empty() || names.contains(name) {
            fuzz_target(&dir, name, binary, mode)?;
        }
    }
    Ok(())
}

fn fuzz_target(dir: &Path, name: &str, binary: &Path, mode: Mode) -> Result {
    let corpus = dir.join("corpus").join(name);
    let artifacts = dir.join("artifacts").join(name);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    // libFuzzer runs the inputs of all the directories, and adds new ones to the first.
    let scratch = TempDir::new()?;
    let mut fuzzer = command(binary);
    let seconds = match mode {
        Mode::Smoke => {
            fuzzer.arg(scratch.path());
            SMOKE_SECONDS
        }
        Mode::Grow { seconds } => seconds,
    };
    fuzzer.arg(&corpus).arg(format!("-max_total_time={seconds}"));
    fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
    // An input that takes a second is a finding: parsers work in microseconds.
    fuzzer.args(["-timeout=10", "-rss_limit_mb=2048", "-verbosity=0", "-print_final_stats=1"]);
    println!("--- {name}, {seconds} s");
    run_command(&mut fuzzer)
}
