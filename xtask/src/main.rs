//! The project's own commands: `cargo xtask COMMAND`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod bench;
mod cargo;
mod flood;
mod fuzz;
mod manual;
mod overload;
mod peers;
mod soak;
mod test;
mod tidy;

use std::error::Error;
use std::process::ExitCode;

/// Every failure ends in one line on the terminal: nothing here reacts to a kind of error.
type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test                      all that must hold before a change goes in
  tidy                      the checks that cost nothing: layout, words, configs, licences
  peers [--all] [--print]   install the programs that tests and the bench use
  manual                    put the manual together, and make it to HTML where mdbook is there
  fuzz [TARGET...] [--seconds N]
                            run the fuzz targets over their corpus and 5 seconds on (corpus not
                            changed), or for N seconds each (new inputs are added to the corpus)
  bench [ROW...] [--peers a,b] [--rounds N] [--seconds N] [--subject NAME]
                            compare the CPU time per request with that of other servers
  flood [--seconds N] [--binary FILE]
                            floods of HTTP/2 and QUIC, each beside a client that behaves well
  overload [--seconds N] [--binary FILE]
                            ask a proxy for 2.5 times as much as its node can do
  soak [--quick] [--binary FILE]
                            reload, rework and upgrade gorox under load, and look at its memory
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    let result = match command.as_str() {
        "test" => no_more(&args).and_then(|()| test::run()),
        "tidy" => no_more(&args).and_then(|()| tidy::run()),
        "manual" => no_more(&args).and_then(|()| manual::run()),
        "peers" => peers::run(&args),
        "fuzz" => fuzz::run(&args),
        "bench" => bench::run(&args),
        "flood" => flood::run(&args),
        "overload" => overload::run(&args),
        "soak" => soak::run(&args),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn no_more(args: &[String]) -> Result {
    match args.first() {
        None => Ok(()),
        Some(arg) => Err(format!("unexpected argument {arg:?}\n{USAGE}").into()),
    }
}
