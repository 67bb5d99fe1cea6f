//! `cargo xtask fuzz`: builds the libFuzzer targets of `fuzz/` on the stable toolchain and runs
//! them.

use std::fs;
use std::path::Path;

use hemi_test::TempDir;

use crate::Result;
use crate::cargo::{build, cargo, command, host, output_of, root, run as run_command};

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
    build_targets.args(["build", "--release", "--locked", "--manifest-path"]);
    build_targets.arg(dir.join("Cargo.toml"));
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
    let fuzzer = |seconds: u32| {
        let mut fuzzer = command(binary);
        fuzzer.arg(format!("-max_total_time={seconds}"));
        fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
        // Parsers work in microseconds: an input that takes seconds is a finding.
        fuzzer.args(["-timeout=5", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        fuzzer
    };
    // libFuzzer runs the inputs of all the directories, and adds new ones to the first.
    match mode {
        Mode::Grow { seconds } => run_command(fuzzer(seconds).arg(&corpus)),
        Mode::Smoke => {
            let scratch = TempDir::new()?;
            let output = output_of(
                fuzzer(SMOKE_SECONDS).arg("-verbosity=0").arg(scratch.path()).arg(&corpus),
            )?;
            let text = String::from_utf8_lossy(&output.stderr);
            if !output.status.success() {
                let artifacts = artifacts.display();
                return Err(format!("{text}\nfuzz target {name}: see {artifacts}").into());
            }
            println!("{name}: {} runs", statistic(&text, "number_of_executed_units"));
            Ok(())
        }
    }
}

/// One of libFuzzer's final statistics, as it prints them.
fn statistic<'a>(output: &'a str, name: &str) -> &'a str {
    let mut lines = output.lines().filter_map(|line| line.strip_prefix("stat::")?.split_once(':'));
    lines.find(|(key, _)| *key == name).map_or("?", |(_, value)| value.trim())
}
