//! The admin servers, asked through real sockets, with a leader that is made up.

mod browser;
mod doors;
mod fake;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hemi_core::listen::Address;
use hemi_test::raw::Client;
use hemi_test::{Reply, TempDir, peer};
use serde_json::Value;

use super::{Admin, Identity, Places, Site, Token, address};
use crate::control::{Act, Event, What};
use fake::Fake;

const TOKEN: &str = "a token of thirty-two characters";

/// Admin servers under test.
struct Under {
    admin: Admin,
    leader: Arc<Fake>,
    dir: TempDir,
}

impl Under {
    fn new() -> Self {
        Self::by(Fake::new(), None)
    }

    fn by(leader: Fake, identity: Option<Identity>) -> Self {
        let (leader, dir) = (Arc::new(leader), TempDir::new().unwrap());
        // Two addresses, for the same one would be shared.
        let any = |last| Some(SocketAddr::from(([127, 0, 0, last], 0)));
        let socket = Some(dir.path().join("control.sock"));
        let hosts = vec!["admin.test".to_owned()];
        let viewer = Token::new("a token for those who only look").unwrap();
        let token = Token::new(TOKEN).unwrap().viewer(&viewer);
        let site = Site::new("gorox", leader.clone(), token, hosts);
        let admin = Admin::open(
            Arc::new(site),
            identity,
            Places { socket, cmdui: any(1), webui: any(2) },
            vec![],
        )
        .unwrap();
        Self { admin, leader, dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    fn port(&self, name: &str) -> SocketAddr {
        let addresses = self.admin.addresses();
        match addresses.iter().find(|(known, _)| known == name) {
            Some((_, Address::Tcp(address))) => *address,
            other => panic!("{name} is at {other:?}"),
        }
    }

    /// Asks by the socket.
    fn ask(&self, head: &str, content: &str) -> Reply {
        exchange(Client::connect_unix(self.socket()), head, content)
    }

    /// Asks by a port.
    fn ask_at(&self, name: &str, head: &str, content: &str) -> Reply {
        exchange(Client::connect(self.port(name)), head, content)
    }

    /// Asks the pages with a session.
    fn log_in(&self) -> String {
        self.log_in_with(TOKEN)
    }

    fn log_in_with(&self, token: &str) -> String {
        let head = format!("POST /login\norigin: http://localhost\n{FORM}");
        let reply = self.ask_at("webui", &head, &format!("token={}", token.replace(' ', "+")));
        assert_eq!((reply.status, reply.header("location")), (303, Some("/")));
        let cookie = reply.header("set-cookie").unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }
}

const FORM: &str = "content-type: application/x-www-form-urlencoded";
const JSON: &str = "content-type: application/json";

/// `head` is the method and target, then fields, in lines.
fn exchange(client: io::Result<Client>, head: &str, content: &str) -> Reply {
    let mut client = client.unwrap();
    let (target, fields) = head.split_once('\n').unwrap_or((head, ""));
    let mut text = format!("{target} HTTP/1.1\r\ncontent-length: {}\r\n", content.len());
    if !fields.starts_with("host:") && !fields.contains("\nhost:") {
        text += "host: localhost\r\n";
    }
    for field in fields.lines() {
        text += &format!("{field}\r\n");
    }
    client.send(format!("{text}\r\n{content}")).unwrap();
    client.read_response().unwrap()
}

fn json(reply: &Reply) -> Value {
    serde_json::from_str(&reply.text()).unwrap_or_else(|e| panic!("{e}: {}", reply.text()))
}

#[test]
fn addresses_are_local_unless_said_otherwise() {
    for (text, expected) in [
        ("9528", Ok("127.0.0.1:9528")),
        (":9528", Ok("127.0.0.1:9528")),
        ("localhost:1", Ok("127.0.0.1:1")),
        ("0.0.0.0:9528", Ok("0.0.0.0:9528")),
        ("[::1]:9528", Ok("[::1]:9528")),
        ("/run/x.sock", Err(())),
        ("99999", Err(())),
        ("", Err(())),
    ] {
        let read = address(text).map_err(drop);
        assert_eq!(read, expected.map(|address| address.parse().unwrap()), "{text}");
    }
}

#[test]
fn the_socket_is_of_one_user_and_tells_all() {
    let under = Under::new();
    assert_eq!(std::fs::metadata(under.socket()).unwrap().mode() & 0o777, 0o600);
    let status = json(&under.ask("GET /v1/status", ""));
    assert_eq!((&status["program"], &status["worker"]["pid"]), (&"gorox".into(), &1001.into()));
    assert_eq!(status["worker"]["report"]["engine"]["stages"][0]["id"], 3);
    let pids = json(&under.ask("GET /v1/pids", ""));
    assert_eq!(pids, serde_json::json!({"leader": 1000, "worker": 1001, "retiring": [999]}));
    let config = json(&under.ask("GET /v1/config", ""));
    assert_eq!((&config["source"], &config["refused"]), (&"conf/gorox.conf".into(), &Value::Null));
    // Whoever can open the socket may call it what they like.
    assert_eq!(under.ask("GET /v1/pids\nhost: whatever", "").status, 200);
    let metrics = under.ask("GET /metrics", "").text();
    for line in [
        "hemi_program_info{name=\"gorox\",version=\"0.1.0\"} 1",
        "hemi_leader_workers{state=\"draining\"} 1",
        "hemi_leader_worker_restarts_total{reason=\"signal\"} 2",
        "hemi_config_last_load_success 1",
        "hemi_server_requests_total{server=\"main\"} 1234567",
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line}\n{metrics}");
    }
    let Some(promtool) = peer("promtool") else { return };
    let file = under.dir.write("metrics", &metrics).unwrap();
    let check = format!("exec {} check metrics < {}", promtool.display(), file.display());
    assert!(Command::new("sh").args(["-c", &check]).status().unwrap().success());
}

#[test]
fn strangers_are_cut_off_whatever_the_permission_bits_say() {
    let root = rustix::process::geteuid().is_root();
    let (Some(curl), true) = (peer("curl"), root) else { return };
    let under = Under::new();
    for (path, mode) in [(under.dir.path().to_owned(), 0o755), (under.socket(), 0o666)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let ask = |user: u32| {
        let mut command = Command::new(&curl);
        command.args(["-s", "http://x/v1/pids", "--unix-socket"]).arg(under.socket()).uid(user);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(ask(65_534), "");
    assert!(ask(0).contains("leader"));
}

#[test]
fn commands_are_json() {
    let under = Under::new();
    assert_eq!(under.ask("POST /v1/reload", "").status, 415);
    assert_eq!(under.ask(&format!("POST /v1/reload\n{FORM}"), "").status, 415);
    assert_eq!(under.leader.acts(), []);
    let done = under.ask(&format!("POST /v1/reload\n{JSON}"), "");
    assert_eq!((done.status, &json(&done)["message"]), (200, &"done".into()));
    let binary = Some("/bin/new".into());
    let upgrade = under.ask(&format!("POST /v1/upgrade\n{JSON}"), r#"{"binary": "/bin/new"}"#);
    assert_eq!(upgrade.status, 200);
    assert_eq!(under.leader.acts(), [Act::Reload, Act::Upgrade { binary }]);
    for (path, content, status) in [
        ("/v1/nothing", "{}", 404),
        ("/v1/upgrade", r#"{"binary": 7}"#, 422),
        ("/v1/reload", "[]", 400),
        ("/v1/reload", "{", 400),
        ("/v1/reload", &*format!("\"{}\"", "x".repeat(100_000)), 413),
    ] {
        let reply = under.ask(&format!("POST {path}\n{JSON}"), content);
        assert_eq!(reply.status, status, "{path} {:.99}", reply.text());
    }
    assert_eq!(under.ask("GET /v1/reload", "").status, 405);
    assert_eq!(under.ask("GET /v1/status/../../etc", "").status, 404);
}

#[test]
fn what_is_refused_is_told_with_its_places() {
    let under = Under::new();
    under.leader.refuse();
    let reply = under.ask(&format!("POST /v1/reload\n{JSON}"), "");
    assert_eq!(reply.status, 409);
    let mistake = &json(&reply)["mistakes"][0];
    assert_eq!((&mistake["file"], &mistake["line"]), (&"conf/gorox.conf".into(), &7.into()));
    assert!(json(&reply)["message"].as_str().unwrap().contains("unknown property"));
}

#[test]
fn who_comes_by_a_port_shows_the_token_and_asks_by_a_known_name() {
    let under = Under::new();
    let bearer = format!("authorization: Bearer {TOKEN}");
    for name in ["cmdui", "webui"] {
        let status =
            |fields: &str| under.ask_at(name, &format!("GET /v1/pids\n{fields}"), "").status;
        assert_eq!(status(""), 401, "{name}");
        assert_eq!(status("authorization: Bearer nonsense"), 401, "{name}");
        assert_eq!(status(&format!("authorization: Basic {TOKEN}")), 401, "{name}");
        assert_eq!(status(&bearer), 200, "{name}");
        for (host, expected) in [
            ("localhost:9528", 200),
            ("127.0.0.1", 200),
            ("[::1]:1", 200),
            ("admin.test", 200),
            ("evil.test", 421),
            ("127.0.0.1.evil.test", 421),
            ("localhost.evil.test:9528", 421),
        ] {
            assert_eq!(status(&format!("host: {host}\n{bearer}")), expected, "{name} {host}");
        }
        for (origin, expected) in [
            ("origin: http://localhost", 200),
            ("origin: http://localhost:1", 403),
            ("origin: https://localhost", 403),
            ("origin: null", 403),
            ("origin: http://evil.test", 403),
        ] {
            assert_eq!(status(&format!("{origin}\n{bearer}")), expected, "{name} {origin}");
        }
    }
    let reply = under.ask_at("cmdui", "OPTIONS /v1/reload\norigin: http://evil.test", "");
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (403, None));
    assert_eq!(under.ask_at("cmdui", &format!("POST /v1/quit\n{bearer}"), "").status, 415);
    assert_eq!(under.leader.acts(), []);
}

#[test]
fn pages_are_shown_after_logging_in_and_commands_come_from_them_only() {
    let under = Under::new();
    let get =
        |path: &str, fields: &str| under.ask_at("webui", &format!("GET {path}\n{fields}"), "");
    assert_eq!((get("/", "").status, get("/", "").header("location")), (303, Some("/login")));
    assert_eq!((get("/live", "").status, get("/v1/status", "").status), (401, 401));
    assert_eq!(get("/login", "").status, 200);
    let wrong = under.ask_at("webui", &format!("POST /login\n{FORM}"), "token=wrong");
    assert_eq!((wrong.status, wrong.header("set-cookie")), (403, None));

    let cookie = format!("cookie: {}", under.log_in());
    let page = get("/", &cookie);
    assert_eq!((page.status, page.header("cache-control")), (200, Some("no-store")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    let text = page.text();
    for shown in ["1001", "127.0.0.1:3080", "1,234,567", "&#60;b&#62; is slow", "draining", "<svg"]
    {
        assert!(text.contains(shown), "{shown}\n{text}");
    }
    let router = "<td>dns</td><td><code>127.0.0.1:5353</code></td><td class=\"n\">77</td>";
    assert!(text.contains(router), "{text}");
    assert!(get("/config", &cookie).text().contains("is served"));
    assert!(get("/", "cookie: gorox-session=1.2").header("location").is_some());

    let press = |fields: &str| {
        under
            .ask_at("webui", &format!("POST /act\n{FORM}\n{cookie}\n{fields}"), "act=reload")
            .status
    };
    assert_eq!(press(""), 403);
    assert_eq!(press("origin: http://evil.test"), 403);
    assert_eq!(press("sec-fetch-site: cross-site"), 403);
    assert_eq!(under.leader.acts(), []);
    assert_eq!(press("origin: http://localhost"), 303);
    assert_eq!(press("sec-fetch-site: same-origin"), 303);
    assert_eq!(under.leader.acts(), [Act::Reload, Act::Reload]);
    assert!(get("/", &cookie).text().contains("<b>Reload</b>: done"));
    under.leader.refuse();
    assert_eq!(press("origin: http://localhost"), 303);
    assert!(get("/", &cookie).text().contains("was refused"));

    under.leader.tell(Event::now(What::Failed, "worker <1001> was lost"));
    let told = || get("/", &cookie).text().contains("worker &#60;1001&#62; was lost");
    assert!(hemi_test::eventually(Duration::from_secs(20), told));
}

#[test]
fn watchers_see_what_happens() {
    let under = Under::new();
    let mut client = Client::connect_unix(under.socket()).unwrap();
    client.send("GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let head = client.read_response_to_head().unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let mut seen = String::new();
    let mut read_until = |text: &str| {
        while !seen.contains(text) {
            seen += &String::from_utf8_lossy(&client.read_some().unwrap());
        }
    };
    read_until("event: status\n");
    under.leader.tell(Event::now(What::Failed, "worker 1001 has ended"));
    read_until("event: event\n");
    read_until("event: status\n");
    let status = under.ask("GET /v1/status", "");
    assert_eq!(status.status, 200);
}

#[test]
fn the_slow_the_many_and_the_mad_harm_nobody() {
    let under = Under::new();
    let silent: Vec<_> = (0..60).map(|_| Client::connect(under.port("cmdui")).unwrap()).collect();
    let mute: Vec<_> = (0..60).map(|_| Client::connect_unix(under.socket()).unwrap()).collect();
    let mut slow = Client::connect(under.port("webui")).unwrap();
    slow.send("GET /login HTTP/1.1\r\nhost: loc").unwrap();
    // A megabyte of what looks like chance.
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = std::iter::repeat_with(|| {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word as u8
    });
    let noise: Vec<u8> = noise.take(1 << 20).collect();
    for name in ["cmdui", "webui"] {
        let mut mad = Client::connect(under.port(name)).unwrap();
        // It may be cut off before all is said.
        let _ = mad.send(&noise);
    }
    let _ = Client::connect_unix(under.socket()).unwrap().send(&noise);
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(under.ask("GET /v1/status", "").status, 200);
                }
            });
        }
    });
    // However many ask, the leader is asked twice a second.
    assert!(under.leader.asked() < 100, "{}", under.leader.asked());
    drop((silent, mute, slow));
}

#[test]
fn the_servers_move_while_others_go_on() {
    let mut under = Under::new();
    let (socket, old) = (under.socket(), under.port("webui"));
    let mut kept = Client::connect_unix(&socket).unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let places = under.admin.places().clone();
    let taken = Places { cmdui: Some(other.local_addr().unwrap()), ..places.clone() };
    assert!(under.admin.place(taken).is_err());
    assert_eq!((under.admin.places(), under.port("webui")), (&places, old));
    drop(other);
    let moved = under.dir.path().join("moved.sock");
    under.admin.place(Places { socket: Some(moved.clone()), cmdui: None, webui: None }).unwrap();
    assert_eq!(exchange(Client::connect_unix(&moved), "GET /v1/pids", "").status, 200);
    let gone = || Client::connect(old).is_err() && !socket.exists();
    assert!(hemi_test::eventually(Duration::from_secs(20), gone));
    kept.send("GET /v1/pids HTTP/1.1\r\nhost: x\r\n\r\n").ok();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(under.admin.quit());
    assert!(!moved.exists());
}

#[test]
fn curl_speaks_to_the_socket() {
    let Some(curl) = peer("curl") else { return };
    let under = Under::new();
    let run = |args: &[&str]| {
        let mut command = Command::new(&curl);
        command.args(["-s", "--fail-with-body", "--unix-socket"]).arg(under.socket()).args(args);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(run(&["http://gorox/v1/pids"]).contains("\"leader\":1000"));
    let done = run(&["http://gorox/v1/reload", "--json", "{}"]);
    assert_eq!(done, r#"{"message":"done"}"#);
    assert_eq!(under.leader.acts(), [Act::Reload]);
}
