//! A server that another one asks, made by the test: it does what the test says, byte for byte.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use hemi_test::poll;

/// What to do with a request.
pub(crate) enum Act {
    /// Send these bytes, and wait for the next request.
    Answer(Vec<u8>),
    /// Send these bytes, and close.
    AnswerAndClose(Vec<u8>),
    /// Send these bytes, and end the connection with an error.
    AnswerAndReset(Vec<u8>),
    /// Send these bytes a few at a time, and wait for the next request.
    Drip(Vec<u8>),
    /// Say nothing until the client goes away.
    Wait,
}

/// Answers every request by a function of its head.
pub(crate) struct Upstream {
    addr: Option<SocketAddr>,
    shared: Arc<Shared>,
}

type Acts = Box<dyn FnMut(&str) -> Act + Send>;

struct Shared {
    act: Mutex<Acts>,
    connections: AtomicUsize,
    /// Of these, those that are open.
    served: AtomicUsize,
    requests: AtomicUsize,
    ended: AtomicBool,
    /// To close them all at once.
    open: Mutex<Vec<TcpStream>>,
}

impl Upstream {
    pub(crate) fn start(act: impl FnMut(&str) -> Act + Send + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), act)
    }

    /// At this address.
    pub(crate) fn at(addr: SocketAddr, act: impl FnMut(&str) -> Act + Send + 'static) -> Self {
        let bound = poll(Duration::from_secs(10), || TcpListener::bind(addr).ok());
        Self::on(bound.unwrap(), act)
    }

    pub(crate) fn on(listener: TcpListener, act: impl FnMut(&str) -> Act + Send + 'static) -> Self {
        let addr = listener.local_addr().unwrap();
        let shared = Shared::new(act);
        let accepting = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map(Result::unwrap) {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                accepting.open.lock().unwrap().push(stream.try_clone().unwrap());
                let shared = accepting.clone();
                thread::spawn(move || {
                    shared.serve(&stream);
                    // It is kept for others to close, too.
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { addr: Some(addr), shared }
    }

    /// On a Unix socket. Accepts until the process ends.
    pub(crate) fn start_unix(path: &Path, act: impl FnMut(&str) -> Act + Send + 'static) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let shared = Shared::new(act);
        let accepting = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map(Result::unwrap) {
                let shared = accepting.clone();
                thread::spawn(move || shared.serve(&stream));
            }
        });
        Self { addr: None, shared }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr.expect("on TCP")
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many of them are open.
    pub(crate) fn open_connections(&self) -> usize {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// How many requests have come.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn close_connections(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(addr) = self.addr {
            // Wakes the thread that accepts, for it to end.
            let _ = TcpStream::connect(addr);
        }
        self.close_connections();
    }
}

impl Shared {
    fn new(act: impl FnMut(&str) -> Act + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            act: Mutex::new(Box::new(act)),
            connections: AtomicUsize::new(0),
            served: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            open: Mutex::default(),
        })
    }

    fn serve<S: Read + Write + Reset>(&self, stream: S) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.served.fetch_add(1, Ordering::Relaxed);
        self.answer_all(stream);
        self.served.fetch_sub(1, Ordering::Relaxed);
    }

    fn answer_all<S: Read + Write + Reset>(&self, mut stream: S) {
        let mut received = Vec::new();
        loop {
            while !received.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1) => received.extend_from_slice(&byte),
                    _ => return,
                }
            }
            let head = String::from_utf8(std::mem::take(&mut received)).unwrap();
            self.requests.fetch_add(1, Ordering::Relaxed);
            let act = (self.act.lock().unwrap())(&head);
            // The client may have gone.
            let _ = match act {
                Act::Answer(bytes) => stream.write_all(&bytes),
                Act::AnswerAndClose(bytes) => {
                    let _ = stream.write_all(&bytes);
                    return;
                }
                Act::AnswerAndReset(bytes) => {
                    let _ = stream.write_all(&bytes);
                    stream.reset(&self.open);
                    return;
                }
                Act::Drip(bytes) => bytes.chunks(16).try_for_each(|piece| {
                    pause();
                    stream.write_all(piece)
                }),
                Act::Wait => stream.read(&mut [0]).map(drop),
            };
        }
    }
}

/// Pauses between the bytes of a node that drips.
fn pause() {
    let (_sender, receiver) = mpsc::channel::<()>();
    let _ = receiver.recv_timeout(Duration::from_millis(1));
}

/// A connection that can be ended with an error.
trait Reset {
    fn reset(&self, others: &Mutex<Vec<TcpStream>>);
}

impl Reset for &TcpStream {
    fn reset(&self, others: &Mutex<Vec<TcpStream>>) {
        let peer = self.peer_addr().ok();
        others.lock().unwrap().retain(|other| other.peer_addr().ok() != peer);
        let _ = socket2::SockRef::from(*self).set_linger(Some(Duration::ZERO));
    }
}

impl Reset for &UnixStream {
    fn reset(&self, _: &Mutex<Vec<TcpStream>>) {}
}

/// An answer with this status, these field lines and this content.
pub(crate) fn answer(status: &str, lines: &[&str], content: &str) -> Act {
    let mut text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", content.len());
    for line in lines {
        text += &format!("{line}\r\n");
    }
    Act::Answer((text + "\r\n" + content).into_bytes())
}
