//! Stages that follow each other, and the end, as clients see them.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use hemi_test::raw::Client;
use hemi_test::{TempDir, eventually};

use crate::site::{PATIENCE, Site, ask, config};

/// Clients that ask without a pause, each answer in its turn.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

/// What a client does with its connection after an answer.
#[derive(Clone, Copy)]
enum Habit {
    KeepAlive,
    OnePerConnection,
}

impl Load {
    fn on(addr: SocketAddr, habits: &[Habit]) -> Self {
        let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let spawn = |habit: &Habit| {
            let (stop, answers, habit) = (stop.clone(), answers.clone(), *habit);
            thread::spawn(move || {
                let mut client = None;
                while !stop.load(Ordering::Relaxed) {
                    let conn = client.get_or_insert_with(|| Client::connect(addr).unwrap());
                    let path = ["/now", "/wait/1", "/stream/2/3"]
                        [answers.load(Ordering::Relaxed) as usize % 3];
                    let connection = match habit {
                        Habit::KeepAlive => "keep-alive",
                        Habit::OnePerConnection => "close",
                    };
                    conn.send(format!(
                        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: {connection}\r\n\r\n"
                    ))
                    .unwrap();
                    // A connection that ends without an answer fails the test here.
                    let reply = conn.read_response().unwrap();
                    assert_eq!(reply.status, 200);
                    if reply.header("connection") == Some("close") {
                        conn.expect_close().unwrap();
                        client = None;
                    }
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let clients = habits.iter().map(spawn).collect();
        Self { stop, answers, clients }
    }

    /// Waits until this many more answers have come.
    fn go_on_for(&self, answers: u64) {
        let goal = self.answers.load(Ordering::Relaxed) + answers;
        let done = eventually(PATIENCE, || self.answers.load(Ordering::Relaxed) >= goal);
        assert!(done, "no more answers");
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
    }
}

#[test]
fn no_request_is_lost_when_stages_change_under_load() {
    use Habit::{KeepAlive, OnePerConnection};
    let mut site = Site::with("");
    let load = Load::on(
        site.addr(),
        &[KeepAlive, KeepAlive, KeepAlive, OnePerConnection, OnePerConnection],
    );
    for round in 0..20 {
        load.go_on_for(50);
        site.load(&config("127.0.0.1:0", &format!(".maxFields = {}", 100 + round))).unwrap();
    }
    load.go_on_for(50);
    load.end();
    site.quit();
}

#[test]
fn a_stage_that_is_refused_leaves_the_one_before_it_serving() {
    let mut site = Site::with("");
    let addr = site.addr();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let mut client = site.connect();
    let unknown = config("127.0.0.1:0", ".colour = 1");
    let other = config(&taken, "");
    let both = format!(
        "{} \n httpxServer \"two\" {{ .address = \"{taken}\" .webapps = (\"probe\") }} }}",
        config("127.0.0.1:0", "").trim_end().trim_end_matches('}')
    );
    #[rustfmt::skip]
    let bad = [
        ("stage {", "test:1:"),
        (unknown.as_str(), "colour"),
        (other.as_str(), "cannot listen on"),
        (both.as_str(), "cannot listen on"),
        ("stage { webapp \"w\" { .hostnames = (\"*\") rule { breaks { .when = \"created\" } } } httpxServer \"main\" { .address = \"127.0.0.1:0\" .webapps = (\"w\") } }", "broken when created"),
        ("stage { webapp \"w\" { .hostnames = (\"*\") rule { breaks { .when = \"prepared\" } } } httpxServer \"main\" { .address = \"127.0.0.1:0\" .webapps = (\"w\") } }", "broken when prepared"),
    ];
    for (config, why) in bad {
        let error = site.load(config).unwrap_err();
        assert!(error.contains(why), "{why}: {error}");
        assert_eq!(ask(&mut client, "GET", "/now").1, "now", "{why}");
        assert_eq!(site.addr(), addr, "{why}");
        site.expect_alive();
    }
}

#[test]
fn an_idle_connection_hears_with_its_next_answer_that_it_is_the_last() {
    let mut site = Site::with("");
    let mut idle = site.connect();
    assert_eq!(ask(&mut idle, "GET", "/now").1, "now");
    let mut begun = site.connect();
    begun.send("GET /now HTTP/1.1\r\nhost: x\r\n").unwrap();
    site.expect_alive();
    site.load(&config("127.0.0.1:0", "")).unwrap();
    let last = eventually(PATIENCE, || {
        idle.send("GET /now HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        idle.read_response().unwrap().header("connection") == Some("close")
    });
    assert!(last);
    idle.expect_close().unwrap();
    begun.send("\r\n").unwrap();
    assert_eq!(begun.read_response().unwrap().header("connection"), Some("close"));
    begun.expect_close().unwrap();
    // Who has nothing to say is closed after a while, and no limit is blamed.
    let mut silent = site.connect().with_timeout(PATIENCE);
    assert_eq!(ask(&mut silent, "GET", "/now").1, "now");
    site.load(&config("127.0.0.1:0", "")).unwrap();
    silent.expect_close().unwrap();
    assert_eq!(site.counter("idle_timeout"), 0);
}

#[test]
fn counters_outlive_a_change_of_stages() {
    let mut site = Site::with(".maxFields = 50");
    site.expect_alive();
    site.load(&config("127.0.0.1:0", ".maxFields = 60")).unwrap();
    site.expect_alive();
    assert_eq!((site.counter("requests"), site.counter("conns_accepted")), (2, 2));
}

#[test]
fn what_is_under_way_ends_before_the_program_does() {
    let site = Site::with("");
    let mut clients = ["/wait/700", "/now/streamed"].map(|path| {
        let mut client = site.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
        client
    });
    let mut uploading = site.connect();
    uploading.send("POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc").unwrap();
    site.expect_counter("requests", 3);
    let addr = site.addr();
    let quitting = thread::spawn(move || site.quit());
    assert!(eventually(PATIENCE, || Client::connect(addr).is_err()));
    uploading.send("def").unwrap();
    assert_eq!(uploading.read_response().unwrap().text(), "6 bytes");
    for client in &mut clients {
        assert_eq!(client.read_response().unwrap().status, 200);
        client.expect_close().unwrap();
    }
    quitting.join().unwrap();
}

#[test]
fn what_is_not_over_within_the_grace_is_cut() {
    let site = Site::with("").grace(std::time::Duration::from_millis(300));
    let mut client = site.connect().with_timeout(PATIENCE);
    client.send("GET /wait/600000 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    site.expect_counter("requests", 1);
    site.quit();
    client.expect_close().unwrap();
}

#[test]
fn the_end_does_not_wait_for_idle_clients() {
    let site = Site::with(".headTimeout = 10m  .idleTimeout = 10m  .deferAccept = 0s");
    let silent = site.connect();
    let mut idle = site.connect();
    assert_eq!(ask(&mut idle, "GET", "/now").1, "now");
    // Has its last answer, but does not close.
    let mut refused = site.connect();
    refused.send("BAD\r\n\r\n").unwrap();
    assert_eq!(refused.read_response().unwrap().status, 400);
    site.quit();
    for client in [silent, idle, refused] {
        client.with_timeout(PATIENCE).expect_close().unwrap();
    }
}

#[test]
fn a_unix_socket_serves_through_a_change_of_stages() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("web.sock");
    let text = config(&path.display().to_string(), "");
    let mut site = Site::of(&text);
    let mut before = Client::connect_unix(&path).unwrap();
    assert_eq!(ask(&mut before, "GET", "/now").1, "now");
    site.load(&text).unwrap();
    let mut after = Client::connect_unix(&path).unwrap();
    assert_eq!(ask(&mut after, "GET", "/now").1, "now");
    assert_eq!(ask(&mut before, "GET", "/now").1, "now");
    site.quit();
    assert!(!path.exists());
}

#[test]
fn addresses_of_all_forms_are_served() {
    for (address, from) in [
        ("[::1]:0", &["[::1]"][..]),
        (":0", &["[::1]", "127.0.0.1"]),
        ("127.0.0.1:0", &["127.0.0.1"]),
        ("localhost:0", &["127.0.0.1"]),
    ] {
        let site = Site::of(&config(address, ""));
        for host in from {
            let addr: SocketAddr = format!("{host}:{}", site.addr().port()).parse().unwrap();
            let mut client = Client::connect(addr).unwrap();
            assert_eq!(ask(&mut client, "GET", "/now").1, "now", "{address} from {host}");
        }
    }
}
