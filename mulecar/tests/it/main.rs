//! The program's own config, and its own components.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod confined;
mod faults;

use std::process::Command;
use std::time::Duration;

use hemi_test::{Program, eventually};

pub(crate) const MULECAR: &str = env!("CARGO_BIN_EXE_mulecar");

#[test]
fn its_config_has_no_mistakes() {
    let conf = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/mulecar.conf");
    let check = Command::new(MULECAR).args(["check", conf]).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let fmt = Command::new(MULECAR).args(["fmt", conf]).output().unwrap();
    assert_eq!(String::from_utf8(fmt.stdout).unwrap(), std::fs::read_to_string(conf).unwrap());
}

#[test]
fn its_components_work() {
    let config = r#"stage {
        webapp "w" {
            .hostnames = ("*")
            rule $path ^= "/short" { dump { .showFields = false } }
            rule { dump {} }
        }
        httpxServer "s" { .address = "127.0.0.1:@PORT@"  .webapps = ("w") }
        heartbeatCronjob "pulse" { .every = 10ms }
        statCronjob "state" { .every = 10ms }
    }"#;
    let program = Program::serve(MULECAR, config).unwrap();
    let mut client = program.connect().unwrap();
    client.send("POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").unwrap();
    let text = client.read_response().unwrap().text();
    let expected =
        "POST /a?b HTTP/1.1\nhost: x\ncontent-length: 3\n\n3 bytes of content from 127.0.0.1";
    assert!(text.starts_with(expected), "{text}");
    client.send("GET /short HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let text = client.read_response().unwrap().text();
    assert!(text.starts_with("GET /short HTTP/1.1\n\n0 bytes of content"), "{text}");
    let beats = || program.stderr().matches("heartbeat").count() > 2;
    assert!(eventually(Duration::from_secs(20), beats), "{}", program.stderr());
    let line = || program.stderr().lines().find(|l| l.contains("cpu_percent")).map(str::to_owned);
    assert!(eventually(Duration::from_secs(20), || line().is_some()), "{}", program.stderr());
    for field in ["conns", "rss", "open_files", "threads", "cpu_ms"] {
        assert!(line().unwrap().contains(field), "{line:?}", line = line());
    }
}
