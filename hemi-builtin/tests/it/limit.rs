//! The handlet `limit`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use hemi_test::raw::Client;
use hemi_test::{Reply, Site, TempDir, eventually, poll};

use crate::redis::RedisServer;
use crate::server::{Running, ask, load, mistake, site};

const SOON: Duration = Duration::from_secs(20);
const ANSWER: &str = "rule { .returnCode = 204 }";

fn limited(properties: &str) -> Running {
    site("", &format!("rule {{ limit {{ {properties} }} }} {ANSWER}"))
}

/// The statuses that so many requests get, one after the other.
fn statuses(server: &Running, count: usize) -> Vec<u16> {
    (0..count).map(|_| server.get("/").status).collect()
}

/// A number in a field such as `"default";q=2;w=3600`.
fn number(reply: &Reply, field: &str, parameter: &str) -> u64 {
    let value = reply.header(field).unwrap_or_else(|| panic!("no {field}: {reply:?}"));
    let mut parts = value.split(';').filter_map(|part| part.split_once('='));
    let found = parts.find(|(name, _)| *name == parameter).and_then(|(_, text)| text.parse().ok());
    found.unwrap_or_else(|| panic!("{field} has no {parameter}: {value}"))
}

#[test]
fn so_many_requests_pass_and_the_fields_tell() {
    let server = limited(".rate = 2  .per = 1h");
    for (status, left) in [(204, 1), (204, 0), (429, 0), (429, 0)] {
        let reply = server.get("/");
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("ratelimit-policy"), Some("\"default\";q=2;w=3600"));
        assert_eq!(number(&reply, "ratelimit", "r"), left);
        // Half of the time, but for what has gone by since.
        let soon = 1500..=1800;
        assert!(soon.contains(&number(&reply, "ratelimit", "t")));
        let retry_after = reply.header("retry-after").map(|after| after.parse().unwrap());
        assert_eq!(retry_after.is_some_and(|after| soon.contains(&after)), status == 429);
    }
}

#[test]
fn a_burst_is_as_large_as_it_may_be() {
    assert_eq!(
        statuses(&limited(".rate = 1  .per = 1h  .burst = 3"), 5),
        [204, 204, 204, 429, 429]
    );
    assert_eq!(statuses(&limited(".rate = 3  .per = 1h  .burst = 1"), 3), [204, 429, 429]);
    assert_eq!(statuses(&limited(".rate = 1  .per = 1h  .status = 503"), 2), [204, 503]);
    // There is room again in time.
    let server = limited(".rate = 20  .per = 1s  .burst = 1");
    assert!(eventually(SOON, || server.get("/").status == 429));
    assert!(eventually(SOON, || server.get("/").status == 204));
}

#[test]
fn requests_are_counted_by_their_key() {
    let server = limited(".rate = 1  .per = 1h");
    for (from, status) in [(1, 204), (1, 429), (2, 204), (2, 429), (1, 429)] {
        let from = IpAddr::from([127, 0, 0, from]);
        let mut client = Client::connect_from(from, server.addr()).unwrap();
        assert_eq!(ask(&mut client, "GET", "/", &[]).unwrap().status, status);
    }
    let server = limited(".rate = 1  .per = 1h  .key = $query_a + $header_b");
    for (query, line, status) in [
        ("x", "B: y", 204),
        ("xy", "C:", 429),
        ("xz", "C:", 204),
        // Nobody to count for.
        ("", "C:", 204),
        ("", "C:", 204),
        ("", "B:", 204),
        ("%0d%0a", "C:", 204),
        ("%0D%0A", "C:", 429),
    ] {
        let reply = server.ask("GET", &format!("/?a={query}"), &[line]);
        assert_eq!(reply.status, status, "{query} {line}");
    }
}

#[test]
fn no_more_keys_are_kept_than_there_may_be() {
    let server = limited(".rate = 1  .per = 1h  .maxKeys = 2  .key = $query_a");
    let status = |key: &str| server.get(&format!("/?a={key}")).status;
    assert_eq!([status("a"), status("a"), status("b"), status("b")], [204, 429, 204, 429]);
    // In the place of the one that was there longest.
    assert_eq!([status("c"), status("a")], [204, 204]);
}

