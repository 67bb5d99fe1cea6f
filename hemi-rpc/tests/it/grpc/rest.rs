//! Services by plain HTTP, as their files say by `google.api.http`.

use std::sync::Arc;

use hemi_rpc::{GrpcComponent, GrpcLimits, GrpcServer, GrpcService, GrpcServices};
use hemi_test::Reply;
use hemi_test::raw::Client;
use rpc_interop::library::{Library, LibraryServer};
use rpc_interop::proto::DESCRIPTORS;

use crate::server::{Running, serve_config, serve_parts};

/// The same as a component.
#[derive(hemi_rpc::serde::Deserialize, hemi_core::Explain, hemi_core::Component)]
#[serde(crate = "hemi_rpc::serde")]
pub(crate) struct LibraryService {}

impl GrpcComponent for LibraryService {
    fn service(self: Arc<Self>) -> GrpcService {
        service()
    }
}

fn service() -> GrpcService {
    GrpcService::new(LibraryServer::new(Library)).described_by(DESCRIPTORS)
}

fn library(limits: GrpcLimits) -> Running {
    let services = GrpcServices::with_limits(limits).service(service());
    let server = GrpcServer::new("127.0.0.1:0".parse().unwrap(), services);
    serve_parts(|parts| drop(server.install("main", parts).unwrap()))
}

/// What is answered to a request with this content in JSON, if there is some.
fn ask(server: &Running, request: &str, content: &str) -> Reply {
    let json = if content.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    ask_with(server, request, json, content)
}

fn ask_with(server: &Running, request: &str, fields: &str, content: &str) -> Reply {
    let mut client = Client::connect(server.addr()).unwrap();
    let length = content.len();
    let head = format!("{request} HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {length}\r\n\r\n");
    client.send([head.as_bytes(), content.as_bytes()].concat()).unwrap();
    client.read_response().unwrap()
}

