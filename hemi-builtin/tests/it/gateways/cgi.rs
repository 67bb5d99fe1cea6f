//! Programs that are run for each request: in sh and in Python.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use hemi_test::raw::Client;
use hemi_test::{TempDir, eventually};

use super::{hex_md5, mebibytes, post, told};
use crate::server::{Running, ask, site_on};

const SHOW: &str = r#"#!/bin/sh
echo 'Content-Type: text/plain'
echo 'Status: 201 Made'
echo
for name in REQUEST_METHOD SCRIPT_NAME PATH_INFO QUERY_STRING HTTP_X_A CONTENT_LENGTH SCRIPT_FILENAME EXTRA HOME
do eval echo "$name=\$$name"; done
echo "args=$#"
echo 'a complaint' >&2
"#;

const ECHO: &str = r#"#!/usr/bin/env python3
import hashlib, json, os, sys
digest = hashlib.md5()
while piece := sys.stdin.buffer.read(65536):
    digest.update(piece)
print("Content-Type: application/json\r\n\r")
print(json.dumps({"md5": digest.hexdigest(), "environment": dict(os.environ)}))
"#;

const SCRIPTS: [(&str, &str); 9] = [
    ("show", SHOW),
    ("sub/echo.py", ECHO),
    ("moved", "#!/bin/sh\nprintf 'Location: /cgi-bin/show/moved?x=1\\n\\n'"),
    ("elsewhere", "#!/bin/sh\nprintf 'Location: http://other.test/\\n\\n'"),
    ("garbage", "#!/bin/sh\necho '<html>'"),
    ("silent", "#!/bin/sh\nexit 1"),
    ("noshebang", "echo 'Content-Type: text/plain'\necho\necho run"),
    // It starts another one, and says who both are.
    ("slow", "#!/bin/sh\nsleep 600 &\nprintf 'X-Pids: %s %s\\n\\nbegun\\n' $$ $!\nwait"),
    ("late", "#!/bin/sh\necho $$ > \"$PIDS\"\nsleep 600"),
];

struct Bin {
    server: Running,
    dir: TempDir,
}

