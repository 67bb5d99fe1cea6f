//! The handlet `basicAuth`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hemi_test::{TempDir, eventually, peer};

use crate::server::{Running, ask, mistake, site, site_on};

const SOON: Duration = Duration::from_secs(20);

/// That of `opén sesame`, by `htpasswd -nbBC 4`.
const HASH: &str = "$2y$04$uO5HWnoeYbW.HPyOIfR3kOzmM8MC6Y1up0V9AIj1ukplF.0X0JkLK";

/// That of the empty password.
const NO_PASSWORD: &str = "{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=";

/// That of some password, which takes so long that requests wait.
const SLOW_HASH: &str = "$2y$14$abcdefghijklmnopqrstuuLnxKfnzZQ2Xr8xVQsTNNzGoNCfMhvdW";

fn guarded(properties: &str) -> Running {
    site("", &rules(properties))
}

fn rules(properties: &str) -> String {
    format!(
        r#"rule {{ basicAuth {{ {properties} }} }}
        rule $remoteUser == "zoë" {{ .returnCode = 200  .returnText = "it is zoë" }}
        rule {{ .returnCode = 200  .returnText = $remoteUser }}"#
    )
}

fn basic(name_and_password: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(name_and_password))
}

/// Whom the server sees; none if it lets nobody in.
fn user(server: &Running, name_and_password: &str) -> Option<String> {
    let reply = server.ask("GET", "/", &[&basic(name_and_password)]);
    match reply.status {
        200 => Some(reply.text()),
        401 => None,
        other => panic!("{other}"),
    }
}

#[test]
fn who_knows_the_password_is_let_in_and_known_to_all_that_comes_after() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("access.log");
    let logger = format!(
        r#"simpleLogger "access" {{ .target = "{}"  .delay = 1ms  .format = "<" + $remoteUser + ">" }}"#,
        log.display()
    );
    let users = format!(r#".users = ["mia": "{HASH}", "zoë": "{HASH}", "": "{HASH}"]"#);
    let server = site_on(2, &logger, &format!(".useLogger = \"access\"  {}", rules(&users)));
    for _ in 0..3 {
        assert_eq!(user(&server, "mia:opén sesame").as_deref(), Some("mia"));
    }
    assert_eq!(user(&server, "zoë:opén sesame").as_deref(), Some("it is zoë"));
    assert_eq!(user(&server, ":opén sesame").as_deref(), Some(""));
    for wrong in
        ["mia:open sesame", "mia:", "mia:opén sesame ", "Mia:opén sesame", "noah:opén sesame"]
    {
        assert_eq!(user(&server, wrong), None, "{wrong}");
    }
    server.quit();
    let log = fs::read_to_string(log).unwrap();
    let count = |user: &str| log.lines().filter(|line| *line == user).count();
    assert_eq!([count("<mia>"), count(r"<zo\xC3\xAB>")], [3, 1], "{log}");
}

