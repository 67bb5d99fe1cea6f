//! What access logs hear of, and how it is written.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hemi_core::logger::{Level, LogConfig, LogSpec, Logger, LoggerRegistry};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Registry, Result};
use hemi_web::{Handlet, HandletRegistry, Reply, Request, Response};
use http::header::{ETAG, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::site::Site;

pub(crate) fn register(registry: &mut Registry) {
    registry.logger::<Kept>().handlet::<Greeter>();
}

/// What was logged, by the names of the loggers.
static LINES: Mutex<BTreeMap<String, Vec<(Level, String)>>> = Mutex::new(BTreeMap::new());

/// Takes what a logger has heard, once the site is idle.
fn taken(site: &Site, logger: &str) -> Vec<(Level, String)> {
    site.expect_idle();
    LINES.lock().unwrap().remove(logger).unwrap_or_default()
}

/// The same without levels.
fn lines(site: &Site, logger: &str) -> Vec<String> {
    taken(site, logger).into_iter().map(|(_, line)| line).collect()
}

/// Keeps its lines in memory.
struct Kept {
    name: String,
    spec: LogSpec,
}

impl Component for Kept {
    const SIGN: &'static str = "keptLogger";
    type Config = LogConfig;

    fn create(config: LogConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self { spec: LogSpec::new(config, cx)?, name: cx.name().to_owned() })
    }
}

impl Lifecycle for Kept {}

impl Logger for Kept {
    fn spec(&self) -> &LogSpec {
        &self.spec
    }

    fn log(&self, level: Level, write: &mut dyn FnMut(&mut Vec<u8>)) {
        let mut line = Vec::new();
        write(&mut line);
        let line = String::from_utf8(line).unwrap();
        LINES.lock().unwrap().entry(self.name.clone()).or_default().push((level, line));
    }

    fn dropped(&self) -> u64 {
        0
    }
}

/// Knows its clients, and their requests.
#[derive(Debug, Deserialize, Explain, Component)]
struct Greeter {}

impl Handlet for Greeter {
    async fn handle(&self, req: &mut Request) -> Reply {
        req.set_user("eve \"\n");
        req.set_id("id-1");
        Response::text("hello").field(ETAG, HeaderValue::from_static("\"x\"")).into()
    }
}

/// A site whose requests are logged by `keptLogger`s, of which the webapp uses these.
fn logged(loggers: &str, used: &str) -> Site {
    Site::of(&config(loggers, used))
}

fn config(loggers: &str, used: &str) -> String {
    format!(
        r#"stage {{
            {loggers}
            webapp "w" {{
                .hostnames = ("*")
                .useLogger = {used}
                rule $path == "/greet" {{ greeter {{}} }}
                rule {{ probe {{}} }}
            }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("w") }}
        }}"#
    )
}

/// Asks on a connection of its own, with these bytes after the request line.
fn get(site: &Site, target: &str, fields: &[u8]) -> u16 {
    let mut client = site.connect();
    let line = format!("GET {target} HTTP/1.1\r\nhost: Me:80\r\n");
    client.send([line.as_bytes(), fields, b"\r\n"].concat()).unwrap();
    client.read_response().unwrap().status
}

/// What strangers try to get into a log.
const ATTACK: &[u8] = b"referer: http://a/\"\\\t\x9b2J\r\nuser-agent: gr\xc3\xbcn \xff\r\n";

