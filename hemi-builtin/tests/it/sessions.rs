//! Sessions over requests, reloads and restarts, in each of the stores.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;

use hemi_core::{Component, CreateCx, Explain, Lifecycle, Registry, Result};
use hemi_test::{Reply, TempDir};
use hemi_web::{Flash, Handlet, HandletRegistry, Reply as Answer, Request, Response, SessionError};
use serde::Deserialize;

use crate::redis::RedisServer;
use crate::server::{Running, site};

pub(crate) fn register(registry: &mut Registry) {
    registry.handlet::<Visits>();
}

/// Does with the session what the path says.
#[derive(Debug, Deserialize, Explain)]
struct Visits {}

impl Component for Visits {
    const SIGN: &'static str = "visits";
    type Config = Self;

    fn create(config: Self, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(config)
    }
}

impl Lifecycle for Visits {}

impl Handlet for Visits {
    async fn handle(&self, req: &mut Request) -> Answer {
        match visit(req).await {
            Ok(text) => text.into(),
            Err(e) => Response::text(e.to_string()).with_status(e.status()).into(),
        }
    }
}

async fn visit(req: &mut Request) -> std::result::Result<String, SessionError> {
    let session = req.session().await?;
    // It is the same for all who ask.
    let again = req.session().await?;
    let path = req.path().to_owned();
    match path.split('/').skip(1).collect::<Vec<_>>()[..] {
        ["count"] => {
            let visits = session.value::<u64>("visits")?.unwrap_or_default() + 1;
            session.set("visits", &visits)?;
            Ok(again.value::<u64>("visits")?.unwrap_or_default().to_string())
        }
        ["look"] => Ok(format!("{:?}", session.value::<u64>("visits")?)),
        ["wrong"] => session.value::<Vec<u8>>("visits").map(|_| String::new()),
        ["login"] => {
            session.rotate();
            Ok("in".to_owned())
        }
        ["logout"] => {
            session.clear();
            Ok("out".to_owned())
        }
        ["save"] => session.flash("notice", "saved").map(|()| "saved".to_owned()),
        ["page"] => {
            let flashes: Vec<Flash> = session.take_flashes()?;
            Ok(flashes.iter().map(|flash| format!("{}: {}", flash.kind, flash.text)).collect())
        }
        ["form"] => session.csrf_token(),
        ["post", token] => {
            Ok(session.check_csrf(token).map_or_else(|e| e.to_string(), |()| "ok".into()))
        }
        ["slow"] => {
            session.set("visits", &1000)?;
            let sent = req.body().bytes(10).await;
            Ok(sent.map_or_else(|e| e.to_string(), |_| "done".into()))
        }
        ["empty"] => Ok(session.is_empty().to_string()),
        ["panic"] => {
            session.set("visits", &1000)?;
            panic!("before the end")
        }
        _ => Ok("?".to_owned()),
    }
}

/// A client that keeps its cookie.
struct Browser<'a> {
    site: &'a Running,
    cookie: Option<String>,
}

impl<'a> Browser<'a> {
    fn of(site: &'a Running) -> Self {
        Self { site, cookie: None }
    }

    fn get(&mut self, path: &str) -> Reply {
        let cookie = self.cookie.as_ref().map(|cookie| format!("cookie: a=b; {cookie}"));
        let lines: Vec<_> = cookie.iter().map(String::as_str).collect();
        let reply = self.site.ask("GET", path, &lines);
        if let Some(set) = reply.header("set-cookie") {
            let pair = set.split(';').next().unwrap();
            self.cookie = Some(pair.to_owned()).filter(|pair| !pair.ends_with('='));
        }
        reply
    }

    fn text(&mut self, path: &str) -> String {
        self.get(path).text()
    }
}

const RULE: &str = r#".withHstate = "s"  rule { visits {} }"#;

/// What every store has to do.
fn lives_through(site: &Running) {
    let (mut one, mut other) = (Browser::of(site), Browser::of(site));
    // Who has nothing to remember gets no cookie.
    assert_eq!(one.text("/look"), "None");
    assert_eq!(one.cookie, None);
    let first = one.get("/count");
    let cookie = first.header("set-cookie").unwrap();
    for part in ["sid=", "; Path=/", "; HttpOnly", "; SameSite=Lax"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "{cookie}");
    assert_eq!(other.text("/count"), "1");
    for expected in ["2", "3"] {
        let reply = one.get("/count");
        assert_eq!(reply.text(), expected);
        assert_eq!(reply.header("set-cookie"), None);
    }
    assert_eq!(other.text("/look"), "Some(1)");

    // A login moves the session; the old token is worth nothing.
    let mut thief = Browser { site, cookie: one.cookie.clone() };
    assert_eq!(one.text("/login"), "in");
    assert_ne!(one.cookie, thief.cookie);
    assert_eq!((one.text("/look"), thief.text("/look")), ("Some(3)".into(), "None".into()));

    // A panic saves nothing.
    assert_eq!(one.get("/panic").status, 500);
    assert_eq!(one.text("/look"), "Some(3)");
    assert_eq!(one.get("/wrong").status, 500);

    assert_eq!(one.text("/save"), "saved");
    assert_eq!((one.text("/page"), one.text("/page")), ("notice: saved".into(), String::new()));

    let mut thief = Browser { site, cookie: one.cookie.clone() };
    // A request that is under way when the session ends does not bring it back.
    let mut slow = site.connect();
    let cookie = one.cookie.as_ref().unwrap();
    let lines = format!("cookie: {cookie}\r\nexpect: 100-continue\r\ncontent-length: 1");
    slow.send(format!("POST /slow HTTP/1.1\r\nhost: site.test\r\n{lines}\r\n\r\n")).unwrap();
    assert_eq!(slow.read_response().unwrap().status, 100);
    let gone = one.get("/logout");
    assert!(gone.header("set-cookie").unwrap().contains("Max-Age=0"));
    slow.send("x").unwrap();
    assert_eq!(slow.read_response().unwrap().text(), "done");
    assert_eq!((one.cookie.as_ref(), thief.text("/look")), (None, "None".into()));
}