#[test]
fn limits_add_up() {
    let server = site(
        "",
        &format!(
            r#"rule {{ limit "a" {{ .rate = 5  .per = 1h }} limit "b" {{ .rate = 3  .per = 1h }} }} {ANSWER}"#
        ),
    );
    let reply = server.get("/");
    let policies: Vec<&str> = reply.header_values("ratelimit-policy").collect();
    assert_eq!(policies, ["\"a\";q=5;w=3600", "\"b\";q=3;w=3600"]);
    let lefts = reply.header_values("ratelimit").map(|left| left.split(";t").next().unwrap());
    assert_eq!(lefts.collect::<Vec<_>>(), ["\"a\";r=4", "\"b\";r=2"]);
    assert_eq!(statuses(&server, 3), [204, 204, 429]);
}

#[test]
fn those_who_come_too_early_can_wait_for_their_turn() {
    let server = limited(".rate = 100  .per = 1s  .burst = 1  .delay = 1h");
    assert_eq!(statuses(&server, 10), [204; 10]);
}

#[test]
fn no_more_wait_than_may() {
    let server = limited(".rate = 1  .per = 1h  .delay = 3h  .maxDelayed = 1");
    let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    let mut answered = Vec::new();
    assert!(eventually(SOON, || {
        for client in clients.extract_if(.., |client| client.wait(Duration::from_millis(1))) {
            answered.push(client);
        }
        answered.len() == 2
    }));
    let mut statuses: Vec<u16> =
        answered.iter_mut().map(|client| client.read_response().unwrap().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 429]);
    // The third one waits, and would for an hour.
    assert!(!clients.pop().unwrap().wait(Duration::from_millis(1)));
}

#[test]
fn no_more_requests_are_under_way_than_may() {
    let files = Site::new().unwrap().sparse_file("big.bin", 1 << 30).unwrap();
    let rules = format!(
        ".webRoot = \"{}\"  rule {{ limit {{ .concurrent = 1  .status = 503 }} }}
        rule $path -f {{ static {{}} }} {ANSWER}",
        files.root().display()
    );
    let server = site("", &rules);
    // One after the other they pass.
    assert_eq!(statuses(&server, 3), [204; 3]);
    let mut slow = server.connect();
    slow.send("GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    // Its answer has begun, and does not end.
    assert!(!slow.read_some().unwrap().is_empty());
    let reply = server.get("/");
    let fields = ["retry-after", "ratelimit"].map(|field| reply.header(field));
    assert_eq!((reply.status, fields), (503, [Some("1"), None]));
    // Who gives up makes room.
    slow.reset().unwrap();
    assert!(eventually(SOON, || server.get("/").status == 204));
}

#[test]
fn a_dry_run_refuses_nothing() {
    let server = limited(".rate = 1  .per = 1h  .delay = 1h  .concurrent = 1  .dryRun = true");
    assert_eq!(statuses(&server, 3), [204; 3]);
    assert_eq!(server.get("/").header("ratelimit"), None);
    let server = limited(".rate = 1  .per = 1h  .fields = false");
    let reply = server.get("/");
    assert_eq!(
        (reply.status, reply.header("ratelimit"), reply.header("ratelimit-policy")),
        (204, None, None)
    );
}

#[test]
fn counts_outlive_a_reload_as_long_as_the_limit_stays() {
    let config = |rate: u32, text: &str| {
        format!(
            r#"stage {{
                webapp "w" {{
                    .hostnames = ("*")
                    rule $path == "/stage" {{ .returnCode = 200  .returnText = "{text}" }}
                    rule {{ limit "a" {{ .rate = {rate}  .per = 1h }} }}
                    {ANSWER}
                }}
                httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("w") }}
            }}"#
        )
    };
    let mut server = load(1, &config(2, "first")).unwrap();
    assert_eq!(statuses(&server, 1), [204]);
    for (rate, stage, expected) in [(2, "second", [204, 429]), (3, "third", [204, 204])] {
        server.reload(&config(rate, stage));
        // The stage before may still take a connection; one belongs to one stage.
        let mut client = poll(SOON, || {
            let mut client = server.connect();
            let found = ask(&mut client, "GET", "/stage", &[]).unwrap().text() == stage;
            found.then_some(client)
        })
        .unwrap();
        let found = [1, 2].map(|_| ask(&mut client, "GET", "/", &[]).unwrap().status);
        assert_eq!(found, expected, "{stage}");
    }
}