#[test]
fn the_combined_format_is_the_template_that_it_is_known_as() {
    let site = logged(
        r#"keptLogger "combined" { .format = "combined" }
        keptLogger "same" {
            .format = $remoteAddr + " - " + $remoteUser + " [" + $timeCommon + `] "` + $method + " " + $uri
                + " " + $version + `" ` + $status + " " + $bytesSent + ` "` + $referer + `" "` + $userAgent + `"`
        }"#,
        r#"("combined", "same")"#,
    );
    let rows: [(&str, &[u8], &str); 3] = [
        ("/now?a=%22", b"", r#""GET /now?a=%22 HTTP/1.1" 200 3 "-" "-""#),
        ("/none", b"user-agent: x/1 (y)\r\n", r#""GET /none HTTP/1.1" 404 451 "-" "x/1 (y)""#),
        (
            "/greet",
            ATTACK,
            r#""GET /greet HTTP/1.1" 200 5 "http://a/\x22\x5C\x09\x9B2J" "gr\xC3\xBCn \xFF""#,
        ),
    ];
    for (target, fields, expected) in rows {
        get(&site, target, fields);
        let (combined, same) = (lines(&site, "combined"), lines(&site, "same"));
        let [line] = &combined[..] else { panic!("not one line: {combined:?}") };
        let user = if target == "/greet" { r"eve \x22\x0A" } else { "-" };
        assert!(line.starts_with(&format!("127.0.0.1 - {user} [")), "{line}");
        let (_, rest) = line.split_once("] ").unwrap();
        match target {
            // How long the page is that names the status is not what is tested here.
            "/none" => assert_eq!(parts(rest), parts(expected)),
            _ => assert_eq!(rest, expected),
        }
        // The second may have passed between the two.
        let undated = |line: &str| line.split(['[', ']']).step_by(2).collect::<String>();
        assert_eq!(same.len(), 1);
        assert_eq!(undated(line), undated(&same[0]));
    }
}

/// A line without the number of bytes.
fn parts(line: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = line.split(' ').collect();
    parts.remove(4);
    parts
}

#[test]
fn json_has_the_usual_members_with_the_types_they_should_have() {
    let site = logged(r#"keptLogger "usual" { .format = "json" }"#, r#""usual""#);
    get(&site, "/greet?x", ATTACK);
    get(&site, "/now", b"");
    let lines = lines(&site, "usual");
    assert_eq!(lines.len(), 2);
    let mut first: Value = serde_json::from_str(&lines[0]).unwrap();
    let object = first.as_object_mut().unwrap();
    let time = object.remove("time").unwrap();
    let time = time.as_str().unwrap();
    assert!(time.len() == 24 && time.starts_with("20") && time.ends_with('Z'), "{time}");
    let took = object.remove("requestTime").unwrap();
    assert!(took.as_f64().is_some_and(|took| (0.0..60.0).contains(&took)), "{took}");
    let expected = json!({
        "requestId": "id-1",
        "remoteAddr": "127.0.0.1",
        "remoteUser": "eve \"\n",
        "hostname": "me",
        "method": "GET",
        "uri": "/greet?x",
        "version": "HTTP/1.1",
        "status": 200,
        "bytesSent": 5,
        "referer": "http://a/\"\\\t\u{fffd}2J",
        "userAgent": "grün \u{fffd}",
    });
    // The rule looks at the path only.
    assert_eq!(first, expected, "{}", lines[0]);
    let second: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!(second["referer"], "");
    assert!(second["requestId"].as_str().unwrap().len() > 16, "{}", lines[1]);
}

#[test]
fn json_has_the_members_that_it_is_told() {
    let site = logged(
        r#"keptLogger "told" {
            .format = "json"
            .fields = [
                "s\"tatus": $status,
                "text": "\"" + $status,
                "none": $requestTime,
                "etag": $sent_etag,
                "absent": $header_absent,
                "trace": $traceId + "/" + $spanId,
                "webapp": $webapp,
            ]
        }"#,
        r#""told""#,
    );
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let field = format!("traceparent: {trace}\r\n");
    get(&site, "/greet", field.as_bytes());
    get(&site, "/greet", field.repeat(2).as_bytes());
    get(&site, "/greet", b"traceparent: 00-4bf9-00f0-01\r\n");
    let lines = lines(&site, "told");
    let known = "4bf92f3577b34da6a3ce929d0e0e4736/00f067aa0ba902b7";
    for (line, trace) in lines.iter().zip([known, "/", "/"]) {
        let mut object: Value = serde_json::from_str(line).unwrap();
        assert!(object["none"].take().is_f64(), "{line}");
        let expected = json!({
            "s\"tatus": 200, "text": "\"200", "none": null, "etag": "\"x\"", "absent": "",
            "trace": trace, "webapp": "w",
        });
        assert_eq!(object, expected);
    }
    assert_eq!(lines.len(), 3);
}

#[test]
fn a_logger_takes_what_its_condition_and_its_sample_let_pass() {
    let site = logged(
        r#"keptLogger "all" { .format = $status + "" }
        keptLogger "faults" $status ~= "^5" || $path == "/now" { .format = $status + "" }
        keptLogger "third" $method == "GET" { .format = $uri + ""  .sample = 3 }"#,
        r#"("all", "faults", "third")"#,
    );
    // One connection, so that one core counts.
    let mut client = site.connect();
    for target in ["/now", "/none", "/panic", "/now", "/greet", "/none", "/greet"] {
        client.send(format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
        client.read_response().unwrap();
    }
    drop(client);
    use Level::{Error, Info, Warning};
    let levels = taken(&site, "all").into_iter().map(|(level, _)| level);
    assert!(levels.eq([Info, Warning, Error, Info, Info, Warning, Info]));
    assert_eq!(lines(&site, "faults"), ["200", "500", "200"]);
    assert_eq!(lines(&site, "third"), ["/now", "/now", "/greet"]);
}

#[test]
fn mistakes_are_told_at_their_place() {
    let rows = [
        (r#".format = "jsn""#, "", "\"jsn\" is not known here", "did you mean \"json\"?"),
        (r#".format = $statu + """#, "", "unknown variable `$statu`", "did you mean `$status`?"),
        (r#".format = "json"  .fields = ["a": $x, "b": $stat]"#, "", "unknown variable `$x`", ""),
        (r#".format = $uri + "\n""#, "", "a record is one line", ""),
        (r#".fields = ["a": $uri]"#, "", "only a log in JSON has `.fields`", ".format = \"json\""),
        ("", "$statos == \"1\"", "unknown variable `$statos`", "did you mean `$status`?"),
        ("", "$path -f", "the condition of a logger cannot test files", "compare variables"),
        (".sample = 0", "", "expected a nonzero", ""),
    ];
    for (properties, condition, message, help) in rows {
        let logger = format!("keptLogger \"l\" {condition} {{ {properties} }}");
        let error = Site::try_of(&config(&logger, "\"l\"")).err().expect("an error");
        assert!(error.contains(message) && error.contains(help), "{error}");
        assert!(error.contains("test:2:"), "at the logger: {error}");
    }
    let error = Site::try_of(&config("", r#"("a", "b")"#)).err().expect("an error");
    assert!(error.contains("no logger is named \"a\"") && error.contains("\"b\""), "{error}");
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
        ("GET /caf\u{e9} HTTP/1.1\r\nhost: x\r\n\r\n", Some("\"GET /caf%C3%A9 HTTP/1.1\" 400 ")),
        ("GET /%ff HTTP/1.1\r\nhost: x\r\n\r\n", Some("\"GET /%ff HTTP/1.1\" 400 ")),
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
        let mut client = site.connect();
        client.send(request).unwrap();
        let head = request.starts_with("HEAD");
        let reply = if head { client.read_response_to_head() } else { client.read_response() };
        // The answer of `/fails` has no end.
        assert_eq!(reply.is_ok(), !request.contains("/fails"), "{request}");
        drop(client);
        let lines = lines(&site, "log");
        match expected {
            None => assert!(lines.is_empty(), "{request}: {lines:?}"),
            Some(part) => {
                assert_eq!(lines.len(), 1, "{request}: {lines:?}");
                assert!(lines[0].contains(part), "{request}: {lines:?}");
            }
        }
    }
}

/// What can't be read is logged where unknown hosts are, with a dash for what is not known.
#[test]
fn requests_that_are_none_have_their_line() {
    let site = Site::of(
        r#"stage {
            keptLogger "refused" {}
            webapp "w" { .hostnames = ("*")  .useLogger = "refused"  rule { .returnCode = 204 } }
            httpxServer "main" {
                .address = "127.0.0.1:0"  .webapps = ("w")  .maxHeadSize = 4K  .maxTargetSize = 128
            }
        }"#,
    );
    let long = "x".repeat(200);
    let huge = "x".repeat(5000);
    for (request, expected) in [
        ("GET /a HTTP/1.1\r\n\r\n", "\"-\" 400 "),
        ("GET /a HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n", "\"-\" 400 "),
        ("GET /a HTTP/2.0\r\nhost: x\r\n\r\n", "\"-\" 505 "),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", "\"-\" 400 "),
        (&format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), "\"-\" 414 "),
        (&format!("GET / HTTP/1.1\r\nhost: x\r\na: {huge}\r\n\r\n"), "\"-\" 431 "),
        (&format!("{long} / HTTP/1.1\r\nhost: x\r\n\r\n"), "\"-\" 501 "),
        ("CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n", "\"CONNECT x:443 HTTP/1.1\" 501 "),
    ] {
        let mut client = site.connect();
        client.send(request).unwrap();
        client.read_response().unwrap();
        drop(client);
        let lines = lines(&site, "refused");
        assert_eq!(lines.len(), 1, "{request}: {lines:?}");
        assert!(lines[0].contains(expected), "{request}: {lines:?}");
    }
    // They are not taken for the request before them.
    let mut client = site.connect();
    client.send("GET /before HTTP/1.1\r\nhost: x\r\n\r\nGET /a b HTTP/1.1\r\n\r\n").unwrap();
    for status in [204, 400] {
        assert_eq!(client.read_response().unwrap().status, status);
    }
    drop(client);
    let lines = lines(&site, "refused");
    assert!(lines.len() == 2 && lines[1].contains("\"-\" 400 "), "{lines:?}");
}
