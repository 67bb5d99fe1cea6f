//! What bounds a backend: connections, requests, waiting, contents; checks by HTTP; clients kept at a node.

mod grpc_check;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use hemi_test::eventually;

use crate::server::{Running, ask, mistake, site_on};
use crate::upstream::{Act, Upstream, answer};

const SOON: Duration = Duration::from_secs(20);

/// A site that passes everything on to a backend with these properties and nodes.
fn proxy(backend: &str, handlet: &str) -> Running {
    site_on(
        1,
        &format!("http1Backend \"b\" {{ {backend} }}"),
        &format!(
            "rule $path == \"/metrics\" {{ metrics {{}} }}
             rule {{ httpProxy {{ .toBackend = \"b\"  {handlet} }} }}"
        ),
    )
}

fn node(upstream: &Upstream) -> String {
    format!("node {{ .address = \"{}\" }} ", upstream.addr())
}

fn ok() -> Upstream {
    Upstream::start(|_| answer("200 OK", &[], "ok"))
}

#[test]
fn connections_are_kept_as_many_and_as_long_as_allowed() {
    for (properties, requests, connections) in [
        ("", 6, 1),
        (".keepConns = 0", 6, 6),
        (".maxRequestsPerConn = 2", 6, 3),
        (".maxRequestsPerConn = 1", 6, 6),
    ] {
        let upstream = ok();
        let server = proxy(&format!("{properties} {}", node(&upstream)), "");
        (0..requests).for_each(|_| assert_eq!(server.get("/").status, 200));
        assert_eq!(upstream.connections(), connections, "{properties}");
    }
    let upstream = ok();
    let server = proxy(&format!(".keepTime = 1ms {}", node(&upstream)), "");
    let another = || server.get("/").status == 200 && upstream.connections() > 2;
    assert!(eventually(SOON, another), "connections are kept for longer than allowed");
}

#[test]
fn who_finds_no_place_waits_or_is_told_to_come_again() {
    let begun = Arc::new(AtomicUsize::new(0));
    let seen = begun.clone();
    let upstream = Upstream::start(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        Act::Wait
    });
    let limits = ".maxConns = 1  .maxPending = 1  .pendingTimeout = 600s  .answerTimeout = 600s";
    let server = proxy(&format!("{limits} {}", node(&upstream)), "");
    let mut first = server.connect();
    first.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(eventually(SOON, || begun.load(Ordering::Relaxed) == 1));
    let mut second = server.connect();
    second.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    // The second waits, sooner or later; a third does not.
    let refused = || {
        let reply = server.get("/3");
        assert!(reply.status == 503 || reply.status == 504, "{}", reply.status);
        reply.header("retry-after") == Some("1")
    };
    assert!(eventually(SOON, || measured(&server, "hemi_backend_pending") == 1));
    assert!(refused());
    assert_eq!(begun.load(Ordering::Relaxed), 1);
    // Its place is the second's.
    first.reset().unwrap();
    assert!(eventually(SOON, || begun.load(Ordering::Relaxed) == 2));
    assert_eq!(measured(&server, "hemi_backend_shed"), 1);
}

/// A number that the stage tells of its only backend.
fn measured(server: &Running, name: &str) -> u64 {
    let text = server.get("/metrics").text();
    let is_it = |line: &&str| {
        let rest = line.strip_prefix(name).map(|rest| rest.strip_prefix("_total").unwrap_or(rest));
        rest.is_some_and(|rest| rest.starts_with('{'))
    };
    let value = text.lines().find(is_it).and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn a_node_with_too_much_to_do_is_given_less_and_gets_over_it() {
    // Four workers of 10 ms each: 400 requests a second.
    let addr = pool(4, || Duration::from_millis(10));
    let backend = format!(".pendingTimeout = 100ms  node {{ .address = \"{addr}\" }}");
    let server = Arc::new(proxy(&backend, ""));
    for _ in 0..60 {
        assert_eq!(server.get("/").status, 200);
    }
    let ended = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..120)
        .map(|_| {
            let (server, ended) = (server.clone(), ended.clone());
            thread::spawn(move || {
                let (mut served, mut refused) = (0, 0);
                let mut client = server.connect();
                while !ended.load(Ordering::Relaxed) {
                    match ask(&mut client, "GET", "/", &[]).unwrap().status {
                        200 => served += 1,
                        503 => refused += 1,
                        other => panic!("{other}"),
                    }
                }
                (served, refused)
            })
        })
        .collect();
    let limited = eventually(SOON, || measured(&server, "hemi_backend_shed") > 20);
    ended.store(true, Ordering::Relaxed);
    let (served, refused) = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    assert!(limited && served > 100 && refused > 20, "{served} served, {refused} refused");
    // It is over: everybody is served at once.
    assert!((0..20).all(|_| server.get("/").status == 200));
}

#[test]
fn a_node_whose_work_takes_longer_than_before_is_given_all_of_it() {
    let takes = Arc::new(AtomicU64::new(2));
    let told = takes.clone();
    let addr = pool(1000, move || Duration::from_millis(told.load(Ordering::Relaxed)));
    let server = proxy(&format!("node {{ .address = \"{addr}\" }}"), "");
    for _ in 0..200 {
        assert_eq!(server.get("/").status, 200);
    }
    takes.store(300, Ordering::Relaxed);
    // Whether all of many who ask at the same time are answered, again and again.
    let all_served = || {
        thread::scope(|scope| {
            let ask_on = || {
                let mut client = server.connect();
                (0..3).all(|_| {
                    ask(&mut client, "GET", "/", &[]).is_ok_and(|answer| answer.status == 200)
                })
            };
            let clients: Vec<_> = (0..60).map(|_| scope.spawn(ask_on)).collect();
            let served: Vec<bool> = clients.into_iter().map(|c| c.join().unwrap()).collect();
            served.into_iter().all(|served| served)
        })
    };
    assert!(eventually(SOON * 9, all_served), "some are still refused");
}

#[test]
fn a_node_that_says_it_can_t_is_left_out() {
    let bad = Upstream::start(|_| answer("503 Busy", &[], ""));
    let good = ok();
    let nodes = node(&bad) + &node(&good);
    for balancer in ["roundRobin", "p2c"] {
        let before = bad.requests();
        let server = proxy(&format!(".balancer = \"{balancer}\"  .ejectTime = 10m  {nodes}"), "");
        let refused = (0..100).filter(|_| server.get("/").status == 503).count();
        assert!(refused <= 5, "{balancer}: {refused}");
        assert_eq!(bad.requests() - before, refused);
    }
}

#[test]
fn a_node_that_fails_every_second_time_is_left_out_if_that_is_too_much() {
    let good = ok();
    for (most, all) in [(0, false), (40, true)] {
        let times = AtomicUsize::new(0);
        let flaky = Upstream::start(move |_| match times.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => answer("503 Busy", &[], ""),
            _ => answer("200 OK", &[], "ok"),
        });
        let nodes = node(&flaky) + &node(&good);
        let rates = format!(".maxErrorRate = {most}  .ejectTime = 10m  .balancer = \"roundRobin\"");
        let server = proxy(&format!("{rates}  {nodes}"), "");
        (0..200).for_each(|_| drop(server.get("/")));
        let left_out = flaky.requests() < 100;
        assert_eq!(left_out, all, "{most}: {}", flaky.requests());
    }
}

/// A server that does so many requests at once, each in so much time; others wait. It accepts until the
/// process ends.
#[expect(clippy::disallowed_methods, reason = "the work that it does takes time")]
fn pool(workers: usize, takes: impl Fn() -> Duration + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let free = Arc::new((Mutex::new(workers), Condvar::new()));
    thread::spawn(move || {
        for mut stream in listener.incoming().map(Result::unwrap) {
            let (free, takes) = (free.clone(), takes.clone());
            thread::spawn(move || {
                let (count, changed) = &*free;
                let mut request = [0; 4096];
                // Requests of these tests come in one piece.
                while stream.read(&mut request).is_ok_and(|read| read > 0) {
                    let mut left = count.lock().unwrap();
                    while *left == 0 {
                        left = changed.wait(left).unwrap();
                    }
                    *left -= 1;
                    drop(left);
                    thread::sleep(takes());
                    *count.lock().unwrap() += 1;
                    changed.notify_one();
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                }
            });
        }
    });
    addr
}

#[test]
fn requests_are_not_sent_again_without_end() {
    let broken: Vec<_> =
        (0..3).map(|_| Upstream::start(|_| Act::AnswerAndClose(Vec::new()))).collect();
    let nodes: String = broken.iter().map(node).collect();
    let server = proxy(&format!(".maxFailures = 0  .retryBudget = 0 {nodes}"), "");
    (0..80).for_each(|_| assert_eq!(server.get("/").status, 502));
    let tried: usize = broken.iter().map(Upstream::connections).sum();
    let again = measured(&server, "hemi_backend_retries") as usize;
    assert_eq!(tried, 80 + again);
    assert!(measured(&server, "hemi_backend_retries_refused") > 0, "{again} times again");
}

#[test]
fn a_node_is_up_if_its_page_says_so() {
    let well = Arc::new(AtomicBool::new(true));
    let told = well.clone();
    let upstream = Upstream::start(move |head| {
        if !head.starts_with("GET /health?a ") {
            return answer("200 OK", &[], "page");
        }
        assert!(head.contains("host: check.test\r\n") && head.contains("x-check: 1\r\n"), "{head}");
        answer("200 OK", &[], if told.load(Ordering::Relaxed) { "I am well" } else { "I am ill" })
    });
    let check = r#"httpCheck { .path = "/health?a"  .host = "check.test"  .headers = ["x-check": "1"]
        .expectStatus = ("200")  .expectBody = "well"  .interval = 1ms  .fall = 2  .rise = 2 }"#;
    let server = proxy(&format!("{} {check}", node(&upstream)), "");
    assert!(eventually(SOON, || state(&server) == "up"));
    assert_eq!(server.get("/").status, 200);
    well.store(false, Ordering::Relaxed);
    assert!(eventually(SOON, || server.get("/").status == 503));
    assert_eq!(state(&server), "down");
    well.store(true, Ordering::Relaxed);
    assert!(eventually(SOON, || server.get("/").status == 200));
}

fn state(server: &Running) -> String {
    let text = server.get("/metrics").text();
    let line = text.lines().find(|line| line.starts_with("hemi_backend_node_info"));
    let state = line.and_then(|line| line.split_once("state=\"")?.1.split_once('"'));
    state.map(|(state, _)| state.to_owned()).unwrap_or_default()
}

#[test]
fn checks_that_make_no_sense_are_mistakes() {
    for (check, complaint) in [
        (r#".path = "health""#, "begin it with a slash"),
        (r#".method = "POST""#, "no method for a check"),
        (r#".expectStatus = ("1xx")"#, "no status"),
    ] {
        let backend = format!(
            "http1Backend \"b\" {{ node {{ .address = \"127.0.0.1:1\" }} httpCheck {{ {check} }} }}"
        );
        let told = mistake(&backend, "rule { httpProxy { .toBackend = \"b\" } }");
        assert!(told.contains(complaint), "{told}");
    }
}

#[test]
fn a_cookie_leads_clients_back_to_their_node() {
    let named = |name: &'static str| Upstream::start(move |_| answer("200 OK", &[], name));
    let upstreams = ["a", "b", "c"].map(named);
    let nodes: String = upstreams.iter().map(node).collect();
    let server = proxy(
        &format!(".balancer = \"roundRobin\" {nodes}"),
        ".stickyCookie = \"node\"  .stickySecret = \"s\"",
    );
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let first = server.get("/");
        let cookie = first.header("set-cookie").unwrap().to_owned();
        assert!(cookie.contains("HttpOnly") && cookie.contains("Path=/"), "{cookie}");
        let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
        for _ in 0..4 {
            let again = server.ask("GET", "/", &[&cookie]);
            assert_eq!(again.text(), first.text());
            assert_eq!(again.header("set-cookie"), None);
        }
        seen.insert(first.text());
    }
    assert_eq!(seen.len(), 3);
    // A cookie that means no node is replaced.
    assert!(server.ask("GET", "/", &["Cookie: node=forged"]).header("set-cookie").is_some());
}

#[test]
fn content_that_is_waited_for_is_not_longer_than_allowed() {
    let server = site_on(
        1,
        "scgiBackend \"b\" { node { .address = \"127.0.0.1:1\" } }",
        "rule { scgiProxy { .toBackend = \"b\"  .maxBuffered = 1K } }",
    );
    for (length, status) in [(1024, 502), (1025, 413)] {
        let mut client = server.connect();
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        client.send(format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length))).unwrap();
        assert_eq!(client.read_response().unwrap().status, status, "{length}");
    }
}
