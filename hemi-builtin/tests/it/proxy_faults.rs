//! What clients see of nodes that fail in all kinds of ways, under load: the right answer, or none that looks
//! whole; and nothing is left behind.

mod moving;

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

/// Properties of a backend whose nodes are not waited for in vain for long.
const BRIEF: &str = ".connectTimeout = 1s  .answerTimeout = 1s  .readTimeout = 1s  .maxFailures = ";

fn config(nodes: &[SocketAddr], backend: &str) -> String {
    let nodes: String = nodes.iter().map(|n| format!("node {{ .address = \"{n}\" }}\n")).collect();
    format!(
        r#"stage {{
            http1Backend "b" {{
                .balancer = "roundRobin"  {backend} {nodes}
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

/// Long enough for the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tasks that a server may have without requests, far fewer than any test here sends: those of its components,
/// and a few that each core begins when it needs them.
fn idle_tasks(server: &Running) -> usize {
    server.engine().tasks() + 4 * server.engine().cores()
}

/// No request, no connection to a client, no stage of before and no more tasks than that.
fn nothing_is_left(server: &Running, tasks: usize) {
    let count = || {
        [
            measured(server, "hemi_backend_active") as usize,
            measured(server, "hemi_server_conns_active") as usize,
            server.engine().status().stages.len() - 1,
            server.engine().tasks().saturating_sub(tasks),
        ]
    };
    assert!(eventually(PATIENCE, || count() == [0; 4]), "something is left: {:?}", count());
}

/// Connections to nodes are open only that are known, and none when the server has ended.
fn no_connection_is_left(server: Running, nodes: &[&Upstream]) {
    let open = || nodes.iter().map(|node| node.open_connections()).sum::<usize>();
    let known = || measured(&server, "hemi_backend_conns") as usize;
    let all_known = eventually(PATIENCE, || open() <= known());
    assert!(all_known, "{} connections to nodes are open, {} known", open(), known());
    server.quit();
    assert!(eventually(PATIENCE, || open() == 0), "{} connections to nodes are left", open());
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

/// All of these, and whether an answer may break off by them.
const FAULTS: [(&str, bool); 12] = [
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
];

/// What fails before an answer begins is made good by another node; what breaks off is seen to be.
#[test]
fn one_of_two_nodes_fails() {
    for (fault, may_break) in FAULTS {
        let bad = Upstream::start(move |head| wrong(fault, head));
        let fine = good();
        let server = proxy(&[bad.addr(), fine.addr()], &format!("{BRIEF} 0"));
        let tasks = idle_tasks(&server);
        let seen = put_under_load(server.addr(), 4, |n| n < 12);
        let [right, refused, broken] = seen.counts();
        assert_eq!((right + broken, refused), (48, 0), "{fault}: {seen:?}");
        assert!(may_break || broken == 0, "{fault}: {seen:?}");
        nothing_is_left(&server, tasks);
        no_connection_is_left(server, &[&bad, &fine]);
    }
}

/// Nor do reloads meanwhile change that.
#[test]
fn the_config_is_loaded_again_during_each_fault() {
    for (fault, may_break) in FAULTS {
        let bad = Upstream::start(move |head| wrong(fault, head));
        let fine = good();
        let nodes = [bad.addr(), fine.addr()];
        let mut server = proxy(&nodes, &format!("{BRIEF} 0"));
        let (addr, tasks) = (server.addr(), idle_tasks(&server));
        let seen = under_load_until(addr, |asked| {
            for round in 0..3 {
                asked(8 * (round + 1));
                server.reload(&config(&nodes, &format!("{BRIEF} 0  .slowStart = {round}s")));
                assert_eq!(server.addr(), addr);
            }
            asked(32);
        });
        let [right, refused, broken] = seen.counts();
        assert!(right > 0 && refused == 0, "{fault}: {seen:?}");
        assert!(may_break || broken == 0, "{fault}: {seen:?}");
        nothing_is_left(&server, tasks);
        no_connection_is_left(server, &[&bad, &fine]);
    }
}

/// Puts a server under load while `meanwhile` does something, which can wait until so much was asked.
fn under_load_until(addr: SocketAddr, meanwhile: impl FnOnce(&dyn Fn(usize))) -> Seen {
    let (over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            put_under_load(addr, 4, |_| {
                count.fetch_add(1, Ordering::Relaxed);
                !over.load(Ordering::Relaxed)
            })
        });
        // However this ends, so does the load.
        let ending = Ending(&over);
        meanwhile(&|asked| {
            let enough = || count.load(Ordering::Relaxed) >= asked || load.is_finished();
            assert!(eventually(PATIENCE, enough), "clients are stuck");
        });
        drop(ending);
        load.join().unwrap()
    })
}

struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A node that is there and away again, ten times: what it was asked when it went is asked of the other one.
#[test]
fn a_node_flaps_under_load() {
    let away = Arc::new(AtomicBool::new(false));
    let told = away.clone();
    let flapping = Upstream::start(move |head| match told.load(Ordering::Relaxed) {
        true => wrong("closes", head),
        false => Act::Answer(right_answer(head)),
    });
    let fine = good();
    for checked in ["", "httpCheck { .interval = 1ms  .timeout = 30s }"] {
        let server = proxy(&[flapping.addr(), fine.addr()], checked);
        let tasks = idle_tasks(&server);
        let seen = under_load_until(server.addr(), |asked| {
            for n in 0..20 {
                asked(100 * (n + 1));
                away.store(n % 2 == 0, Ordering::Relaxed);
                flapping.close_connections();
            }
        });
        let [right, refused, broken] = seen.counts();
        // Those that were being answered just then can't be answered anew.
        assert!(right >= 1900 && refused == 0 && broken <= 4 * 20, "{seen:?}");
        nothing_is_left(&server, tasks);
        no_connection_is_left(server, &[&flapping, &fine]);
    }
}

#[test]
fn a_node_that_fails_is_left_out() {
    let bad = Upstream::start(|head| wrong("hangs", head));
    let fine = good();
    let server = proxy(&[bad.addr(), fine.addr()], &format!("{BRIEF} 2"));
    let tasks = idle_tasks(&server);
    let seen = put_under_load(server.addr(), 4, |n| n < 50);
    assert_eq!(seen.counts(), [200, 0, 0]);
    // As many on each core, and those that were under way.
    assert!(bad.connections() < 20, "{}", bad.connections());
    nothing_is_left(&server, tasks);
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
    let server = proxy(&[addr, fine.addr()], &format!("{BRIEF} 0"));
    let tasks = idle_tasks(&server);
    let seen = put_under_load(server.addr(), 4, |n| n < 6);
    assert_eq!(seen.counts(), [24, 0, 0]);
    nothing_is_left(&server, tasks);
    drop(waiting);
}

#[test]
fn all_nodes_are_down_and_come_back() {
    let nodes = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addrs = [0, 1].map(|n: usize| nodes[n].local_addr().unwrap());
    drop(nodes);
    let server = proxy(&addrs, "");
    let tasks = idle_tasks(&server);
    let seen = put_under_load(server.addr(), 4, |n| n < 20);
    assert_eq!(seen.counts(), [0, 80, 0]);
    let _nodes = addrs.map(|addr| Upstream::at(addr, |head| Act::Answer(right_answer(head))));
    assert!(eventually(Duration::from_secs(20), || server.get("/").status == 200));
    let seen = put_under_load(server.addr(), 4, |n| n < 20);
    assert_eq!(seen.counts(), [80, 0, 0]);
    nothing_is_left(&server, tasks);
}

/// What can be sent again is, whatever happens to a node while it is asked.
#[test]
fn one_of_three_nodes_is_killed_under_load() {
    let mut nodes: Vec<_> = (0..3).map(|_| good()).collect();
    let addrs: Vec<_> = nodes.iter().map(Upstream::addr).collect();
    let server = proxy(&addrs, "");
    let tasks = idle_tasks(&server);
    let seen = under_load_until(server.addr(), |asked| {
        asked(500);
        drop(nodes.pop());
        asked(1500);
        // It is back.
        nodes.push(Upstream::at(addrs[2], |head| Act::Answer(right_answer(head))));
        asked(2000);
    });
    let [right, refused, broken] = seen.counts();
    // A node that is killed in the middle of an answer can't take it back.
    assert!(right >= 1900 && refused == 0 && broken <= 4, "{seen:?}");
    nothing_is_left(&server, tasks);
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
    let mut server = proxy(&both, "");
    let (addr, tasks) = (server.addr(), idle_tasks(&server));
    let seen = under_load_until(addr, |asked| {
        for (round, nodes) in [&both[1..], &both, &both[1..], &both].into_iter().enumerate() {
            asked(20 * (round + 1));
            server.reload(&config(nodes, ""));
        }
    });
    let [right, refused, broken] = seen.counts();
    assert!(right > 0 && refused == 0 && broken == 0, "{seen:?}");
    nothing_is_left(&server, tasks);
}
