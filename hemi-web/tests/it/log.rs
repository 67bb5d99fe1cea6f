//! What the access log hears of.

use std::sync::Mutex;

use hemi_core::logger::{Logger, LoggerRegistry, Record};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Registry, Result};
use serde::Deserialize;

use crate::site::Site;

pub(crate) fn register(registry: &mut Registry) {
    registry.logger::<Kept>();
}

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps its lines in memory.
#[derive(Debug, Deserialize, Explain)]
struct Kept {}

impl Component for Kept {
    const SIGN: &'static str = "keptLogger";
    type Config = Self;

    fn create(config: Self, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(config)
    }
}

impl Lifecycle for Kept {}

impl Logger for Kept {
    fn log(&self, record: &dyn Record) {
        let mut line = Vec::new();
        record.common(&mut line);
        LINES.lock().unwrap().push(String::from_utf8(line).unwrap());
    }

    fn dropped(&self) -> u64 {
        0
    }
}

#[test]
fn every_exchange_of_a_webapp_has_its_line() {
    let site = Site::of(
        r#"stage {
            keptLogger "log" {}
            webapp "w" {
                .hostnames = ("*")
                .useLogger = "log"
                .maxBodySize = 3
                rule $path == "/quiet" { .logAccess = false  .returnCode = 204 }
                rule $path == "/text" { .returnCode = 200  .returnText = "text" }
                rule { shout {}  probe {} }
            }
            httpxServer "main" { .address = "127.0.0.1:0"  .webapps = ("w") }
        }"#,
    );
    let rows = [
        ("GET /quiet HTTP/1.1\r\nhost: x\r\n\r\n", None),
        ("GET /text HTTP/1.1\r\nhost: x\r\n\r\n", Some("\"GET /text HTTP/1.1\" 200 4")),
        ("HEAD /text HTTP/1.0\r\n\r\n", Some("\"HEAD /text HTTP/1.0\" 200 0")),
        ("GET /stream/2/3 HTTP/1.1\r\nhost: x\r\n\r\n", Some("\"GET /stream/2/3 HTTP/1.1\" 200 6")),
        ("GET /fails HTTP/1.1\r\nhost: x\r\n\r\n", Some("\"GET /fails HTTP/1.1\" 200 0")),
        ("GET /panic HTTP/1.1\r\nhost: x\r\n\r\n", Some("\"GET /panic HTTP/1.1\" 500 ")),
        (
            "POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n",
            Some("\"POST /read HTTP/1.1\" 413 "),
        ),
        (
            "GET /now HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: shout\r\n\r\n",
            Some("\"GET /now HTTP/1.1\" 101 0"),
        ),
    ];
    for (request, expected) in rows {
        LINES.lock().unwrap().clear();
        let mut client = site.connect();
        client.send(request).unwrap();
        let head = request.starts_with("HEAD");
        let reply = if head { client.read_response_to_head() } else { client.read_response() };
        // The answer of `/fails` has no end.
        assert_eq!(reply.is_ok(), !request.contains("/fails"), "{request}");
        drop(client);
        site.expect_idle();
        let lines = LINES.lock().unwrap().clone();
        match expected {
            None => assert!(lines.is_empty(), "{request}: {lines:?}"),
            Some(part) => {
                assert_eq!(lines.len(), 1, "{request}: {lines:?}");
                assert!(lines[0].contains(part), "{request}: {lines:?}");
            }
        }
    }
}
