//! What the bench needs for relays below HTTP:
//!
//! - `bench-relay udp ADDRESS CLIENTS AT-ONCE SECONDS` sends datagrams, and waits for them to come back;
//! - `bench-relay echo FILE` sends back those that come to the address in this file, where it takes connections of TCP too;
//! - `bench-relay WAY ADDRESS HOST PATH CLIENTS SECONDS` asks an HTTP host again and again by connections that a proxy has
//!   opened: `socks5` or `connect` says how it is asked for them, `none` that it is not.
//!
//! Loads end with a line like that of `wrk.lua`, where requests are datagrams, or answers.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures")]

mod http;
mod udp;

use std::io::{Error, Result};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["echo", file] => udp::echo(address(std::fs::read_to_string(file)?.trim())?),
        ["udp", to, clients, at_once, seconds] => {
            let (to, at_once) = (address(to)?, number(at_once)? as usize);
            let load = Load::of(clients, seconds)?;
            load.run(move |until| udp::talk(to, at_once, until)).await
        }
        [way, to, host, path, clients, seconds] => {
            let (way, to, host) = (way.parse()?, address(to)?, address(host)?);
            let (load, path) = (Load::of(clients, seconds)?, path.to_owned());
            load.run(move |until| http::talk(way, to, host, path.clone(), until)).await
        }
        _ => Err(Error::other("usage: see the source")),
    }
}

fn address(text: &str) -> Result<SocketAddr> {
    text.parse().map_err(Error::other)
}

fn number(text: &str) -> Result<u32> {
    text.parse().map_err(Error::other)
}

/// What clients have seen.
#[derive(Default)]
struct Seen {
    /// Microseconds that each round took.
    took: Vec<u32>,
    /// Answers in a round.
    per_round: usize,
    errors: usize,
}

impl Seen {
    fn note(&mut self, began: Instant) {
        self.took.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}

struct Load {
    clients: u32,
    seconds: u64,
}

impl Load {
    fn of(clients: &str, seconds: &str) -> Result<Self> {
        Ok(Self { clients: number(clients)?, seconds: number(seconds)?.into() })
    }

    /// Has so many clients talk until the time is over, and says what came of it.
    async fn run<F>(self, talk: impl Fn(Instant) -> F) -> Result<()>
    where
        F: Future<Output = Result<Seen>> + Send + 'static,
    {
        let began = Instant::now();
        let until = began + Duration::from_secs(self.seconds);
        let tasks: Vec<JoinHandle<_>> =
            (0..self.clients).map(|_| tokio::spawn(talk(until))).collect();
        let (mut requests, mut errors, mut took) = (0, 0, Vec::new());
        for task in tasks {
            match task.await? {
                Ok(seen) => {
                    requests += seen.took.len() * seen.per_round;
                    errors += seen.errors;
                    took.extend(seen.took);
                }
                Err(_) => errors += 1,
            }
        }
        let microseconds = began.elapsed().as_micros();
        took.sort_unstable();
        let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or(0);
        let (p50, p99) = (at(50), at(99));
        println!(
            "requests={requests} errors={errors} microseconds={microseconds} p50={p50} p99={p99}"
        );
        Ok(())
    }
}