#[test]
fn bad_properties_are_mistakes() {
    for (properties, message) in [
        ("", "`limit` limits nothing"),
        (".burst = 3", "`limit` limits nothing"),
        (".rate = 0", "nonzero"),
        (".rate = 1  .per = 0s", "make no sense together"),
        (".rate = 1  .status = 200", "200 refuses nothing"),
        (".rate = 1  .maxKeys = 0", "nonzero"),
        (r#".rate = 1  .store = "redis://127.0.0.1""#, "needs a name"),
        (r#".rate = 1  .store = "http://127.0.0.1""#, "is not where a Redis is"),
        (r#".rate = 1  .onStoreFailure = "maybe""#, "\"maybe\" is not known here"),
    ] {
        let error = mistake("", &format!("rule {{ limit {{ {properties} }} }}"));
        assert!(error.contains(message), "{properties}: {error}");
    }
}

/// An instance that counts at this place, together with others.
fn sharing(store: &str, properties: &str) -> Running {
    let limit = format!(r#"limit "shared" {{ .store = "{store}"  {properties} }}"#);
    site("", &format!("rule {{ {limit} }} {ANSWER}"))
}

#[test]
fn instances_share_their_counts() {
    let Some(redis) = RedisServer::start() else { return };
    let instances = [1, 2].map(|_| {
        sharing(&redis.url(), ".rate = 10  .per = 1h  .storeTimeout = 10s  .key = $query_a")
    });
    for key in ["x", "y", &"long".repeat(200), &"long".repeat(201)] {
        let mut counts = HashMap::new();
        for round in 0..20 {
            let reply = instances[round % 2].get(&format!("/?a={key}"));
            *counts.entry(reply.status).or_insert(0) += 1;
            assert_eq!(reply.header("ratelimit-policy"), Some("\"shared\";q=10;w=3600"));
            let left = 9u64.saturating_sub(round as u64);
            assert_eq!(number(&reply, "ratelimit", "r"), left);
            let soon = 200..=360;
            assert!(soon.contains(&number(&reply, "ratelimit", "t")), "{reply:?}");
        }
        assert_eq!(counts, HashMap::from([(204, 10), (429, 10)]));
    }
    // Those who may wait get their turn there too.
    let patient =
        sharing(&redis.url(), ".rate = 100  .burst = 1  .delay = 1h  .storeTimeout = 10s");
    assert_eq!(statuses(&patient, 10), [204; 10]);
}

#[test]
fn without_the_store_requests_pass_or_not() {
    let dir = TempDir::new().unwrap();
    let nobody = dir.path().join("nobody.sock");
    let silent = dir.path().join("silent.sock");
    let _silent = UnixListener::bind(&silent).unwrap();
    for socket in [nobody, silent] {
        let store = format!("unix://{}", socket.display());
        let open = sharing(&store, ".rate = 1  .per = 1h");
        assert_eq!(statuses(&open, 3), [204; 3]);
        let closed = sharing(&store, ".rate = 1  .per = 1h  .onStoreFailure = \"deny\"");
        let reply = closed.get("/");
        assert_eq!((reply.status, reply.header("retry-after")), (429, Some("1")));
    }
}

#[test]
fn a_store_that_comes_back_is_found_again() {
    let Some(mut redis) = RedisServer::start() else { return };
    let server = sharing(&redis.url(), ".rate = 2  .per = 1h  .storeTimeout = 10s  .status = 503");
    assert_eq!(statuses(&server, 3), [204, 204, 503]);
    redis.stop();
    assert!(eventually(SOON, || server.get("/").status == 204));
    redis.restart();
    // It has forgotten all, and counts anew.
    assert!(eventually(SOON, || server.get("/").status == 503));
}