#[test]
fn in_memory() {
    let site = site(r#"memoryHstate "s" {}"#, RULE);
    lives_through(&site);
    site.quit();
}

#[test]
fn in_files_that_outlive_the_process_and_are_nobodys_business() {
    let dir = TempDir::new().unwrap();
    let states = dir.path().join("states");
    let store = format!(r#"filesysHstate "s" {{ .stateDir = "{}" }}"#, states.display());
    let first = site(&store, RULE);
    lives_through(&first);
    let mut browser = Browser::of(&first);
    assert_eq!(browser.text("/count"), "1");
    let cookie = browser.cookie.clone();
    first.quit();
    let second = site(&store, RULE);
    assert_eq!(Browser { site: &second, cookie: cookie.clone() }.text("/count"), "2");
    assert_eq!(states.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let cookie = cookie.unwrap();
    for file in states.read_dir().unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let name = file.file_name().into_string().unwrap();
        assert!(!cookie.contains(&name) && !name.contains(&cookie["sid=".len()..]), "{name}");
    }
}

#[test]
fn in_a_redis_that_instances_share() {
    let Some(mut redis) = RedisServer::start() else { return };
    let store = format!(r#"redisHstate "s" {{ .url = "{}" }}"#, redis.url());
    let (one, other) = (site(&store, RULE), site(&store, RULE));
    lives_through(&one);
    let mut browser = Browser::of(&one);
    assert_eq!(browser.text("/count"), "1");
    browser.site = &other;
    assert_eq!(browser.text("/count"), "2");
    redis.stop();
    assert_eq!(browser.get("/count").status, 503);
    redis.restart();
    let again = hemi_test::eventually(std::time::Duration::from_secs(20), || {
        browser.get("/count").status == 200
    });
    assert!(again);
}

#[test]
fn a_client_cannot_choose_its_token() {
    let site = site(r#"memoryHstate "s" {}"#, RULE);
    for token in ["0123456789abcdef0123456789abcdef", "../../etc/passwd", "", "\"\"", "é"] {
        let mut browser = Browser { site: &site, cookie: Some(format!("sid={token}")) };
        assert_eq!(browser.text("/count"), "1", "{token}");
        assert!(browser.cookie.unwrap() != format!("sid={token}"), "{token}");
    }
}

#[test]
fn tokens_of_forms_hold_for_their_session_only() {
    let site = site(r#"memoryHstate "s" {}"#, RULE);
    let (mut one, mut other) = (Browser::of(&site), Browser::of(&site));
    let tokens: HashSet<_> = (0..5).map(|_| one.text("/form")).collect();
    assert_eq!(tokens.len(), 5, "a token looks different each time");
    let of_other = other.text("/form");
    for token in &tokens {
        assert_eq!(one.text(&format!("/post/{token}")), "ok");
        assert_ne!(other.text(&format!("/post/{token}")), "ok");
    }
    let short = &of_other[..32];
    let odd = format!("{}x", &of_other[..63]);
    for token in [&of_other, short, &odd, "%00", "0", &"f".repeat(64), &"f".repeat(66)] {
        assert_ne!(one.text(&format!("/post/{token}")), "ok", "{token}");
    }
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    let webapp = r#".withHstate = "s"  .sessionAge = 0s  rule { visits {} }"#;
    let old = site(r#"memoryHstate "s" {}"#, webapp);
    let mut browser = Browser::of(&old);
    assert_eq!((browser.text("/count"), browser.text("/count")), ("1".into(), "1".into()));
    // A second at least it is kept, and then no longer.
    let webapp = r#".withHstate = "s"  .sessionIdle = 0s  rule { visits {} }"#;
    let idle = site(r#"memoryHstate "s" {}"#, webapp);
    let mut browser = Browser::of(&idle);
    assert_eq!(browser.text("/count"), "1");
    let over = hemi_test::eventually(std::time::Duration::from_secs(10), || {
        browser.text("/look") == "None"
    });
    assert!(over);
}

#[test]
fn a_store_that_fails_is_told_and_costs_no_more() {
    let dir = TempDir::new().unwrap();
    let states = dir.path().join("states");
    let store = format!(r#"filesysHstate "s" {{ .stateDir = "{}" }}"#, states.display());
    let site = site(&store, RULE);
    let mut browser = Browser::of(&site);
    assert_eq!(browser.text("/count"), "1");
    // A file stands where the directory was.
    std::fs::remove_dir_all(&states).unwrap();
    std::fs::write(&states, "").unwrap();
    assert_eq!(Browser::of(&site).get("/count").status, 503);
    assert_eq!(browser.get("/count").status, 503);
    let full = crate::server::site(r#"memoryHstate "s" { .maxBytes = 300 }"#, RULE);
    assert_eq!(Browser::of(&full).get("/count").status, 503);
}

#[test]
fn without_a_store_there_are_no_sessions() {
    let reply = site("", "rule { visits {} }").get("/count");
    assert_eq!(reply.status, 500);
    assert!(reply.text().contains("withHstate"), "{}", reply.text());
}
