//! A program in Python that uWSGI runs, by both protocols.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hemi_test::{TempDir, eventually, peer};

use super::{hex_md5, mebibytes, post, post_chunked, read, told};
use crate::server::{Running, site_on};

/// uWSGI on two Unix sockets, and a webapp for each.
struct Python {
    server: Running,
    uwsgi: Child,
    _dir: TempDir,
}

impl Python {
    fn start() -> Option<Self> {
        let program = peer("uwsgi_python3")?;
        let dir = TempDir::new().unwrap();
        let app = dir.write("app.py", read("app.py")).unwrap();
        let (uwsgi, scgi) = (dir.path().join("uwsgi.sock"), dir.path().join("scgi.sock"));
        let mut command = Command::new(program);
        command.args(["--need-app", "--processes", "1", "--wsgi-file"]).arg(app);
        command.arg("--uwsgi-socket").arg(&uwsgi).arg("--scgi-socket").arg(&scgi);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        assert!(eventually(Duration::from_secs(20), || scgi.exists()), "uWSGI does not start");
        let backends = format!(
            "uwsgiBackend \"u\" {{ node {{ .address = {uwsgi:?} }} }}
             scgiBackend \"s\" {{ node {{ .address = {scgi:?} }} }}"
        );
        let rules = r#".maxBodySize = 128M
            rule $path ^= "/u" { uwsgiProxy { .toBackend = "u"  .mount = "/u"  .params = ["EXTRA": "of " + $method] } }
            rule { scgiProxy { .toBackend = "s" } }"#;
        Some(Self { server: site_on(1, &backends, rules), uwsgi: child, _dir: dir })
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.uwsgi.kill();
        let _ = self.uwsgi.wait();
    }
}

#[test]
fn a_program_of_python_is_told_of_the_request_by_both_protocols() {
    let Some(python) = Python::start() else { return };
    for (target, script, path, extra) in
        [("/u/a%20b?q=%20x", "/u", "/a b", Some("of GET")), ("/a%20b?q=%20x", "", "/a b", None)]
    {
        let reply = python.server.ask("GET", target, &["X-A: 1", "X_B: forged", "Proxy: evil"]);
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
        let seen = told(&reply);
        for (name, value) in [
            ("REQUEST_METHOD", Some("GET")),
            ("SCRIPT_NAME", Some(script)),
            ("PATH_INFO", Some(path)),
            ("QUERY_STRING", Some("q=%20x")),
            ("HTTP_HOST", Some("site.test")),
            ("HTTP_X_A", Some("1")),
            ("HTTP_X_B", None),
            ("HTTP_PROXY", None),
            ("REMOTE_ADDR", Some("127.0.0.1")),
            ("EXTRA", extra),
        ] {
            assert_eq!(seen[name].as_str(), value, "{name} in {seen}");
        }
    }
}

#[test]
fn contents_of_both_protocols_flow_both_ways() {
    let Some(python) = Python::start() else { return };
    for mount in ["/u", ""] {
        let reply = post(&python.server, &format!("{mount}/up"), 20);
        let expected = hex_md5(mebibytes(20));
        assert_eq!(reply.header("x-md5"), Some(expected.as_str()), "{mount}");
        let mut client = python.server.connect();
        let reply = post_chunked(&mut client, &format!("{mount}/up"), &["abc", "defg"]);
        let expected = hex_md5([b"abcdefg".to_vec()].into_iter());
        assert_eq!(reply.header("x-md5"), Some(expected.as_str()), "{mount}");
        let reply = python.server.get(&format!("{mount}/long"));
        assert_eq!((reply.status, reply.body.len()), (200, 64 << 16), "{mount}");
        assert!(reply.body.iter().all(|byte| *byte == b'x'));
        let reply = python.server.get(&format!("{mount}/none"));
        assert_eq!((reply.status, reply.text().as_str()), (404, "nothing here"), "{mount}");
        // What a program says to servers is not passed on.
        assert_eq!(reply.header("x-accel-expires"), None);
        assert_eq!(python.server.ask("HEAD", &format!("{mount}/a"), &[]).body, b"");
    }
}
