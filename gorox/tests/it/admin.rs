//! The control API and the admin pages of a program that serves, as operators and strangers find them.

use std::path::PathBuf;

use hemi_test::raw::Client;
use hemi_test::{Reply, Signal, eventually};
use serde_json::Value;

use crate::pong::PATIENCE;
use crate::processes::{Served, kill};

impl Served {
    fn socket(&self) -> PathBuf {
        self.dir.path().join("var/gorox.sock")
    }

    fn token(&self) -> String {
        let token = std::fs::read_to_string(self.dir.path().join("var/gorox.token")).unwrap();
        token.trim().to_owned()
    }

    fn by_socket(&self, method: &str, target: &str) -> Reply {
        let mut client = Client::connect_unix(self.socket()).unwrap().with_timeout(PATIENCE);
        client
            .send(format!(
                "{method} {target} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                 content-length: 0\r\n\r\n"
            ))
            .unwrap();
        client.read_response().unwrap()
    }
}

fn json(reply: &Reply) -> Value {
    serde_json::from_str(&reply.text()).unwrap()
}

#[test]
fn the_api_tells_and_does() {
    let served = Served::start("one");
    let worker = served.worker();
    let status = json(&served.by_socket("GET", "/v1/status"));
    let engine = &status["worker"]["report"]["engine"];
    assert_eq!((&status["worker"]["pid"], &engine["stages"][0]["id"]), (&worker.into(), &1.into()));

    let mut events = Client::connect_unix(served.socket()).unwrap().with_timeout(PATIENCE);
    events.send("GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    events.read_response_to_head().unwrap();
    let mut seen = String::new();
    let mut read_until = |text: &str| {
        while !seen.contains(text) {
            seen += &String::from_utf8_lossy(&events.read_some().unwrap());
        }
    };

    served.configure("two");
    let view = json(&served.by_socket("GET", "/v1/config"));
    assert_ne!(view["digest"], engine["stages"][0]["digest"]);
    assert!(view["files"][0]["text"].as_str().unwrap().contains("two"));
    assert_eq!(served.by_socket("POST", "/v1/reload").status, 200);
    read_until("\"what\":\"loaded\"");
    served.dir.write("gorox.conf", "stage { httpxServer \"s\" {} rulz {} }").unwrap();
    let refused = served.by_socket("POST", "/v1/reload");
    assert_eq!(refused.status, 409);
    assert_eq!(json(&refused)["mistakes"].as_array().unwrap().len(), 2, "{}", refused.text());
    assert_eq!(json(&refused)["mistakes"][0]["line"], 1);
    read_until("\"what\":\"refused\"");
    assert!(!json(&served.by_socket("GET", "/v1/config"))["refused"].is_null());

    kill(worker, Signal::KILL);
    read_until("\"what\":\"failed\"");
    served.worker_after(worker);
    let metrics = || served.by_socket("GET", "/metrics").text();
    let told = || {
        let metrics = metrics();
        [
            "hemi_leader_worker_restarts_total{reason=\"signal\"} 1",
            "hemi_config_last_load_success 0",
            "hemi_server_requests_total{server=\"s\"} ",
        ]
        .iter()
        .all(|line| metrics.contains(line))
    };
    assert!(eventually(PATIENCE, told), "{}", metrics());
}

#[test]
fn the_pages_show_what_serves_to_who_has_the_token() {
    let served = Served::start("one");
    let placed = served.does(&["reweb", "127.0.0.1:0"]);
    let address = placed.split(&[' ', ','][..]).nth(3).unwrap().to_owned();
    let ask = |head: &str, content: &str| {
        let mut client = Client::connect(&*address).unwrap().with_timeout(PATIENCE);
        let length = content.len();
        client.send(format!("{head}\r\ncontent-length: {length}\r\n\r\n{content}")).unwrap();
        client.read_response().unwrap()
    };
    let head =
        |line: &str| format!("{line} HTTP/1.1\r\nhost: {address}\r\norigin: http://{address}");
    assert_eq!(ask(&head("GET /"), "").header("location"), Some("/login"));
    let form = "\r\ncontent-type: application/x-www-form-urlencoded";
    let login = head("POST /login") + form;
    assert_eq!(ask(&login, "token=0000000000000000").status, 403);
    let reply = ask(&login, &format!("token={}", served.token()));
    let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let cookie = format!("\r\ncookie: {cookie}");
    let page = ask(&(head("GET /") + &cookie), "").text();
    assert!(page.contains(&served.program.addr().to_string()), "{page}");
    assert!(page.contains(&served.worker().to_string()), "{page}");
    let page = ask(&(head("GET /config") + &cookie), "").text();
    assert!(page.contains("no mistakes, and is served"), "{page}");
    served.configure("two");
    assert_eq!(ask(&(head("POST /act") + form + &cookie), "act=reload").status, 303);
    assert_eq!(served.text(), "two");
    // By a name that is rebound to this machine nobody gets in.
    let rebound = format!("GET / HTTP/1.1\r\nhost: evil.test{cookie}");
    assert_eq!(ask(&rebound, "").status, 421);
    assert!(served.does(&["reweb"]).contains("webui is closed"));
}

#[test]
fn noise_on_the_socket_stops_nobody() {
    let served = Served::start("one");
    let mut word = 0x2545_f491_4f6c_dd1d_u64;
    let noise = std::iter::repeat_with(|| {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word as u8
    });
    let noise: Vec<u8> = noise.take(1 << 20).collect();
    let silent: Vec<_> = (0..50).map(|_| Client::connect_unix(served.socket()).unwrap()).collect();
    for start in [0, 1, 4096, 70_000] {
        let mut mad = Client::connect_unix(served.socket()).unwrap();
        // It may be cut off before all is said.
        let _ = mad.send(&noise[start..]);
    }
    assert_eq!(served.by_socket("GET", "/v1/status").status, 200);
    assert_eq!((served.text(), served.does(&["pids"]).is_empty()), ("one".to_owned(), false));
    drop(silent);
}
