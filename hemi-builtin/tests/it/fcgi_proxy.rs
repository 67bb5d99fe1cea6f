//! The handlet `fcgiProxy` and the backend `fcgiBackend`, with PHP-FPM.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hemi_test::{TempDir, eventually, peer};

use crate::server::{Running, ask, site_on};

/// PHP-FPM on a Unix socket in a directory of its own, and a webapp that has its scripts be run.
struct Php {
    server: Running,
    fpm: Child,
    _dir: TempDir,
}

const SHOW: &str = r#"<?php
header('content-type: application/json');
foreach (['REQUEST_METHOD', 'SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'REQUEST_URI', 'HTTP_HOST',
    'HTTP_X_A', 'HTTP_X_B', 'HTTP_PROXY', 'REMOTE_ADDR', 'SERVER_NAME', 'SERVER_PORT', 'HTTPS',
    'CONTENT_TYPE', 'CONTENT_LENGTH', 'EXTRA'] as $name) {
    $seen[$name] = $_SERVER[$name] ?? null;
}
echo json_encode(['server' => $seen, 'post' => $_POST, 'cookie' => $_COOKIE]);
"#;

const SCRIPTS: [(&str, &str); 6] = [
    ("show.php", SHOW),
    ("sub/index.php", "<?php echo 'index of sub';"),
    ("echo.php", "<?php header('x-md5: ' . md5_file('php://input')); readfile('php://input');"),
    (
        "moved.php",
        "<?php header('Location: /elsewhere'); setcookie('a', 'b'); setcookie('c', 'd');",
    ),
    ("broken.php", "<?php ini_set('display_errors', 0); nothing_like_it();"),
    ("note.txt", "<?php echo 'not to be run';"),
];

impl Php {
    /// None if there is no PHP-FPM.
    fn start(properties: &str) -> Option<Self> {
        let program = peer("php-fpm8.2")?;
        let dir = TempDir::new().unwrap();
        for (name, text) in SCRIPTS {
            dir.write(Path::new("site").join(name), text).unwrap();
        }
        let socket = dir.path().join("fpm.sock");
        let config = format!(
            "[global]\nerror_log = {log}\ndaemonize = no\n[www]\nlisten = {socket}\npm = static\n\
             pm.max_children = 2\nuser = root\ngroup = root\n",
            log = dir.path().join("fpm.log").display(),
            socket = socket.display(),
        );
        let config = dir.write("fpm.conf", config).unwrap();
        let mut fpm = Command::new(program);
        fpm.arg("-nRF").arg("-y").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        let fpm = fpm.spawn().unwrap();
        assert!(eventually(Duration::from_secs(20), || socket.exists()), "PHP-FPM does not start");
        let backend = format!("fcgiBackend \"php\" {{ node {{ .address = {socket:?} }} }}");
        let root = dir.path().join("site");
        let rules = format!(
            ".webRoot = {root:?}  .maxBodySize = 64M
            rule {{ fcgiProxy {{ .toBackend = \"php\"  {properties} }} }}
            rule {{ .returnCode = 404  .returnText = \"no such script\" }}"
        );
        let server = site_on(1, &backend, &rules);
        Some(Self { server, fpm, _dir: dir })
    }
}

impl Php {
    /// Ends PHP-FPM, which ends its children.
    fn end(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.fpm);
        // It may have ended already.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.fpm.wait();
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
fn scripts_are_told_of_the_request() {
    let Some(php) = Php::start(r#".params = ["EXTRA": "of " + $method]"#) else { return };
    let mut client = php.server.connect();
    let lines = ["X-A: 1", "X-A: 2", "X_B: forged", "Proxy: evil", "Cookie: k=v", "Cookie: l=w"];
    let reply = ask(&mut client, "GET", "/show.php/rest%20of/it?q=%20x", &lines).unwrap();
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let seen: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    for (name, value) in [
        ("REQUEST_METHOD", Some("GET")),
        ("SCRIPT_NAME", Some("/show.php")),
        ("PATH_INFO", Some("/rest of/it")),
        ("QUERY_STRING", Some("q=%20x")),
        ("REQUEST_URI", Some("/show.php/rest%20of/it?q=%20x")),
        ("HTTP_HOST", Some("site.test")),
        ("HTTP_X_A", Some("1, 2")),
        ("HTTP_X_B", None),
        ("HTTP_PROXY", None),
        ("REMOTE_ADDR", Some("127.0.0.1")),
        ("SERVER_NAME", Some("site.test")),
        ("SERVER_PORT", Some("80")),
        ("HTTPS", None),
        ("EXTRA", Some("of GET")),
    ] {
        assert_eq!(seen["server"][name].as_str(), value, "{name} in {seen}");
    }
    assert_eq!(seen["cookie"], serde_json::json!({ "k": "v", "l": "w" }));
    let form = ["content-type: application/x-www-form-urlencoded", "content-length: 7"];
    client
        .send(format!("POST /show.php HTTP/1.1\r\nHost: a\r\n{}\r\n\r\na=1&b=2", form.join("\r\n")))
        .unwrap();
    let seen: serde_json::Value =
        serde_json::from_slice(&client.read_response().unwrap().body).unwrap();
    assert_eq!(seen["post"], serde_json::json!({ "a": "1", "b": "2" }));
    assert_eq!(seen["server"]["CONTENT_LENGTH"], "7");
}

#[test]
fn the_path_says_which_script_is_meant() {
    let Some(php) = Php::start("") else { return };
    assert_eq!(php.server.get("/sub/").text(), "index of sub");
    // What is no script is not run, whatever follows it; nor what is not there.
    for path in ["/note.txt/x.php", "/none.php", "/show.php.txt", "/sub"] {
        let reply = php.server.get(path);
        assert_eq!((reply.status, reply.text().as_str()), (404, "no such script"), "{path}");
    }
    let reply = php.server.get("/moved.php");
    assert_eq!((reply.status, reply.header("location")), (302, Some("/elsewhere")));
    assert_eq!(reply.header_values("set-cookie").collect::<Vec<_>>(), ["a=b", "c=d"]);
    assert_eq!(php.server.get("/broken.php").status, 500);
    assert_eq!(php.server.ask("HEAD", "/sub/", &[]).body, b"");
    let Some(front) = Php::start(".script = \"/show.php\"") else { return };
    let seen: serde_json::Value = serde_json::from_slice(&front.server.get("/a/b").body).unwrap();
    assert_eq!(seen["server"]["SCRIPT_NAME"], "/show.php");
    assert_eq!(seen["server"]["PATH_INFO"], "/a/b");
}

#[test]
fn contents_flow_both_ways() {
    let Some(php) = Php::start("") else { return };
    let mut client = php.server.connect();
    for len in [0usize, 1, 65_535, 65_536, 5_000_000] {
        let content: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        let head = format!("PUT /echo.php HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
        client.send(head).unwrap();
        client.send(&content).unwrap();
        assert_eq!(client.read_response().unwrap().body, content, "{len}");
    }
    client.send("PUT /echo.php HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    client.send("3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "abcdefg");
}

#[test]
fn without_an_application_there_is_no_answer() {
    let Some(mut php) = Php::start("") else { return };
    assert_eq!(php.server.get("/sub/").status, 200);
    php.end();
    assert_eq!(php.server.get("/sub/").status, 502);
}
