//! Servers of this crate, spoken to in raw bytes through real sockets.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod acme;
mod answers;
mod code;
mod datagrams;
mod faults;
mod finish;
mod forms;
mod framing;
mod heads;
mod http2;
mod http3;
mod lifecycle;
mod log;
mod mapper;
mod probe;
mod rules;
mod site;
mod slow;
mod status;
mod streams;
mod tls;
mod tower;
mod trace;
mod upgrade;
mod uploads;
mod websocket;
