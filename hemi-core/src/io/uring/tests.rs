//! Connections on a ring, each with its client.

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::net::{self, SocketAddr};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Duration;

use hemi_test::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::cores::Cores;
use crate::io::{Io, IoDriver, Socket};

const PATIENCE: Duration = Duration::from_secs(30);

/// So small that all its limits are reached.
const TINY: Sizes = Sizes { submissions: 2, completions: 4, buffers: 2 };

/// A core with a ring.
struct Rig(Cores);

/// A rig; none if this system has no io_uring.
fn rig(sizes: Sizes) -> Option<Rig> {
    let cores = Cores::start(NonZeroUsize::MIN).unwrap();
    match cores.drive_by(IoDriver::Uring, sizes) {
        Ok(()) => Some(Rig(cores)),
        Err(e) => {
            println!("skipped: {e}");
            None
        }
    }
}

impl Rig {
    /// Serves each connection by such a task.
    fn serve<F>(&self, serve: impl Fn(Socket) -> F + Send + 'static) -> SocketAddr
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        self.0.spawn(0, async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let fd = stream.into_std().unwrap().into();
                tokio::spawn(serve(Socket::fresh(fd, Family::Tcp)));
            }
        });
        addr
    }

    /// Sockets that the ring has.
    fn count(&self) -> usize {
        let (tell, told) = mpsc::channel();
        self.0.spawn(0, async move {
            tell.send(CORE.with_borrow(|core| core.as_ref().unwrap().ring.count())).unwrap();
        });
        told.recv().unwrap()
    }

    #[track_caller]
    fn is_empty_soon(&self) {
        assert!(eventually(PATIENCE, || self.count() == 0), "{} sockets", self.count());
    }
}

fn connect(addr: SocketAddr) -> net::TcpStream {
    let client = net::TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client
}

async fn recv(socket: &mut Socket, buf: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|cx| socket.poll_recv(cx, buf)).await
}

async fn send(socket: &mut Socket, out: &mut Outbox) -> io::Result<()> {
    poll_fn(|cx| socket.poll_send(cx, out)).await
}

/// Sends back what comes, to the end.
async fn echo(mut socket: Socket) {
    let (mut buf, mut out) = (BytesMut::with_capacity(1000), Outbox::default());
    while let Ok(1..) = recv(&mut socket, &mut buf).await {
        out.small().extend_from_slice(&buf);
        buf.clear();
        if send(&mut socket, &mut out).await.is_err() {
            break;
        }
    }
}

/// Bytes that differ by place and by client.
fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|n| ((n + seed) * 31 % 251) as u8).collect()
}

/// Sends in pieces and expects all of it back.
fn exchange(client: &mut (impl Read + Write), seed: usize, piece: usize) {
    let bytes = pattern(seed, 40_000);
    for piece in bytes.chunks(piece) {
        client.write_all(piece).unwrap();
        let mut back = vec![0; piece.len()];
        client.read_exact(&mut back).unwrap();
        assert!(back == piece, "other bytes");
    }
}

#[test]
fn bytes_of_many_come_in_order_though_the_ring_is_too_small_for_them() {
    for sizes in [TINY, SIZES] {
        let Some(rig) = rig(sizes) else { return };
        let addr = rig.serve(echo);
        std::thread::scope(|scope| {
            for seed in 0..40 {
                let mut client = connect(addr);
                scope.spawn(move || exchange(&mut client, seed, [1000, 7000, 20_000][seed % 3]));
            }
        });
        rig.is_empty_soon();
    }
}

#[test]
fn unix_sockets_do_the_same() {
    let Some(rig) = rig(TINY) else { return };
    let (mut client, server) = UnixStream::pair().unwrap();
    server.set_nonblocking(true).unwrap();
    rig.0.spawn(0, echo(Socket::fresh(server.into(), Family::Unix)));
    exchange(&mut client, 1, 9000);
    drop(client);
    rig.is_empty_soon();
}

