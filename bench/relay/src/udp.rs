//! Datagrams, there and back.

use std::io::Result;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::Seen;

/// Bytes of a datagram.
const SIZE: usize = 100;

/// How long one is waited for.
const LOST: Duration = Duration::from_secs(1);

/// Sends back what comes.
pub(crate) fn echo(at: SocketAddr) -> Result<()> {
    let socket = std::net::UdpSocket::bind(at)?;
    // Who waits for the program to be there asks by TCP.
    let _listener = TcpListener::bind(at)?;
    let mut buf = [0; 2048];
    loop {
        // Where nobody listens any more, that is told here.
        if let Ok((len, from)) = socket.recv_from(&mut buf) {
            let _ = socket.send_to(&buf[..len], from);
        }
    }
}

/// Sends so many at once, and waits for all to come back, until the time is over.
pub(crate) async fn talk(to: SocketAddr, at_once: usize, until: Instant) -> Result<Seen> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(to).await?;
    let mut seen = Seen { per_round: at_once, ..Seen::default() };
    let (mut datagram, mut buf) = ([b'x'; SIZE], [0; 2048]);
    for round in 0_u64.. {
        let began = Instant::now();
        if began >= until {
            break;
        }
        datagram[..8].copy_from_slice(&round.to_le_bytes());
        for _ in 0..at_once {
            socket.send(&datagram).await?;
        }
        let mut back = 0;
        while back < at_once {
            let Ok(got) = timeout(LOST, socket.recv(&mut buf)).await else { break };
            // Those that come after their round do not count.
            back += usize::from(buf[..got?] == datagram);
        }
        match back == at_once {
            true => seen.note(began),
            false => seen.errors += 1,
        }
    }
    Ok(seen)
}