impl Bin {
    fn start(properties: &str) -> Self {
        let dir = TempDir::new().unwrap();
        for (name, text) in SCRIPTS {
            let file = dir.write(Path::new("bin").join(name), text).unwrap();
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        dir.write("bin/note.txt", "#!/bin/sh\necho").unwrap();
        let (root, pids) = (dir.path().join("bin"), dir.path().join("pids"));
        let rules = format!(
            r#".maxBodySize = 64M
            rule {{ cgi {{ .webRoot = {root:?}  .mount = "/cgi-bin"
                .params = ["EXTRA": "of " + $method, "PIDS": {pids:?}]  {properties} }} }}
            rule {{ .returnCode = 404  .returnText = "no program" }}"#
        );
        Self { server: site_on(1, "", &rules), dir }
    }
}

/// Asks for the slow program, and gives the ids that it tells.
fn begin_slow(client: &mut Client) -> Vec<String> {
    client.send("GET /cgi-bin/slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut came = String::new();
    while !came.contains("begun") {
        came += &String::from_utf8(client.read_some().unwrap()).unwrap();
    }
    let ids = came.lines().find_map(|line| line.strip_prefix("x-pids: ")).unwrap();
    ids.split_whitespace().map(str::to_owned).collect()
}

/// Whether a process is at work; one that was killed may wait for somebody to ask how it ended.
fn lives(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

#[test]
fn programs_are_told_of_the_request_and_of_nothing_else() {
    let bin = Bin::start("");
    let reply = bin.server.ask("GET", "/cgi-bin/show/a%20b?q=1+2", &["X-A: $(id)"]);
    assert_eq!((reply.status, reply.header("content-type")), (201, Some("text/plain")));
    let text = reply.text();
    let file = bin.dir.path().join("bin/show");
    for line in [
        "REQUEST_METHOD=GET",
        "SCRIPT_NAME=/cgi-bin/show",
        "PATH_INFO=/a b",
        "QUERY_STRING=q=1+2",
        "HTTP_X_A=$(id)",
        "CONTENT_LENGTH=",
        &format!("SCRIPT_FILENAME={}", file.display()),
        "EXTRA=of GET",
        "HOME=",
        "args=0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line:?} is not in {text:?}");
    }
    let seen = told(&bin.server.get("/cgi-bin/sub/echo.py"));
    let names = seen["environment"].as_object().unwrap().keys();
    let foreign = names.filter(|name| name.starts_with("CARGO") || *name == "HOME").count();
    assert_eq!(foreign, 0, "{seen}");
}

#[test]
fn what_is_no_program_is_not_run() {
    let bin = Bin::start("");
    for path in ["/cgi-bin/none", "/cgi-bin/", "/cgi-bin/sub", "/cgi-bin/sub/none/a", "/show"] {
        let reply = bin.server.get(path);
        assert_eq!((reply.status, reply.text().as_str()), (404, "no program"), "{path}");
    }
    for (path, status) in [
        ("/cgi-bin/note.txt", 500),
        ("/cgi-bin/noshebang", 500),
        ("/cgi-bin/garbage", 502),
        ("/cgi-bin/silent", 502),
    ] {
        assert_eq!(bin.server.get(path).status, status, "{path}");
    }
}

#[test]
fn programs_redirect_within_the_server_and_to_others() {
    let bin = Bin::start("");
    let reply = bin.server.ask("POST", "/cgi-bin/moved", &["Content-Length: 0"]);
    assert_eq!(reply.status, 201);
    let text = reply.text();
    for line in ["PATH_INFO=/moved", "QUERY_STRING=x=1", "REQUEST_METHOD=GET"] {
        assert!(text.lines().any(|other| other == line), "{line:?} is not in {text:?}");
    }
    let reply = bin.server.get("/cgi-bin/elsewhere");
    assert_eq!((reply.status, reply.header("location")), (302, Some("http://other.test/")));
}

#[test]
fn programs_are_given_content() {
    let bin = Bin::start("");
    let seen = told(&post(&bin.server, "/cgi-bin/sub/echo.py", 20));
    assert_eq!(seen["md5"], hex_md5(mebibytes(20)));
    assert_eq!(seen["environment"]["CONTENT_LENGTH"], (20u64 << 20).to_string());
    // One that does not read it answers all the same.
    assert_eq!(post(&bin.server, "/cgi-bin/show", 20).status, 201);
}

#[test]
fn a_program_and_all_it_has_started_end_with_its_time_or_its_client() {
    let bin = Bin::start(".timeout = 1s");
    let mut client = bin.server.connect();
    client.send("GET /cgi-bin/slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    // The answer breaks off.
    let broken = client.read_response().unwrap_err();
    assert!(!broken.to_string().is_empty());
    assert_eq!(bin.server.get("/cgi-bin/late").status, 504);
    let pid = std::fs::read_to_string(bin.dir.path().join("pids")).unwrap();
    assert!(eventually(Duration::from_secs(20), || !lives(pid.trim())));

    let bin = Bin::start(".timeout = 600s");
    let mut client = bin.server.connect();
    let pids = begin_slow(&mut client);
    assert!(pids.len() == 2 && pids.iter().all(|pid| lives(pid)), "{pids:?}");
    client.reset().unwrap();
    assert!(eventually(Duration::from_secs(20), || !pids.iter().any(|pid| lives(pid))));
}

#[test]
fn there_are_never_more_programs_than_allowed() {
    let bin = Bin::start(".maxProcs = 1  .maxWaiting = 0  .timeout = 600s");
    let mut client = bin.server.connect();
    begin_slow(&mut client);
    assert_eq!(ask(&mut bin.server.connect(), "GET", "/cgi-bin/show", &[]).unwrap().status, 503);
    client.reset().unwrap();
    let served = || bin.server.get("/cgi-bin/show").status == 201;
    assert!(eventually(Duration::from_secs(20), served));
}
