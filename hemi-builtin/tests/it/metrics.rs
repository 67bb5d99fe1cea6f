//! The handlets `metrics`, `health` and `ready`.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use hemi_core::metrics::{Exposition, Measures};
use hemi_test::raw::Client;
use hemi_test::{eventually, peer};

use crate::server::{Running, ask, site_on};

const SOON: Duration = Duration::from_secs(20);

const RULES: &str = r#"
    rule $path == "/metrics" { metrics {} }
    rule "a \"rule\"" $path == "/named" { .returnCode = 200  .returnText = "12345" }
    rule $path == "/gone" { .returnCode = 410  .returnText = "gone" }
"#;

fn metered() -> Running {
    site_on(2, "", RULES)
}

/// The value of a series, as it stands before it.
#[track_caller]
fn value(text: &str, series: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series} in\n{text}"))
}

fn metrics(server: &Running) -> String {
    server.get("/metrics").text()
}

#[test]
fn requests_are_counted_by_their_rules() {
    let mut server = metered();
    let mut client = server.connect();
    for (method, target) in [
        ("GET", "/named"),
        ("HEAD", "/named"),
        ("GET", "/gone"),
        ("GET", "/gone"),
        ("GET", "/none"),
    ] {
        ask(&mut client, method, target, &[]).unwrap();
    }
    client
        .send("POST /named HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\ncontent")
        .and_then(|()| client.read_response())
        .unwrap();
    drop(client);
    for stage in [1.0, 2.0] {
        let mut text = String::new();
        // Who waited to be accepted may still be served by the stage before.
        assert!(eventually(SOON, || {
            text = metrics(&server);
            value(&text, "hemi_stage") == stage
        }));
        let named = r#"webapp="site",rule="a \"rule\"""#;
        let of = |series: &str| value(&text, series);
        assert_eq!(of(&format!("hemi_webapp_requests_total{{{named},status=\"2xx\"}}")), 3.0);
        assert_eq!(of(&format!("hemi_webapp_requests_total{{{named},status=\"4xx\"}}")), 0.0);
        assert_eq!(of(r#"hemi_webapp_requests_total{webapp="site",rule="2",status="4xx"}"#), 2.0);
        assert_eq!(of(r#"hemi_webapp_requests_total{webapp="site",rule="",status="4xx"}"#), 1.0);
        assert_eq!(of(&format!("hemi_webapp_sent_bytes_total{{{named}}}")), 10.0);
        assert_eq!(of(&format!("hemi_webapp_received_bytes_total{{{named}}}")), 7.0);
        assert_eq!(of(&format!("hemi_webapp_request_seconds_count{{{named}}}")), 3.0);
        assert_eq!(of(&format!("hemi_webapp_request_seconds_bucket{{{named},le=\"+Inf\"}}")), 3.0);
        assert!(of(&format!("hemi_webapp_request_seconds_sum{{{named}}}")) < 3600.0);
        assert!(of(r#"hemi_server_requests_total{server="main"}"#) >= 6.0 + stage);
        assert!(of(r#"hemi_server_conns_accepted_total{server="main"}"#) >= 2.0);
        assert_eq!(of(r#"hemi_server_limit_hits_total{server="main",limit="bad_head"}"#), 0.0);
        assert!(of("process_open_fds") > 0.0);
        // Counters outlive a reload.
        server.reload(&format!(
            r#"stage {{
                webapp "site" {{ .hostnames = ("*")  {RULES}  rule "more" {{ .returnCode = 204 }} }}
                httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("site") }}
            }}"#
        ));
    }
}

#[test]
fn nobody_counts_what_nobody_collects() {
    let server = site_on(2, "", "rule { .returnCode = 200 }");
    server.get("/");
    let text = Measures::of(server.stage()).write(Exposition::Prometheus);
    assert_eq!(value(&text, r#"hemi_server_requests_total{server="main"}"#), 1.0);
    assert!(!text.contains("hemi_webapp_requests"), "{text}");
}

#[test]
fn the_format_is_the_one_that_is_asked_for() {
    let server = metered();
    let prometheus = "text/plain; version=0.0.4; charset=utf-8";
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    for (accept, media_type) in [
        ("*/*", prometheus),
        // What Prometheus sends.
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            open,
        ),
        ("application/openmetrics-text;q=0.2, text/plain", prometheus),
        ("application/openmetrics-text;q=0", prometheus),
    ] {
        let reply = server.ask("GET", "/metrics", &[&format!("accept: {accept}")]);
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some(media_type)),
            "{accept}"
        );
        let text = reply.text();
        assert_eq!(text.ends_with("# EOF\n"), media_type == open, "{text}");
        assert_eq!(text.contains("# TYPE hemi_server_requests counter\n"), media_type == open);
        assert_eq!(
            text.contains("# TYPE hemi_server_requests_total counter\n"),
            media_type != open
        );
    }
    assert_eq!(server.ask("POST", "/metrics", &["content-length: 0"]).status, 405);
    assert_eq!(server.ask("HEAD", "/metrics", &[]).status, 200);
}

#[test]
fn lines_that_were_dropped_are_told() {
    let logger = r#"simpleLogger "log" { .target = "/dev/full"  .delay = 1ms }"#;
    let server = site_on(1, logger, &format!(".useLogger = \"log\"  {RULES}"));
    server.get("/named");
    let dropped = r#"hemi_logger_lines_dropped_total{logger="log"}"#;
    assert!(eventually(SOON, || value(&metrics(&server), dropped) > 0.0));
    let failures = r#"hemi_logger_failures_total{logger="log"}"#;
    assert!(value(&metrics(&server), failures) > 0.0);
}

#[test]
fn promtool_finds_nothing_to_complain_of() {
    let Some(promtool) = peer("promtool") else { return };
    let server = metered();
    server.get("/named");
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(metrics(&server).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && told.is_empty(), "{told}");
}

#[test]
fn a_program_is_alive_and_ready_until_it_ends() {
    let rules = r#"rule $path == "/health" { health {} }  rule $path == "/ready" { ready {} }"#;
    let mut server = site_on(1, "", rules);
    for (path, word) in [("/health", "ok"), ("/ready", "ready")] {
        let reply = server.get(path);
        assert_eq!((reply.status, reply.text()), (200, format!("{word}\n")));
        let reply = server.ask("GET", path, &["accept: application/json"]);
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!((reply.status, reply.text()), (200, format!("{{\"status\":\"{word}\"}}\n")));
        assert_eq!(server.ask("DELETE", path, &[]).status, 405);
    }
    // Requests that have begun when their stage ends.
    let begin = |server: &Running, path: &str| {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\n")).unwrap();
        client
    };
    let end = |mut client: Client| {
        client.send("host: x\r\n\r\n").unwrap();
        let reply = client.read_response().unwrap();
        (reply.status, reply.text())
    };
    let replaced = begin(&server, "/ready");
    let addr = server.addr();
    server.reload(&format!(
        r#"stage {{
            webapp "site" {{ .hostnames = ("*")  {rules} }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("site") }}
        }}"#
    ));
    assert_eq!(end(replaced), (200, "ready\n".to_owned()));
    let (alive, ready) = (begin(&server, "/health"), begin(&server, "/ready"));
    thread::scope(|scope| {
        scope.spawn(|| server.quit());
        assert!(eventually(SOON, || Client::connect(addr).is_err()));
        assert_eq!(end(alive), (200, "ok\n".to_owned()));
        assert_eq!(end(ready), (503, "draining\n".to_owned()));
    });
}