#[track_caller]
fn expect(server: &Running, request: &str, content: &str, told: &str) {
    let answer = ask(server, request, content);
    assert_eq!((answer.status, &*answer.text()), (200, told), "{request}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[test]
fn path_query_and_content_make_a_message() {
    let server = library(GrpcLimits::default());
    for (request, content, told) in [
        ("GET /v1/shelves/1/books/2", "", r#"{"name":"shelves/1/books/2","title":"0 []"}"#),
        ("GET /v1/books/a%2Fb%20c", "", r#"{"name":"a/b c","title":"0 []"}"#),
        // By names in the file and in JSON; numbers, names, several values, fields of fields.
        (
            "GET /v1/books/x?kind=ATLAS&page_names=a&pageNames=b+c&name=other&nobody=knows",
            "",
            r#"{"name":"x","title":"1 [\"a\", \"b c\"]"}"#,
        ),
        (
            "GET /v1/books/x?kind=1&filter.lent=true&filter.weights=0.5&filter.weights=-2&filter.age=1.5s&filter.other.lent=false",
            "",
            r#"{"name":"x","title":"1 [] true [0.5, -2.0] Some((1, 500000000)) Some(false)"}"#,
        ),
        (
            "POST /v1/shelves/7/books?check=true&book.title=other",
            r#"{"title": "T", "pages": "9", "published": "2026-01-02T03:04:05Z", "cover": "AAE=", "notes": {"a": "b"}}"#,
            r#"{"name":"shelves/7 true","title":"T","pages":"9","published":"2026-01-02T03:04:05Z","cover":"AAE=","notes":{"a":"b"}}"#,
        ),
        (
            "PUT /v1/books?check=true",
            r#"{"parent": "p", "book": {"lent": true}}"#,
            r#"{"name":"p false","lent":true}"#,
        ),
        // What the path says counts.
        (
            "POST /v1/shelves/ATLAS/12",
            r#"{"book": {"pages": 1, "title": "T"}, "parent": "p"}"#,
            r#"{"name":"p false","title":"T","pages":"12","kind":"ATLAS"}"#,
        ),
        ("DELETE /v1/a/b/c", "", "{}"),
        ("GET /v1/shelves/7/books?page_size=1", "", r#"[{"name":"shelves/7/books/0"}]"#),
        ("GET /v1/shelves/7/books", "", "[]"),
    ] {
        expect(&server, request, content, told);
    }
}

#[test]
fn streams_are_arrays() {
    let server = library(GrpcLimits::default());
    for (request, told) in [
        (
            "GET /v1/shelves/1/books:watch?page_size=2",
            "[{\"name\":\"shelves/1/books/0\"},\n{\"name\":\"shelves/1/books/1\"}]",
        ),
        ("GET /v1/shelves/1/books:watch", "[]"),
        (
            "GET /v1/shelves/broken/books:watch?pageSize=1",
            "[{\"name\":\"shelves/broken/books/0\"},\n{\"error\":{\"code\":15,\"details\":[],\"message\":\"no more can be read\"}}]",
        ),
    ] {
        expect(&server, request, "", told);
    }
}

#[test]
fn content_may_be_of_any_type() {
    let server = library(GrpcLimits::default());
    let answer = ask(&server, "GET /v1/shelves/1/books/2:read", "");
    assert_eq!((answer.status, &*answer.text()), (200, "shelves/1/books/2"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    let plain = "Content-Type: text/x\r\n";
    let answer = ask_with(&server, "COPY /v1/shelves/1/books/2", plain, "all of it");
    let told = r#"{"name":"shelves/1/books/2","title":"text/x all of it"}"#;
    assert_eq!((answer.status, &*answer.text()), (200, told));
}

#[test]
fn what_comes_to_nothing_has_a_status_and_says_why() {
    let server = library(GrpcLimits::default());
    for (request, content, status, told) in [
        ("DELETE /v1/none", "", 200, "{}"),
        ("DELETE /v1/a/none", "", 404, r#"{"code":5,"details":[],"message":"no a/none"}"#),
        ("GET /v1/books/x?filter.lent=maybe", "", 400, r#"{"code":3,"#),
        ("GET /v1/books/x?kind=COMIC", "", 400, r#"{"code":3,"#),
        ("GET /v1/books/x?filter=1", "", 400, r#"{"code":3,"#),
        ("POST /v1/shelves/COMIC/1", "{}", 400, r#"{"code":3,"#),
        ("POST /v1/shelves/1/books", "{", 400, r#"{"code":3,"#),
        // No other field comes in by the way of one.
        ("POST /v1/shelves/1/books", r#"{}, "check": true"#, 400, r#"{"code":3,"#),
        ("POST /v1/shelves/1/books", "", 400, r#"{"code":3,"#),
    ] {
        let answer = ask(&server, request, content);
        assert!(
            answer.status == status && answer.text().starts_with(told),
            "{request}: {} {}",
            answer.status,
            answer.text()
        );
    }
    let form = "Content-Type: text/plain\r\n";
    assert_eq!(ask_with(&server, "PUT /v1/books", form, "{}").status, 400);
    assert_eq!(ask(&server, "PATCH /v1/books", "{}").status, 404);
    let size = hemi_core::config::Size(10);
    let short = library(GrpcLimits { max_message_size: size, ..GrpcLimits::default() });
    let long = r#"{"parent": "0123456789"}"#;
    assert_eq!(ask(&short, "PUT /v1/books", long).status, 429);
    let none = library(GrpcLimits { http_rules: false, ..GrpcLimits::default() });
    assert_eq!(ask(&none, "GET /v1/books/x", "").status, 404);
}

#[test]
fn they_stand_beside_what_else_a_webapp_has() {
    let server = serve_config(
        r#"stage {
            libraryService "library" {}
            webapp "site" {
                .hostnames = ("*")
                rule { grpcServices { .services = ("library")  .authTokens = "tok" } }
                rule { .returnCode = 200  .returnText = "a page" }
            }
            httpxServer "main" { .address = "127.0.0.1:0"  .webapps = ("site") }
        }"#,
    );
    let told = r#"{"code":16,"details":[],"message":"not authorized"}"#;
    let refused = ask(&server, "GET /v1/books/x", "");
    assert_eq!((refused.status, &*refused.text()), (401, told));
    let token = "Authorization: Bearer tok\r\n";
    let answer = ask_with(&server, "GET /v1/books/x", token, "");
    assert_eq!(&*answer.text(), r#"{"name":"x","title":"0 []"}"#);
    for other in ["GET /", "GET /v1/books", "PATCH /v1/books/x", "POST /v1/books/x"] {
        assert_eq!(ask(&server, other, "").text(), "a page", "{other}");
    }
}
