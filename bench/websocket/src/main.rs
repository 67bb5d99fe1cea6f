//! Has a server echo messages over WebSockets: `bench-websocket ADDRESS PATH CONNECTIONS AT-ONCE SECONDS`.
//!
//! Each connection sends so many messages of 64 bytes at once, waits for all to come back, and looks at every byte of
//! them. Ends with a line like that of `wrk.lua`, where requests are messages.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures")]

use std::io::{Error, Result};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use hemi_proto::websocket::{Header, Opcode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PAYLOAD: [u8; 64] = [b'x'; 64];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, connections, at_once, seconds] = &arguments[..] else {
        return Err(Error::other(
            "usage: bench-websocket ADDRESS PATH CONNECTIONS AT-ONCE SECONDS",
        ));
    };
    let address: SocketAddr = address.parse().map_err(Error::other)?;
    let number = |text: &String| text.parse::<u32>().map_err(Error::other);
    let (at_once, seconds) = (number(at_once)? as usize, u64::from(number(seconds)?));
    let mut sockets = Vec::new();
    for _ in 0..number(connections)? {
        sockets.push(connect(address, path).await?);
    }
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let tasks: Vec<_> =
        sockets.into_iter().map(|socket| tokio::spawn(talk(socket, at_once, until))).collect();
    let (mut errors, mut took) = (0, Vec::new());
    for task in tasks {
        match task.await? {
            Ok(rounds) => took.extend(rounds),
            Err(_) => errors += 1,
        }
    }
    let microseconds = began.elapsed().as_micros();
    took.sort_unstable();
    let percentile = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or(0);
    let (requests, p50, p99) = (took.len() * at_once, percentile(50), percentile(99));
    println!("requests={requests} errors={errors} microseconds={microseconds} p50={p50} p99={p99}");
    Ok(())
}

async fn connect(address: SocketAddr, path: &str) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut answer).await? == 0 {
            return Err(Error::other("no answer"));
        }
    }
    match answer.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(socket),
        false => Err(Error::other(String::from_utf8_lossy(&answer).into_owned())),
    }
}

/// Goes on until the time is over; returns how many microseconds each round took.
async fn talk(mut socket: TcpStream, at_once: usize, until: Instant) -> Result<Vec<u32>> {
    let (mut sent, mut expected) = (BytesMut::new(), BytesMut::new());
    for _ in 0..at_once {
        let header = Header::whole(Opcode::Binary);
        header.put_frame(&PAYLOAD, &mut expected);
        Header { mask: Some([0x37, 0xfa, 0x21, 0x3d]), ..header }.put_frame(&PAYLOAD, &mut sent);
    }
    let mut got = vec![0; expected.len()];
    let mut took = Vec::new();
    loop {
        let began = Instant::now();
        if began >= until {
            return Ok(took);
        }
        socket.write_all(&sent).await?;
        socket.read_exact(&mut got).await?;
        if got != expected {
            return Err(Error::other("something else came back"));
        }
        took.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}
