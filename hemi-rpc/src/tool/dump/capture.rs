//! Files of libpcap.

use std::collections::HashMap;
use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use hemi_proto::capture::{Decoded, File, Order, segment};

use super::conn::{Conn, Side};
use super::line::{Line, Stamp, Style};

/// Connections that are followed at once, at most; those that were heard of longest ago are given up.
const CONNS: usize = 1000;

/// A connection, as it was captured.
struct Followed {
    conn: Conn,
    /// The one who has spoken first.
    one: SocketAddr,
    orders: [Order; 2],
    ended: [bool; 2],
    heard: Duration,
}

/// Tells what is in a file, or in what comes by the standard input (`-`).
pub(super) fn dump(file: &str, style: Style, out: &mut dyn Write) -> Result<(), String> {
    let told = |e: &dyn std::fmt::Display| format!("{file}: {e}");
    let mut input: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin()),
        path => Box::new(fs::File::open(path).map_err(|e| told(&e))?),
    };
    let mut input = BufReader::new(&mut input);
    let mut buf = Vec::new();
    let file = loop {
        match File::begin(&buf).map_err(|e| told(&e))? {
            Decoded::Whole(file, length) => {
                buf.drain(..length);
                break file;
            }
            Decoded::Needs(needs)
                if !fill(&mut input, &mut buf, needs).map_err(|e| told(&e))? =>
            {
                // What there is may be none anyway.
                File::begin(&buf).map_err(|e| told(&e))?;
                return Err(told(&"it breaks off"));
            }
            Decoded::Needs(_) => {}
        }
    };
    let mut conns = HashMap::new();
    loop {
        match file.packet(&buf).map_err(|e| told(&e))? {
            Decoded::Whole(packet, length) => {
                if let Some(segment) = segment(file.link, packet.bytes) {
                    let stamp = Stamp { time: packet.time, from: segment.from, to: segment.to };
                    let piece = (segment.payload, segment.missing);
                    let mut lines = Vec::new();
                    let of = (segment.seq, segment.syn, segment.end);
                    follow(&mut conns, &stamp, of, piece, &mut |line| lines.push(line));
                    for line in lines {
                        writeln!(out, "{}", line.written(&stamp, style)).map_err(|e| told(&e))?;
                    }
                }
                buf.drain(..length);
            }
            Decoded::Needs(needs) => {
                if !fill(&mut input, &mut buf, needs).map_err(|e| told(&e))? {
                    break;
                }
            }
        }
    }
    // What is missing now does not come any more.
    let mut left: Vec<_> = conns.into_iter().collect();
    left.sort_unstable_by_key(|(ends, followed)| (followed.heard, *ends));
    for ((a, b), Followed { mut conn, one, mut orders, heard, .. }) in left {
        let other = if one == a { b } else { a };
        for (order, side) in orders.iter_mut().zip([Side::One, Side::Other]) {
            let (from, to) = if side == Side::One { (one, other) } else { (other, one) };
            let stamp = Stamp { time: heard, from, to };
            let mut lines = Vec::new();
            order.finish(|piece| conn.take(side, piece, &mut |line| lines.push(line)));
            for line in lines {
                writeln!(out, "{}", line.written(&stamp, style)).map_err(|e| told(&e))?;
            }
        }
    }
    out.flush().map_err(|e| told(&e))
}

/// Reads until so many bytes are there; whether they are.
fn fill(input: &mut impl Read, buf: &mut Vec<u8>, needs: usize) -> std::io::Result<bool> {
    let missing = needs.saturating_sub(buf.len()) as u64;
    input.take(missing).read_to_end(buf)?;
    Ok(buf.len() >= needs)
}

fn follow(
    conns: &mut HashMap<(SocketAddr, SocketAddr), Followed>,
    stamp: &Stamp,
    (seq, syn, end): (u32, bool, bool),
    piece: (&[u8], usize),
    tell: &mut dyn FnMut(Line),
) {
    let Stamp { time, from, to } = *stamp;
    let key = if from < to { (from, to) } else { (to, from) };
    if conns.len() >= CONNS && !conns.contains_key(&key) {
        let oldest = conns.iter().min_by_key(|(_, followed)| followed.heard);
        if let Some(oldest) = oldest.map(|(key, _)| *key) {
            conns.remove(&oldest);
        }
    }
    let followed = conns.entry(key).or_insert_with(|| Followed {
        conn: Conn::default(),
        one: from,
        orders: Default::default(),
        ended: [false; 2],
        heard: time,
    });
    followed.heard = time;
    let (at, side) = if from == followed.one { (0, Side::One) } else { (1, Side::Other) };
    if syn && at == 0 {
        // Another connection by the same ports.
        (followed.conn, followed.ended) = (Conn::default(), [false; 2]);
    }
    let Followed { conn, orders, ended, .. } = followed;
    orders[at].push(seq, syn, piece, |piece| conn.take(side, piece, tell));
    if end {
        orders[at].finish(|piece| conn.take(side, piece, tell));
        ended[at] = true;
    }
    if *ended == [true; 2] {
        conns.remove(&key);
    }
}