#[test]
fn connections_may_end_at_any_moment() {
    let Some(rig) = rig(TINY) else { return };
    let addr = rig.serve(|mut socket| async move {
        let (mut buf, mut out) = (BytesMut::with_capacity(4096), Outbox::default());
        let Ok(1..) = recv(&mut socket, &mut buf).await else { return };
        // Waiting, sending little, more than there is room for, or to whom nobody reads.
        let count = usize::from(buf[0]);
        for _ in 0..count {
            out.small().extend_from_slice(&[b'x'; 10_000]);
            if send(&mut socket, &mut out).await.is_err() {
                return;
            }
        }
        if count.is_multiple_of(3) {
            socket.reset();
        }
        if count.is_multiple_of(2) {
            buf.clear();
            let _ = recv(&mut socket, &mut buf).await;
        }
    });
    for round in 0..400_usize {
        let mut client = connect(addr);
        let count = [0, 1, 2, 3, 40, 41, 255][round % 7];
        match round % 5 {
            0 => {}
            1 => client.write_all(&[count]).unwrap(),
            2 => {
                client.write_all(&[count]).unwrap();
                // The other end may have been reset already.
                let _ = client.shutdown(net::Shutdown::Write);
            }
            3 => {
                client.write_all(&[count.max(1)]).unwrap();
                let _ = client.read(&mut [0; 100]);
            }
            _ => {
                client.write_all(&[count]).unwrap();
                let linger = rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO));
                linger.unwrap();
            }
        }
    }
    rig.is_empty_soon();
}

#[test]
fn what_was_sent_arrives_though_nobody_read_and_the_connection_is_gone() {
    let Some(rig) = rig(SIZES) else { return };
    let (tell, told) = mpsc::channel();
    let addr = rig.serve(move |mut socket| {
        let tell = tell.clone();
        async move {
            recv(&mut socket, &mut BytesMut::with_capacity(10)).await.unwrap();
            let mut out = Outbox::default();
            let mut sent = 0;
            // Until the ring still has some of it.
            while let Ok(sending) = tokio::time::timeout(Duration::from_millis(50), async {
                out.small().extend_from_slice(&[sent as u8; 16_000]);
                send(&mut socket, &mut out).await
            })
            .await
            {
                sending.unwrap();
                sent += 1;
            }
            drop(socket);
            tell.send(sent).unwrap();
        }
    });
    let mut client = connect(addr);
    client.write_all(b"x").unwrap();
    let sent = told.recv_timeout(PATIENCE).unwrap();
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    // Of the piece that it waited for, there may be a part.
    assert_eq!(bytes.len() / 16_000, sent);
    assert!(bytes.chunks(16_000).zip(0..).all(|(piece, n)| piece.iter().all(|&b| b == n as u8)));
    rig.is_empty_soon();
}

#[test]
fn who_does_not_receive_takes_little_and_gets_all_later() {
    let Some(rig) = rig(TINY) else { return };
    let (go, gone) = mpsc::channel::<()>();
    let gone = Arc::new(std::sync::Mutex::new(Some(gone)));
    let addr = rig.serve(move |mut socket| {
        let gone = gone.lock().unwrap().take().unwrap();
        async move {
            let mut buf = BytesMut::with_capacity(1);
            recv(&mut socket, &mut buf).await.unwrap();
            tokio::task::spawn_blocking(move || gone.recv().unwrap()).await.unwrap();
            echo(socket).await;
        }
    });
    let mut client = connect(addr);
    client.write_all(b"x").unwrap();
    client.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let bytes = pattern(0, 64 << 20);
    let mut sent = 0;
    let stuck = loop {
        match client.write(&bytes[sent..]) {
            Ok(more) => sent += more,
            Err(e) => break e.kind(),
        }
    };
    assert!(matches!(stuck, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{stuck}");
    let mut back = vec![0; sent];
    go.send(()).unwrap();
    client.read_exact(&mut back).unwrap();
    assert!(back == bytes[..sent], "other bytes");
    drop(client);
    rig.is_empty_soon();
}

#[test]
fn a_half_close_comes_after_what_was_sent_and_leaves_the_other_half_open() {
    let Some(rig) = rig(SIZES) else { return };
    let (tell, told) = mpsc::channel();
    let addr = rig.serve(move |mut socket| {
        let tell = tell.clone();
        async move {
            let (mut buf, mut out) = (BytesMut::with_capacity(1000), Outbox::default());
            recv(&mut socket, &mut buf).await.unwrap();
            out.small().extend_from_slice(b"answer");
            send(&mut socket, &mut out).await.unwrap();
            Io::shutdown(&mut socket).unwrap();
            buf.clear();
            while let Ok(1..) = recv(&mut socket, &mut buf).await {}
            tell.send(buf).unwrap();
        }
    });
    let mut client = connect(addr);
    client.write_all(b"x").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
    client.write_all(b"late").unwrap();
    client.shutdown(net::Shutdown::Write).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "late");
    rig.is_empty_soon();
}

#[test]
fn a_reset_is_seen_as_one() {
    let Some(rig) = rig(SIZES) else { return };
    let addr = rig.serve(|mut socket| async move {
        recv(&mut socket, &mut BytesMut::with_capacity(10)).await.unwrap();
        socket.reset();
    });
    let mut client = connect(addr);
    client.write_all(b"x").unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    rig.is_empty_soon();
}

#[test]
fn a_connection_leaves_the_ring_with_all_that_came_and_goes_to_another_thread() {
    let Some(rig) = rig(SIZES) else { return };
    let (tell, told) = mpsc::channel();
    let addr = rig.serve(move |mut socket| {
        let tell = tell.clone();
        async move {
            let (mut buf, mut out) = (BytesMut::with_capacity(3), Outbox::default());
            recv(&mut socket, &mut buf).await.unwrap();
            out.small().extend_from_slice(b"go on");
            send(&mut socket, &mut out).await.unwrap();
            // Has the ring receive, though there is room for a part only.
            let mut buf = BytesMut::with_capacity(3);
            recv(&mut socket, &mut buf).await.unwrap();
            tell.send((socket, buf)).unwrap();
        }
    });
    let mut client = connect(addr);
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    client.write_all(b"123456").unwrap();
    let (mut socket, first) = told.recv_timeout(PATIENCE).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    client.write_all(b"789").unwrap();
    client.shutdown(net::Shutdown::Write).unwrap();
    runtime.block_on(async {
        // By either way.
        let mut rest = BytesMut::with_capacity(2);
        recv(&mut socket, &mut rest).await.unwrap();
        let mut rest = rest.to_vec();
        socket.read_to_end(&mut rest).await.unwrap();
        let all = [&first[..], &rest].concat();
        assert_eq!(String::from_utf8(all).unwrap(), "123456789");
        socket.write_all(b"bye").await.unwrap();
    });
    rig.is_empty_soon();
    drop(socket);
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "bye");
}

