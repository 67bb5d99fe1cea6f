//! What clients see of nodes that fail in all kinds of ways, under load: the right answer, or none that looks
//! whole; and nothing is left behind.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hemi_core::metrics::{Exposition, Measures};
use hemi_test::{Reply, eventually};

use crate::server::{Running, ask, load};
use crate::upstream::{Act, Upstream};

/// The one right content of a path.
fn content(path: &str) -> Vec<u8> {
    let mut state = path.bytes().fold(7_u32, |state, b| state.wrapping_mul(31) ^ u32::from(b));
    let len = 100 + (state % 40_000) as usize;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn path_of(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

fn right_answer(head: &str) -> Vec<u8> {
    let content = content(path_of(head));
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", content.len()).into_bytes();
    answer.extend(content);
    answer
}

fn good() -> Upstream {
    Upstream::start(|head| Act::Answer(right_answer(head)))
}

fn config(nodes: &[SocketAddr], backend: &str) -> String {
    let nodes: String = nodes.iter().map(|n| format!("node {{ .address = \"{n}\" }}\n")).collect();
    format!(
        r#"stage {{
            http1Backend "b" {{
                .balancer = "roundRobin"  .connectTimeout = 300ms
                .answerTimeout = 300ms  .readTimeout = 300ms  {backend} {nodes}
            }}
            webapp "site" {{ .hostnames = ("*")  rule {{ httpProxy {{ .toBackend = "b" }} }} }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("site") }}
        }}"#
    )
}

fn proxy(nodes: &[SocketAddr], backend: &str) -> Running {
    load(2, &config(nodes, backend)).unwrap_or_else(|e| panic!("{e}"))
}

/// What clients saw.
#[derive(Debug, Default)]
struct Seen {
    right: AtomicUsize,
    /// Answers with 502, 503 or 504.
    refused: AtomicUsize,
    /// Connections that broke within an answer.
    broken: AtomicUsize,
}

