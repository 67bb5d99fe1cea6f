//! Clients that ask again and again, while something is done to the server: none may be let down.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::raw::Client;

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<io::Result<()>>>,
}

/// What the clients have seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Answers with the status 200.
    pub answers: u64,
    /// Connections that the server has ended, and said so with the last answer.
    pub closed: u64,
    /// Connections that ended without an answer, or with another one.
    pub failed: u64,
}

/// How many clients, of which sort.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    /// That keep their connection for as long as the server does.
    pub keep_alive: usize,
    /// That open one for each request.
    pub once: usize,
}

#[derive(Debug, Default)]
struct Shared {
    done: AtomicBool,
    answers: AtomicU64,
    closed: AtomicU64,
    failed: AtomicU64,
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

impl Load {
    /// Begins to ask for `/`.
    pub fn start(addr: SocketAddr, clients: Clients) -> Self {
        let shared = Arc::new(Shared::default());
        let client = |fields: &'static str| {
            let shared = shared.clone();
            thread::spawn(move || shared.ask_for_long(addr, fields))
        };
        let kept = (0..clients.keep_alive).map(|_| client(""));
        let once = (0..clients.once).map(|_| client("connection: close\r\n"));
        Self { clients: kept.chain(once).collect(), shared }
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.shared.seen()
    }

    /// Ends it, and waits for the last answers.
    ///
    /// # Errors
    /// When a connection is refused.
    pub fn finish(self) -> io::Result<Seen> {
        self.shared.done.store(true, Ordering::Relaxed);
        let mut refused = Ok(());
        for client in self.clients {
            let ended =
                client.join().unwrap_or_else(|_| Err(io::Error::other("a client panicked")));
            refused = refused.and(ended);
        }
        refused.map(|()| self.shared.seen())
    }
}

impl Shared {
    fn seen(&self) -> Seen {
        let counts = [&self.answers, &self.closed, &self.failed];
        let [answers, closed, failed] = counts.map(|count| count.load(Ordering::Relaxed));
        Seen { answers, closed, failed }
    }

    /// Asks until it is enough; fails if a connection is refused.
    fn ask_for_long(&self, addr: SocketAddr, fields: &str) -> io::Result<()> {
        while !self.done.load(Ordering::Relaxed) {
            let mut client = Client::connect(addr)?.with_timeout(PATIENCE);
            while self.ask(&mut client, fields) && !self.done.load(Ordering::Relaxed) {}
        }
        Ok(())
    }

    /// Asks once; whether the connection can be used again.
    fn ask(&self, client: &mut Client, fields: &str) -> bool {
        let sent = client.send(format!("GET / HTTP/1.1\r\nhost: x\r\n{fields}\r\n"));
        match sent.and_then(|()| client.read_response()) {
            Ok(reply) if reply.status == 200 => {
                self.answers.fetch_add(1, Ordering::Relaxed);
                let closes = reply.header("connection") == Some("close");
                if closes && fields.is_empty() {
                    self.closed.fetch_add(1, Ordering::Relaxed);
                }
                !closes
            }
            _ => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }
}
