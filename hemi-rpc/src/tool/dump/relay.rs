//! A relay that tells what passes.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use hemi_core::clock::exact_calendar;
use hemi_proto::capture::Piece;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::conn::{Conn, Side};
use super::line::{Stamp, Style};

/// Lines that wait to be written, at most: the relay waits for them.
const LINES: usize = 1000;

/// Bytes that are read at once.
const READ: usize = 64 << 10;

/// Passes connections on, and tells what is said on them; it ends after so many, if that is said.
pub(super) async fn dump(
    listen: &str,
    to: &str,
    count: Option<u64>,
    style: Style,
    out: &mut dyn Write,
) -> Result<(), String> {
    let listener = TcpListener::bind(listen).await.map_err(|e| format!("{listen}: {e}"))?;
    let own = listener.local_addr().map_err(|e| e.to_string())?;
    let (sender, mut lines) = mpsc::channel(LINES);
    let to = to.to_owned();
    let relay = tokio::spawn(async move {
        let mut left = count;
        while left != Some(0) {
            match listener.accept().await {
                Ok((client, _)) => {
                    left = left.map(|left| left - 1);
                    tokio::spawn(pass(client, to.clone(), style, sender.clone()));
                }
                // There are too many open files, for a moment.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    });
    // Who reads it wants to know when to begin.
    let first = match style {
        Style::Text => format!("listening on {own}"),
        Style::Json => serde_json::json!({ "listening": own.to_string() }).to_string(),
    };
    let mut write =
        |line: &str| writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|e| e.to_string());
    write(&first)?;
    while let Some(line) = lines.recv().await {
        write(&line)?;
    }
    relay.await.map_err(|e| e.to_string())
}

async fn pass(client: TcpStream, to: String, style: Style, lines: mpsc::Sender<String>) {
    let passed = async {
        let server = TcpStream::connect(&to).await?;
        let (one, other) = (client.peer_addr()?, server.peer_addr()?);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let conn = Arc::new(Mutex::new(Conn::default()));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let there = Half { conn: conn.clone(), side: Side::One, from: one, to: other };
        let back = Half { conn, side: Side::Other, from: other, to: one };
        tokio::try_join!(
            there.pass(from_client, to_server, style, &lines),
            back.pass(from_server, to_client, style, &lines),
        )
    };
    let passed: std::io::Result<_> = passed.await;
    if let Err(e) = passed {
        let line = match style {
            Style::Text => format!("{to}: {e}"),
            Style::Json => serde_json::json!({ "to": to, "error": e.to_string() }).to_string(),
        };
        let _ = lines.send(line).await;
    }
}

/// One direction.
struct Half {
    conn: Arc<Mutex<Conn>>,
    side: Side,
    from: std::net::SocketAddr,
    to: std::net::SocketAddr,
}

impl Half {
    async fn pass(
        self,
        mut input: OwnedReadHalf,
        mut output: OwnedWriteHalf,
        style: Style,
        lines: &mpsc::Sender<String>,
    ) -> std::io::Result<()> {
        let mut buf = vec![0; READ];
        loop {
            let read = input.read(&mut buf).await?;
            let Some(bytes @ [_, ..]) = buf.get(..read) else { break };
            output.write_all(bytes).await?;
            let time = exact_calendar().duration_since(SystemTime::UNIX_EPOCH);
            let stamp = Stamp { time: time.unwrap_or_default(), from: self.from, to: self.to };
            let mut told = Vec::new();
            self.conn.lock().unwrap_or_else(PoisonError::into_inner).take(
                self.side,
                Piece::Bytes(bytes),
                &mut |line| told.push(line.written(&stamp, style)),
            );
            for line in told {
                // Who has ended does not read them any more.
                let _ = lines.send(line).await;
            }
        }
        output.shutdown().await
    }
}