impl Seen {
    fn counts(&self) -> [usize; 3] {
        [&self.right, &self.refused, &self.broken].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Asks on `clients` connections at once, `each` requests on each, for as long as `more` says so.
fn put_under_load(addr: SocketAddr, clients: usize, more: impl Fn(usize) -> bool + Sync) -> Seen {
    let seen = Seen::default();
    thread::scope(|scope| {
        for client in 0..clients {
            let (seen, more) = (&seen, &more);
            scope.spawn(move || {
                let mut connection = None;
                for n in (0..).take_while(|n| more(*n)) {
                    let path = format!("/{client}/{n}");
                    let open = connection
                        .get_or_insert_with(|| hemi_test::raw::Client::connect(addr).unwrap());
                    let reply = ask(open, "GET", &path, &[]);
                    let is_last = |reply: &Reply| reply.header("connection") == Some("close");
                    if reply.as_ref().is_ok_and(is_last) {
                        connection = None;
                    }
                    let counted = match reply {
                        Ok(reply) if reply.status == 200 => {
                            assert!(reply.body == content(&path), "a wrong body for {path}");
                            &seen.right
                        }
                        Ok(reply) => {
                            assert!((502..=504).contains(&reply.status), "{}", reply.status);
                            &seen.refused
                        }
                        Err(_) => {
                            connection = None;
                            &seen.broken
                        }
                    };
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    seen
}

/// The sum of a measure.
fn measured(server: &Running, name: &str) -> f64 {
    let text = Measures::of(server.stage()).write(Exposition::Prometheus);
    let of_name = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    of_name.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

fn nothing_is_left(server: &Running) {
    let idle = || {
        measured(server, "hemi_backend_active") == 0.0
            && measured(server, "hemi_server_conns_active") == 0.0
    };
    assert!(eventually(Duration::from_secs(20), idle), "requests or connections are left");
}

/// Answers to a node's requests that are wrong in one way.
fn wrong(fault: &str, head: &str) -> Act {
    let right = right_answer(head);
    let half = right.len() / 2;
    match fault {
        "closes" => Act::AnswerAndClose(Vec::new()),
        "hangs" => Act::Wait,
        "hangs within the head" => Act::Answer(right[..20].to_vec()),
        "hangs after the head" => {
            let end = right.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            Act::Answer(right[..end].to_vec())
        }
        "hangs within the content" => Act::Answer(right[..half].to_vec()),
        "resets within the content" => Act::AnswerAndReset(right[..half].to_vec()),
        "truncates" => Act::AnswerAndClose(right[..half].to_vec()),
        "sends garbage" => Act::AnswerAndClose(right[half..].to_vec()),
        "sends too large a head" => {
            let field = format!("x: {}\r\n", "y".repeat(80 << 10));
            Act::Answer(format!("HTTP/1.1 200 OK\r\n{field}\r\n").into_bytes())
        }
        "sends 1xx without end" => Act::Answer(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000)),
        "sends more than it should" => Act::Answer([&right[..], b"HTTP/1.1 200 OK\r\n"].concat()),
        "drips" => Act::Drip(right),
        _ => unreachable!("{fault}"),
    }
}

/// What fails before an answer begins is made good by another node; what breaks off is seen to be.
#[test]
fn one_of_two_nodes_fails() {
    for (fault, may_break) in [
        ("closes", false),
        ("hangs", false),
        ("hangs within the head", false),
        ("hangs after the head", true),
        ("hangs within the content", true),
        ("resets within the content", true),
        ("truncates", true),
        ("sends garbage", false),
        ("sends too large a head", false),
        ("sends 1xx without end", false),
        ("sends more than it should", false),
        ("drips", true),
    ] {
        let bad = Upstream::start(move |head| wrong(fault, head));
        let fine = good();
        let server = proxy(&[bad.addr(), fine.addr()], ".maxFailures = 0");
        let seen = put_under_load(server.addr(), 4, |n| n < 12);
        let [right, refused, broken] = seen.counts();
        assert_eq!((right + broken, refused), (48, 0), "{fault}: {seen:?}");
        assert!(may_break || broken == 0, "{fault}: {seen:?}");
        nothing_is_left(&server);
    }
}

#[test]
fn a_node_that_fails_is_left_out() {
    let bad = Upstream::start(|head| wrong("hangs", head));
    let fine = good();
    let server = proxy(&[bad.addr(), fine.addr()], ".maxFailures = 2");
    let seen = put_under_load(server.addr(), 4, |n| n < 50);
    assert_eq!(seen.counts(), [200, 0, 0]);
    // As many on each core, and those that were under way.
    assert!(bad.connections() < 20, "{}", bad.connections());
    nothing_is_left(&server);
}

/// A node to which no connection can be made: the queue of those to be accepted is full.
#[test]
fn a_node_does_not_accept() {
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let addr = full.local_addr().unwrap().as_socket().unwrap();
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let stream = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let stream = stream.unwrap();
            stream.set_nonblocking(true).unwrap();
            let _ = stream.connect(&addr.into());
            stream
        })
        .collect();
    let fine = good();
    let server = proxy(&[addr, fine.addr()], ".maxFailures = 0");
    let seen = put_under_load(server.addr(), 4, |n| n < 6);
    assert_eq!(seen.counts(), [24, 0, 0]);
    nothing_is_left(&server);
    drop(waiting);
}

#[test]
fn all_nodes_are_down_and_come_back() {
    let nodes = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addrs = [0, 1].map(|n: usize| nodes[n].local_addr().unwrap());
    drop(nodes);
    let server = proxy(&addrs, "");
    let seen = put_under_load(server.addr(), 4, |n| n < 20);
    assert_eq!(seen.counts(), [0, 80, 0]);
    let _nodes = addrs.map(|addr| Upstream::at(addr, |head| Act::Answer(right_answer(head))));
    assert!(eventually(Duration::from_secs(20), || server.get("/").status == 200));
    let seen = put_under_load(server.addr(), 4, |n| n < 20);
    assert_eq!(seen.counts(), [80, 0, 0]);
    nothing_is_left(&server);
}

/// What can be sent again is, whatever happens to a node while it is asked.
#[test]
fn one_of_three_nodes_is_killed_under_load() {
    let mut nodes: Vec<_> = (0..3).map(|_| good()).collect();
    let addrs: Vec<_> = nodes.iter().map(Upstream::addr).collect();
    let server = proxy(&addrs, "");
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen = thread::scope(|scope| {
        let load = scope.spawn(|| {
            put_under_load(server.addr(), 4, |_| {
                asked.fetch_add(1, Ordering::Relaxed);
                !over.load(Ordering::Relaxed)
            })
        });
        let until = |count| {
            let enough = || asked.load(Ordering::Relaxed) >= count || load.is_finished();
            assert!(eventually(Duration::from_secs(60), enough));
        };
        until(500);
        drop(nodes.pop());
        until(1500);
        // It is back.
        nodes.push(Upstream::at(addrs[2], |head| Act::Answer(right_answer(head))));
        until(2000);
        over.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    let [right, refused, broken] = seen.counts();
    // A node that is killed in the middle of an answer can't take it back.
    assert!(right >= 1900 && refused == 0 && broken <= 4, "{seen:?}");
    nothing_is_left(&server);
}

#[test]
fn the_config_is_loaded_again_under_load() {
    let flips = Arc::new(Mutex::new(0));
    let flapping = Upstream::start(move |head| {
        let mut flips = flips.lock().unwrap();
        *flips += 1;
        if *flips % 20 < 10 { Act::Answer(right_answer(head)) } else { wrong("closes", head) }
    });
    let fine = good();
    let both = [flapping.addr(), fine.addr()];
    let port = hemi_test::free_port().unwrap();
    let config = |nodes: &[SocketAddr]| {
        config(nodes, "").replace("127.0.0.1:0", &format!("127.0.0.1:{port}"))
    };
    let mut server = load(2, &config(&both)).unwrap_or_else(|e| panic!("{e}"));
    let (addr, over) = (server.addr(), AtomicBool::new(false));
    let seen = thread::scope(|scope| {
        let load = scope.spawn(|| put_under_load(addr, 4, |_| !over.load(Ordering::Relaxed)));
        for nodes in [&both[1..], &both, &both[1..], &both] {
            server.reload(&config(nodes));
        }
        over.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    let [right, refused, broken] = seen.counts();
    assert!(right > 0 && refused == 0 && broken == 0, "{seen:?}");
    nothing_is_left(&server);
}