#[test]
fn others_are_told_what_for() {
    let server = guarded(&format!(r#".users = ["mia": "{HASH}"]  .realm = "the \"in\" side \\""#));
    let good = STANDARD.encode("mia:opén sesame");
    for lines in [
        vec![],
        vec!["Authorization: Basic".to_owned()],
        vec!["Authorization: Basic ".to_owned()],
        vec!["Authorization: Basic !!!".to_owned()],
        vec![format!("Authorization: Basic {}", good.trim_end_matches('='))],
        vec![format!("Authorization: Bearer {good}")],
        vec![format!("Authorization: Basic{good}")],
        vec![format!("Authorization: é {good}")],
        vec![format!("Authorization: Basic {good}, Basic {good}")],
        vec![format!("Proxy-Authorization: Basic {good}")],
        vec![format!("Authorization: Basic {good}"); 2],
        vec![basic("mia"), "Authorization: Digest a=b".to_owned()],
        vec![basic("mia")],
        vec![basic("mia:opén sesame\n")],
        vec![basic("mia:opén\0 sesame")],
        vec![basic(&format!("mia:{}", "x".repeat(1025)))],
        vec![basic(&format!("mia:{}", "x".repeat(20_000)))],
        vec![format!("Authorization: Basic {}", STANDARD.encode(b"mia:op\xe9n sesame"))],
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let reply = server.ask("GET", "/", &lines);
        assert_eq!(reply.status, 401, "{lines:?}");
        let challenge = r#"Basic realm="the \"in\" side \\", charset="UTF-8""#;
        assert_eq!(reply.header("www-authenticate"), Some(challenge));
    }
    for line in [format!("Authorization: bAsic {good}"), format!("authorization: Basic   {good} ")]
    {
        assert_eq!(server.ask("GET", "/", &[&line]).status, 200, "{line}");
    }
}

#[test]
fn what_is_remembered_is_forgotten_in_time() {
    let server = guarded(&format!(r#".users = ["mia": "{HASH}"]  .remember = 0s"#));
    let mut client = server.connect();
    for _ in 0..3 {
        let reply = ask(&mut client, "GET", "/", &[&basic("mia:opén sesame")]).unwrap();
        assert_eq!(reply.text(), "mia");
    }
}

#[test]
fn more_passwords_than_are_remembered_are_right() {
    let dir = TempDir::new().unwrap();
    let lines: String = (0..1_001).map(|name| format!("{name}:{NO_PASSWORD}\n")).collect();
    let file = dir.write("users", lines).unwrap();
    let server = site_on(1, "", &rules(&format!(".file = \"{}\"", file.display())));
    let mut client = server.connect();
    for name in (0..1_001).chain(998..1_001) {
        let reply = ask(&mut client, "GET", "/", &[&basic(&format!("{name}:"))]).unwrap();
        assert_eq!(reply.text(), name.to_string());
    }
}

#[test]
fn files_of_htpasswd_and_names_given_by_curl() {
    let (Some(htpasswd), Some(curl)) = (peer("htpasswd"), peer("curl")) else { return };
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("users");
    for (name, options) in
        [("a", "-cbB"), ("b", "-bm"), ("c", "-bs"), ("d", "-b2"), ("e", "-b5"), ("é", "-bB")]
    {
        let password = format!("{name}:{name}");
        let mut htpasswd = Command::new(&htpasswd);
        let status =
            htpasswd.arg(options).arg(&file).args([name, &password]).output().unwrap().status;
        assert!(status.success(), "{options}");
    }
    let server = guarded(&format!(".file = \"{}\"", file.display()));
    let says = |name: &str, password: &str| curl_says(&curl, &server, name, password);
    for name in ["a", "b", "c", "d", "e", "é"] {
        assert_eq!(says(name, &format!("{name}:{name}")), format!("{name} 200"));
        assert!(says(name, name).ends_with(" 401"), "{name}");
    }
    let added = Command::new(&htpasswd).arg("-bd").arg(&file).args(["f", "f"]).output();
    assert!(added.unwrap().status.success());
    let error = mistake("", &rules(&format!(".file = \"{}\"", file.display())));
    assert!(error.contains("users:7: crypt's DES is no longer"), "{error}");
}

fn curl_says(curl: &Path, server: &Running, name: &str, password: &str) -> String {
    let mut curl = Command::new(curl);
    curl.args(["-sS", "--max-time", "30", "-w", " %{http_code}", "-u"]);
    curl.arg(format!("{name}:{password}")).arg(format!("http://{}/", server.addr()));
    let output = curl.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_file_is_read_again_and_a_broken_one_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let lines = format!("# those\n\nmia:{HASH}:Mia M.\nmia:{NO_PASSWORD}\n");
    let file = dir.write("users", lines).unwrap();
    let other = dir.write("other", "").unwrap();
    let properties = format!(".file = \"{}\"  .users = [\"root\": \"{HASH}\"]", file.display());
    let server = site(
        "",
        &format!(
            r#"rule $path == "/other" {{ basicAuth {{ .file = "{}" }} }}
            rule $path == "/other" {{ .returnCode = 200  .returnText = $remoteUser }}
            {}"#,
            other.display(),
            rules(&properties)
        ),
    );
    let all = || {
        ["mia", "noah", "root"].map(|name| user(&server, &format!("{name}:opén sesame")).is_some())
    };
    let have_looked = || {
        // Files are looked at equally often: this one twice, so the other once at least.
        for (number, name) in ["a", "b"].into_iter().enumerate() {
            dir.write("other", format!("{}{name}:{NO_PASSWORD}\n", "#\n".repeat(number))).unwrap();
            let line = basic(&format!("{name}:"));
            let seen = || server.ask("GET", "/other", &[&line]).text() == name;
            assert!(eventually(SOON, seen));
        }
        dir.write("other", "").unwrap();
    };
    assert_eq!(all(), [true, false, true]);
    assert_eq!(user(&server, "mia:"), None);
    dir.write("users", format!("noah:{HASH}\nroot:{NO_PASSWORD}\n")).unwrap();
    // What was remembered of mia's password does not help her.
    assert!(eventually(SOON, || all() == [false, true, true]));
    dir.write("users", format!("mia:{HASH}\nnoah\n")).unwrap();
    have_looked();
    assert_eq!(all(), [false, true, true]);
    fs::remove_file(&file).unwrap();
    have_looked();
    assert_eq!(all(), [false, true, true]);
    dir.write("users", format!("mia:{HASH}\n")).unwrap();
    assert!(eventually(SOON, || all() == [true, false, true]));
}

#[test]
fn mistakes_are_told_where_they_are() {
    let dir = TempDir::new().unwrap();
    for (content, message) in [
        (format!("mia:{HASH}\nnoah\n"), "users:2: no `name:hash`"),
        ("\n\nmia:hunter2\n".to_owned(), "users:3: not the hash of a password"),
        ("mia:zfmTKW08xVuNc".to_owned(), "users:1: crypt's DES"),
    ] {
        let file = dir.write("users", &content).unwrap();
        let error = mistake("", &rules(&format!(".file = \"{}\"", file.display())));
        assert!(error.contains(message), "{content}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let big = fs::File::create(dir.path().join("big")).unwrap();
    big.set_len((16 << 20) + 1).unwrap();
    for (properties, message) in [
        ("", "nobody could be let in"),
        (r#".users = ["mia": "secret"]"#, "not the hash of a password"),
        (&*format!(r#".users = ["a:b": "{HASH}"]"#), "nobody can say this name"),
        (
            &*format!(r#".users = ["mia": "{HASH}"]  .realm = "a\nb""#),
            "a realm has no control characters",
        ),
        (r#".file = "/no/such/file""#, "cannot read /no/such/file"),
        (&*format!(r#".file = "{}/big""#, dir.path().display()), "more than 16777216 bytes"),
    ] {
        let error = mistake("", &rules(properties));
        assert!(error.contains(message), "{properties}: {error}");
    }
}

#[test]
fn only_so_many_wait_for_their_password_whether_their_names_are_known_or_not() {
    let server = site_on(1, "", &rules(&format!(r#".users = ["mia": "{SLOW_HASH}"]"#)));
    let mut clients = Vec::new();
    for number in 0..300 {
        let name = if number % 2 == 0 { "mia" } else { "noah" };
        let mut client = server.connect();
        let line = basic(&format!("{name}:{number}"));
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")).unwrap();
        clients.push(client);
    }
    for client in clients.iter_mut().rev().take(2) {
        assert_eq!(client.read_response().unwrap().status, 503);
    }
}
