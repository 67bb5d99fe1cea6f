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

const FORM: &str = r#"<?php
session_start();
$_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
$file = $_FILES['file'] ?? null;
echo json_encode(['n' => $_SESSION['n'], 'name' => $_POST['name'] ?? null, 'size' => $file['size'] ?? null,
    'md5' => $file ? md5_file($file['tmp_name']) : null]);
"#;

/// Says what is to be answered instead, by the field of this name.
const INSTEAD: &str = r#"<?php
header('content-type: text/x-own');
header('set-cookie: a=b');
header('x-accel-buffering: no');
header($_GET['field'] . ': ' . $_GET['to']);
echo 'the script itself';
"#;

const SCRIPTS: [(&str, &str); 10] = [
    ("form.php", FORM),
    ("instead.php", INSTEAD),
    ("large.php", "<?php echo strlen($_SERVER['LARGE1'] . $_SERVER['LARGE2']);"),
    ("files/report.txt", "a report"),
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
        Self::start_with(|_| properties.to_owned())
    }

    /// The same with properties that depend on where the site is.
    fn start_with(properties: impl FnOnce(&Path) -> String) -> Option<Self> {
        let program = peer("php-fpm8.2")?;
        let dir = TempDir::new().unwrap();
        for (name, text) in SCRIPTS {
            dir.write(Path::new("site").join(name), text).unwrap();
        }
        let socket = dir.path().join("fpm.sock");
        let config = format!(
            "[global]\nerror_log = {log}\ndaemonize = no\n[www]\nlisten = {socket}\npm = static\n\
             pm.max_children = 2\nuser = root\ngroup = root\n\
             php_admin_value[upload_max_filesize] = 200M\nphp_admin_value[post_max_size] = 200M\n\
             php_admin_value[session.save_path] = {base}\n\
             php_admin_value[upload_tmp_dir] = {base}\n",
            base = dir.path().display(),
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
        let properties = properties(&root);
        let rules = format!(
            ".webRoot = {root:?}  .maxBodySize = 128M
            rule $path ^= \"/internal/\" && $internal == \"1\" {{ static {{ .stripPrefix = \"/internal\" }} }}
            rule $path ^= \"/internal/\" {{ .returnCode = 404 }}
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

/// A form with a file of this content.
fn form(content: &[Vec<u8>]) -> (String, Vec<Vec<u8>>) {
    let start = "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nmia\r\n--b\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
    let mut pieces = Vec::from([start.as_bytes().to_vec()]);
    pieces.extend(content.iter().cloned());
    pieces.push(b"\r\n--b--\r\n".to_vec());
    let length: usize = pieces.iter().map(Vec::len).sum();
    let head = format!(
        "POST /form.php HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n\
         Content-Length: {length}\r\n"
    );
    (head, pieces)
}

#[test]
fn forms_uploads_and_sessions_are_those_of_the_script() {
    let Some(php) = Php::start("") else { return };
    let mut client = php.server.connect();
    let content: Vec<Vec<u8>> = (0..100u8).map(|n| vec![n; 1 << 20]).collect();
    let (head, pieces) = form(&content);
    client.send(format!("{head}\r\n")).unwrap();
    pieces.iter().for_each(|piece| client.send(piece).unwrap());
    let reply = client.read_response().unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    let mut digest = md5::Md5::default();
    content.iter().for_each(|piece| md5::Digest::update(&mut digest, piece));
    let digest = md5::Digest::finalize(digest);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = serde_json::json!({ "n": 1, "name": "mia", "size": 100 << 20, "md5": digest });
    assert_eq!(seen, expected);
    let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let reply = ask(&mut client, "GET", "/form.php", &[&format!("Cookie: {cookie}")]).unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(seen["n"], 2);
}

#[test]
fn variables_that_need_several_records_arrive() {
    let large = "v".repeat(60_000);
    let properties = format!(".params = [\"LARGE1\": \"{large}\", \"LARGE2\": \"{large}\"]");
    let Some(php) = Php::start(&properties) else { return };
    assert_eq!(php.server.get("/large.php").text(), "120000");
}

#[test]
fn a_script_says_what_is_to_be_answered_instead() {
    let php = Php::start_with(|root| {
        let files = root.join("files");
        format!(".accelRedirect = true  .sendfileRoots = ({files:?})")
    });
    let Some(php) = php else { return };
    let root = php._dir.path().join("site");
    let instead = |field: &str, to: &str| {
        php.server.ask("GET", &format!("/instead.php?field={field}&to={to}"), &[])
    };
    let file = root.join("files/report.txt").display().to_string();
    for (field, to) in [("X-Accel-Redirect", "/internal/files/report.txt"), ("X-Sendfile", &file)] {
        let reply = instead(field, to);
        assert_eq!((reply.status, reply.text().as_str()), (200, "a report"), "{field}");
        assert_eq!(reply.header("content-type"), Some("text/x-own;charset=UTF-8"));
        assert_eq!(reply.header("set-cookie"), Some("a=b"));
        for name in ["x-accel-redirect", "x-sendfile", "x-accel-buffering"] {
            assert_eq!(reply.header(name), None, "{field}");
        }
        let target = format!("/instead.php?field={field}&to={to}");
        let part = php.server.ask("GET", &target, &["Range: bytes=2-"]);
        assert_eq!((part.status, part.text().as_str()), (206, "report"), "{field}");
    }
    // Nobody else gets there.
    assert_eq!(php.server.get("/internal/files/report.txt").status, 404);
    for (field, to, status) in [
        ("X-Accel-Redirect", "/internal/none", 404),
        ("X-Accel-Redirect", "/internal/../show.php", 502),
        ("X-Accel-Redirect", "http://other.test/", 502),
        ("X-Sendfile", "/etc/passwd", 404),
        ("X-Sendfile", &root.join("show.php").display().to_string(), 404),
        ("X-Sendfile", &root.join("files/../show.php").display().to_string(), 404),
        ("X-Sendfile", "files/report.txt", 404),
    ] {
        let reply = instead(field, to);
        assert_eq!(reply.status, status, "{field}: {to}");
        assert!(!reply.text().contains("script itself") && reply.header("x-sendfile").is_none());
    }
    assert_eq!(instead("X-Accel-Redirect", "/moved.php").status, 302);
}

#[test]
fn who_may_not_say_so_answers_itself() {
    let Some(php) = Php::start("") else { return };
    for field in ["X-Accel-Redirect", "X-Sendfile"] {
        let reply = php.server.get(&format!("/instead.php?field={field}&to=/etc/passwd"));
        assert_eq!((reply.status, reply.text().as_str()), (200, "the script itself"), "{field}");
        assert_eq!(reply.header(&field.to_ascii_lowercase()), None);
    }
}

#[test]
fn without_an_application_there_is_no_answer() {
    let Some(mut php) = Php::start("") else { return };
    assert_eq!(php.server.get("/sub/").status, 200);
    php.end();
    assert_eq!(php.server.get("/sub/").status, 502);
}