#[test]
fn cores_end_with_connections_open_and_elsewhere() {
    let Some(rig) = rig(SIZES) else { return };
    let (tell, told) = mpsc::channel();
    let addr = rig.serve(move |mut socket| {
        let tell = tell.clone();
        async move {
            let mut buf = BytesMut::with_capacity(1000);
            recv(&mut socket, &mut buf).await.unwrap();
            if buf == "elsewhere" {
                // On the ring, by waiting.
                let wait = Duration::from_millis(10);
                let _ = tokio::time::timeout(wait, recv(&mut socket, &mut buf)).await;
                tell.send(socket).unwrap();
            } else {
                echo(socket).await;
            }
        }
    });
    let mut clients: Vec<_> = (0..20).map(|_| connect(addr)).collect();
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    let mut client = connect(addr);
    client.write_all(b"elsewhere").unwrap();
    let socket = told.recv_timeout(PATIENCE).unwrap();
    drop(rig);
    drop(socket);
    clients.push(client);
    for mut client in clients {
        let end = client.read(&mut [0; 10]);
        assert!(
            matches!(&end, Ok(0)) || end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset)
        );
    }
}

#[test]
fn without_a_ring_there_is_epoll_unless_a_ring_is_insisted_on() {
    let cores = Cores::start(NonZeroUsize::MIN).unwrap();
    // Refused by the kernel: no power of two.
    let refused = Sizes { buffers: 3, ..SIZES };
    let error = cores.drive_by(IoDriver::Uring, refused).unwrap_err().to_string();
    assert!(error.starts_with("cannot use io_uring"), "{error}");
    cores.drive_by(IoDriver::Auto, refused).unwrap();
    let rig = Rig(cores);
    let addr = rig.serve(echo);
    exchange(&mut connect(addr), 0, 1000);
}

/// Answers once, ends with that, and says what comes after.
async fn answer_and_end(mut socket: Socket, told: mpsc::Sender<Vec<u8>>) {
    let (mut buf, mut out) = (BytesMut::with_capacity(1000), Outbox::default());
    recv(&mut socket, &mut buf).await.unwrap();
    out.small().extend_from_slice(&buf);
    socket.last();
    send(&mut socket, &mut out).await.unwrap();
    Io::shutdown(&mut socket).unwrap();
    let mut rest = BytesMut::with_capacity(1000);
    while let Ok(1..) = recv(&mut socket, &mut rest).await {}
    told.send(rest.to_vec()).unwrap();
}

#[test]
fn an_end_goes_with_the_last_bytes_and_the_other_way_stays_open() {
    for driver in [IoDriver::Epoll, IoDriver::Uring] {
        let rig = Rig(Cores::start(NonZeroUsize::MIN).unwrap());
        if rig.0.drive(driver).is_err() {
            continue;
        }
        let (tell, told) = mpsc::channel();
        let addr = rig.serve(move |socket| answer_and_end(socket, tell.clone()));
        let mut client = connect(addr);
        client.write_all(b"first").unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"first");
        client.write_all(b"second").unwrap();
        drop(client);
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), b"second");
    }
}
