//! A server that another one asks, made by the test: it does what the test says, byte for byte.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What to do with a request.
pub(crate) enum Act {
    /// Send these bytes, and wait for the next request.
    Answer(Vec<u8>),
    /// Send these bytes, and close.
    AnswerAndClose(Vec<u8>),
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
    ended: AtomicBool,
    /// To close them all at once.
    open: Mutex<Vec<TcpStream>>,
}

impl Upstream {
    pub(crate) fn start(act: impl FnMut(&str) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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
            ended: AtomicBool::new(false),
            open: Mutex::default(),
        })
    }

    fn serve<S: Read + Write>(&self, mut stream: S) {
        self.connections.fetch_add(1, Ordering::Relaxed);
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
            let act = (self.act.lock().unwrap())(&head);
            // The client may have gone.
            let _ = match act {
                Act::Answer(bytes) => stream.write_all(&bytes),
                Act::AnswerAndClose(bytes) => {
                    let _ = stream.write_all(&bytes);
                    return;
                }
                Act::Wait => stream.read(&mut [0]).map(drop),
            };
        }
    }
}

/// An answer with this status, these field lines and this content.
pub(crate) fn answer(status: &str, lines: &[&str], content: &str) -> Act {
    let mut text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", content.len());
    for line in lines {
        text += &format!("{line}\r\n");
    }
    Act::Answer((text + "\r\n" + content).into_bytes())
}
