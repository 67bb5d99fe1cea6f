//! Routes and handles, asked through a socket.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use hemi_core::listen::Peer;
use hemi_core::{Lifecycle, Run, Shut};
use hemi_test::raw::Client;
use hemi_web::testing::Server;
use hemi_web::{
    Body, Cookies, Extract, Form, FormError, Handlet, Html, Json, Mapper, Matched, Multipart, Path,
    Query, Redirect, Reply, Request, Response, Rule, Session, SetCookie, State, WebError, Webapp,
};
use http::{HeaderMap, Method, StatusCode, Uri};

/// Says which one it is, and what its parameters are.
fn named(name: &'static str) -> impl Fn(Path<Vec<String>>) -> String + Send + Sync + 'static {
    move |Path(params)| format!("{name} {params:?}")
}

#[track_caller]
fn ask(client: &mut Client, method: &str, path: &str) -> (u16, String) {
    client.send(format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
    let reply = match method {
        "HEAD" => client.read_response_to_head().unwrap(),
        _ => client.read_response().unwrap(),
    };
    (reply.status, reply.text())
}

#[track_caller]
fn post(client: &mut Client, path: &str, media_type: &str, content: &str) -> (u16, String) {
    let length = content.len();
    client
        .send(format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {media_type}\r\n\
             content-length: {length}\r\n\r\n{content}"
        ))
        .unwrap();
    let reply = client.read_response().unwrap();
    (reply.status, reply.text())
}

fn serve(mapper: Mapper) -> (Server, Client) {
    let server = Server::of(mapper).unwrap();
    let client = Client::connect(server.address()).unwrap();
    (server, client)
}

#[test]
fn paths_find_their_routes() {
    let inner = Mapper::new()
        .get("/", named("inner"))
        .get("/{id}", named("inner id"))
        .fallback(named("inner fallback"));
    let mapper = Mapper::new()
        .get("/", named("root"))
        .get("/items", named("items"))
        .get("/items/{id}", named("item"))
        .get("/items/special", named("special"))
        .get("/items/{id}/parts/{part}", named("part"))
        .get("/pictures/{name}.png", named("picture"))
        .get("/files/{*rest}", named("files"))
        .nest("/inner", inner)
        .nest("/users/{user}", Mapper::new().get("/posts/{post}", named("post")))
        .merge(Mapper::new().get("/merged", named("merged")));
    let (_server, mut client) = serve(mapper);
    for (path, expected) in [
        ("/", "root []"),
        ("/items", "items []"),
        ("/items?x=1", "items []"),
        ("//items", "items []"),
        ("/x/../items", "items []"),
        ("/%69tems", "items []"),
        ("/items/7", "item [\"7\"]"),
        ("/items/a%20b", "item [\"a b\"]"),
        ("/items/a%2Fb", "item [\"a/b\"]"),
        ("/items/%c3%a4", "item [\"ä\"]"),
        ("/items/special", "special []"),
        ("/items/7/parts/wheel", "part [\"7\", \"wheel\"]"),
        ("/pictures/cat.png", "picture [\"cat\"]"),
        ("/files/a/b/c", "files [\"a/b/c\"]"),
        ("/inner", "inner []"),
        ("/inner/x", "inner id [\"x\"]"),
        ("/inner/", "inner fallback []"),
        ("/inner/x/y", "inner fallback [\"x/y\"]"),
        ("/users/ada/posts/1", "post [\"ada\", \"1\"]"),
        ("/merged", "merged []"),
    ] {
        assert_eq!(ask(&mut client, "GET", path), (200, expected.to_owned()), "{path}");
    }
    for path in ["/nothing", "/items/", "/items/7/parts", "/files/", "/pictures/cat.jpg", "/innery"]
    {
        assert_eq!(ask(&mut client, "GET", path).0, 404, "{path}");
    }
}

#[test]
fn methods_find_their_handles() {
    let mapper = Mapper::new()
        .get("/all", named("get"))
        .post("/all", named("post"))
        .put("/all", named("put"))
        .delete("/all", named("delete"))
        .patch("/all", named("patch"))
        .get("/own", named("get"))
        .on(Method::HEAD, "/own", named("head"))
        .on(Method::OPTIONS, "/own", named("options"))
        .post("/post", named("post"))
        .get("/any", named("get"))
        .any("/any", named("any"));
    let (_server, mut client) = serve(mapper);
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
        let expected = (200, format!("{} []", method.to_lowercase()));
        assert_eq!(ask(&mut client, method, "/all"), expected);
    }
    for (method, path, expected) in [
        ("OPTIONS", "/own", "options []"),
        ("GET", "/any", "get []"),
        ("BREW", "/any", "any []"),
        ("OPTIONS", "/any", "any []"),
    ] {
        assert_eq!(ask(&mut client, method, path), (200, expected.to_owned()), "{method} {path}");
    }
    let lengths = [("/all", "6"), ("/own", "7"), ("/any", "6")];
    for (path, length) in lengths {
        client.send(format!("HEAD {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
        let reply = client.read_response_to_head().unwrap();
        assert_eq!((reply.status, reply.header("content-length")), (200, Some(length)), "{path}");
    }
    for (method, path, status, allow) in [
        ("OPTIONS", "/all", 204, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        ("BREW", "/all", 405, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        ("HEAD", "/post", 405, "OPTIONS, POST"),
        ("GET", "/post", 405, "OPTIONS, POST"),
    ] {
        client.send(format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
        let reply = match method {
            "HEAD" => client.read_response_to_head().unwrap(),
            _ => client.read_response().unwrap(),
        };
        assert_eq!((reply.status, reply.header("allow")), (status, Some(allow)), "{method} {path}");
    }
}

#[test]
fn what_has_no_route_is_left_to_the_next_rule() {
    let next = Rule::new().handlet(Mapper::new().fallback(async || "next"));
    let mapper = Mapper::new().get("/mine", async || "mine").get("/now", || "now");
    let webapp = Webapp::new("w").rule(Rule::new().handlet(mapper)).rule(next);
    let server = Server::start(webapp).unwrap();
    let mut client = Client::connect(server.address()).unwrap();
    assert_eq!(ask(&mut client, "GET", "/mine"), (200, "mine".to_owned()));
    assert_eq!(ask(&mut client, "GET", "/now"), (200, "now".to_owned()));
    assert_eq!(ask(&mut client, "GET", "/other"), (200, "next".to_owned()));
    assert_eq!(ask(&mut client, "POST", "/mine").0, 405);
}

#[expect(clippy::too_many_arguments, reason = "as many as there may be")]
async fn head(
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
    peer: Peer,
    missing: Option<Json<u32>>,
    refused: Result<Path<u32>, WebError>,
    body: Bytes,
) -> String {
    let (host, loopback) = (&headers["host"], peer.ip().is_some_and(|ip| ip.is_loopback()));
    let refused = refused.map_err(|e| e.status().as_u16());
    let (missing, length) = (missing.is_none(), body.len());
    format!("{method} {uri} {host:?} {query:?} {loopback} {missing} {refused:?} {length}")
}

#[test]
fn handles_take_eight_helpers() {
    let (_server, mut client) = serve(Mapper::new().post("/{id}", head));
    let expected = "POST /x?a=b \"x\" {\"a\": \"b\"} true true Err(400) 3";
    assert_eq!(post(&mut client, "/x?a=b", "text/plain", "abc"), (200, expected.to_owned()));
}

async fn double(Json(numbers): Json<Vec<u32>>) -> Json<Vec<u32>> {
    Json(numbers.into_iter().map(|number| number * 2).collect())
}

#[test]
fn json_is_read_and_checked() {
    let small = Mapper::new().max_content(8).post("/double", double);
    let any = async |_: Json<serde_json::Value>| "any";
    let mapper = Mapper::new().post("/", double).post("/any", any).nest("/small", small);
    let (_server, mut client) = serve(mapper);
    let json = "application/json";
    for (path, media_type, content, status, expected) in [
        ("/", json, "[1,2]", 200, "[2,4]"),
        ("/", "Application/JSON; charset=utf-8", "[]", 200, "[]"),
        ("/", "application/vnd.x+json", "[]", 200, "[]"),
        ("/", "text/plain", "[]", 415, "the content must be of the type application/json\n"),
        ("/small/double", json, "[1,2,34]", 200, "[2,4,68]"),
        ("/small/double", json, "[1,2,345]", 413, "the content is longer than 8 bytes\n"),
    ] {
        let expected = (status, expected.to_owned());
        assert_eq!(post(&mut client, path, media_type, content), expected, "{content}");
    }
    for (content, status) in [("[1,", 400), ("", 400), ("{}", 422), ("[-1]", 422)] {
        assert_eq!(post(&mut client, "/", json, content).0, status);
    }
    let nested = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    for (depth, status) in [(127, 200), (128, 400), (100_000, 400)] {
        assert_eq!(post(&mut client, "/any", json, &nested(depth)).0, status, "{depth}");
    }
    assert_eq!(post(&mut client, "/", json, &" ".repeat((2 << 20) + 1)).0, 413);
}

#[derive(Debug, serde::Deserialize)]
struct Order {
    item: u8,
    note: Option<String>,
    count: Option<u32>,
    #[serde(default)]
    extra: Vec<String>,
}

async fn form(Form(order): Form<Order>) -> String {
    format!("{} {:?} {:?} {:?}", order.item, order.note, order.count, order.extra)
}

async fn query(Query(order): Query<Order>) -> String {
    format!("{} {:?} {:?} {:?}", order.item, order.note, order.count, order.extra)
}

#[test]
fn forms_and_queries_are_typed() {
    let small = Mapper::new().max_content(8).post("/form", form);
    let mapper = Mapper::new().post("/form", form).get("/query", query).nest("/small", small);
    let (_server, mut client) = serve(mapper);
    let media_type = "application/x-www-form-urlencoded";
    for (content, status, expected) in [
        ("item=7", 200, "7 None None []"),
        ("extra=a+b&item=%37&note=%C3%A4&extra=c", 200, "7 Some(\"ä\") None [\"a b\", \"c\"]"),
        ("item=7&note=&count=&other=1", 200, "7 Some(\"\") None []"),
        ("item=7&count=3", 200, "7 None Some(3) []"),
    ] {
        let expected = (status, expected.to_owned());
        assert_eq!(post(&mut client, "/form", media_type, content), expected, "{content}");
        assert_eq!(ask(&mut client, "GET", &format!("/query?{content}")), expected, "{content}");
    }
    for content in ["", "note=x", "item=256", "item=x", "item=1&item=2"] {
        assert_eq!(post(&mut client, "/form", media_type, content).0, 400, "{content}");
        assert_eq!(ask(&mut client, "GET", &format!("/query?{content}")).0, 400, "{content}");
    }
    assert_eq!(post(&mut client, "/form", "text/plain", "item=7").0, 415);
    assert_eq!(post(&mut client, "/small/form", media_type, "item=7&a").0, 200);
    assert_eq!(post(&mut client, "/small/form", media_type, "item=7&ab").0, 413);
    let many = format!("item=7{}", "&a".repeat(1_000));
    assert_eq!(post(&mut client, "/form", media_type, &many).0, 413);
}

async fn parts(mut form: Multipart) -> Result<String, FormError> {
    let mut parts = String::new();
    while let Some(part) = form.next_part().await? {
        parts += &format!("{}={} ", part.name().to_owned(), part.text().await?);
    }
    Ok(parts)
}

#[test]
fn forms_come_part_by_part() {
    let (_server, mut client) = serve(Mapper::new().post("/", parts));
    let content = "--x\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n\
                   --x\r\ncontent-disposition: form-data; name=b\r\n\r\n2\r\n--x--\r\n";
    let media_type = "multipart/form-data; boundary=x";
    assert_eq!(post(&mut client, "/", media_type, content), (200, "a=1 b=2 ".to_owned()));
    assert_eq!(post(&mut client, "/", media_type, &content[..40]).0, 400);
    assert_eq!(post(&mut client, "/", "text/plain", content).0, 415);
}

fn cookies(cookies: Cookies) -> (SetCookie, String) {
    let all: Vec<_> = cookies.pairs().collect();
    let text = format!("{all:?} {:?}", cookies.value("b"));
    (SetCookie::new("c", "3").unwrap(), text)
}

#[test]
fn cookies_are_read_and_set() {
    let (_server, mut client) = serve(Mapper::new().get("/", cookies));
    client.send("GET / HTTP/1.1\r\nhost: x\r\ncookie: a=1; b=2\r\n\r\n").unwrap();
    let reply = client.read_response().unwrap();
    assert_eq!(reply.text(), "[(\"a\", \"1\"), (\"b\", \"2\")] Some(\"2\")");
    assert!(reply.header("set-cookie").unwrap().starts_with("c=3"));
}

#[test]
fn who_asks_for_sessions_where_there_are_none_is_told() {
    let (_server, mut client) = serve(Mapper::new().get("/", async |_: Session| "session"));
    assert_eq!(ask(&mut client, "GET", "/").0, 500);
}

async fn text(text: String) -> String {
    text
}

async fn stream(body: Body) -> Body {
    body
}

#[test]
fn content_is_text_bytes_or_streams() {
    let mapper = Mapper::new().max_content(4).post("/text", text).post("/stream", stream);
    let (_server, mut client) = serve(mapper);
    assert_eq!(post(&mut client, "/text", "x/y", "äö"), (200, "äö".to_owned()));
    assert_eq!(post(&mut client, "/text", "x/y", "12345").0, 413);
    // What streams is not held in memory.
    assert_eq!(post(&mut client, "/stream", "x/y", "12345"), (200, "12345".to_owned()));
    client.send("POST /text HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n\u{e4}").unwrap();
    assert_eq!(client.read_response().unwrap().status, 400);
}

/// The names of those who have come.
type Guests = Mutex<Vec<String>>;

async fn come(guests: State<Guests>, Path(name): Path<String>) -> StatusCode {
    guests.lock().unwrap().push(name);
    StatusCode::CREATED
}

fn all(guests: State<Guests>) -> Json<Vec<String>> {
    Json(guests.lock().unwrap().clone())
}

#[test]
fn each_mapper_has_its_own_state() {
    let guests = || Mapper::with_state(Guests::default()).get("/", all).put("/{name}", come);
    let mapper = Mapper::new().nest("/here", guests()).nest("/there", guests());
    let (_server, mut client) = serve(mapper);
    assert_eq!(ask(&mut client, "PUT", "/here/Ada").0, 201);
    assert_eq!(ask(&mut client, "GET", "/here"), (200, "[\"Ada\"]".to_owned()));
    assert_eq!(ask(&mut client, "GET", "/there"), (200, "[]".to_owned()));
}

/// Counts how often it is taken.
struct Turn(usize);

impl<S: Send + Sync + 'static> Extract<S> for Turn {
    type Error = WebError;

    async fn extract(req: &mut Request, _: &Matched<'_, S>) -> Result<Self, WebError> {
        // Waits, so that it would be asked for twice if it were tried at once.
        tokio::task::yield_now().await;
        let turn = req.extensions().get::<usize>().map_or(1, |turn| turn + 1);
        req.extensions().insert(turn);
        Ok(Self(turn))
    }
}

#[test]
fn a_plain_fn_may_take_what_has_to_wait() {
    let mapper =
        Mapper::new().get("/", |turn: Turn, second: Turn| format!("{} {}", turn.0, second.0));
    let (_server, mut client) = serve(mapper);
    assert_eq!(ask(&mut client, "GET", "/"), (200, "1 2".to_owned()));
}

fn fail(Path(how): Path<String>) -> Result<Html<&'static str>, WebError> {
    match &*how {
        "told" => Err(WebError::new(StatusCode::CONFLICT, "it is there already")),
        "cause" => Err("x".parse::<u32>().map(drop).unwrap_err().into()),
        "panic" => panic!("on purpose"),
        _ => Ok(Html("well")),
    }
}

#[test]
fn errors_are_answers() {
    let mapper = Mapper::new()
        .get("/misfit/{a}/{b}", async |_: Path<u32>| "")
        .get("/{how}", fail)
        .get("/to/there", || Redirect::permanent("/there"));
    let (_server, mut client) = serve(mapper);
    assert_eq!(ask(&mut client, "GET", "/x"), (200, "well".to_owned()));
    assert_eq!(ask(&mut client, "GET", "/told"), (409, "it is there already\n".to_owned()));
    let (status, page) = ask(&mut client, "GET", "/cause");
    assert_eq!(status, 500);
    assert!(!page.contains("digit"), "{page}");
    assert_eq!(ask(&mut client, "GET", "/panic").0, 500);
    assert_eq!(ask(&mut client, "GET", "/misfit/1/2").0, 500);
    assert_eq!(ask(&mut client, "GET", "/to/there").0, 308);
}

/// Answers once its life has begun.
#[derive(Default)]
struct Started(Shut);

impl Lifecycle for Started {
    async fn run(&self, cx: &Run) {
        self.0.cancel();
        cx.shut().cancelled().await;
    }
}

impl Handlet for Started {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.0.cancelled().await;
        Response::text(format!("{} runs\n", req.path())).into()
    }
}

#[test]
fn handlets_stand_at_the_ends_of_routes_and_live() {
    let inner = Mapper::new().handlet("/{*rest}", Started::default());
    let mapper = Mapper::new().nest("/started", inner).handlet("/too", Started::default());
    let (server, mut client) = serve(mapper);
    assert_eq!(ask(&mut client, "BREW", "/started/x"), (200, "/started/x runs\n".to_owned()));
    assert_eq!(ask(&mut client, "GET", "/too"), (200, "/too runs\n".to_owned()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(server.quit());
}

/// The message of a panic.
fn panic_of(make: impl FnOnce() -> Mapper + std::panic::UnwindSafe) -> String {
    let panic = std::panic::catch_unwind(make).err().unwrap();
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap()
}

/// A mapper that can't be made, and what is said of it.
type Mistake = (fn() -> Mapper, &'static str);

#[test]
fn mistakes_in_routes_are_found_at_the_start() {
    fn ok() -> &'static str {
        ""
    }
    let mistakes: [Mistake; 9] = [
        (|| Mapper::new().get("/a", ok).get("/a", ok), "two handles for GET of \"/a\""),
        (|| Mapper::new().any("/a", ok).any("/a", ok), "two handles for any method of \"/a\""),
        (|| Mapper::new().get("/{a}", ok).get("/{b}", ok), "cannot route \"/{b}\": "),
        (|| Mapper::new().get("a", ok), "the route \"a\" does not start with `/`"),
        (|| Mapper::new().get("/{a", ok), "cannot route \"/{a\": "),
        (|| Mapper::new().get(&"/{a}".repeat(9), ok), "more than 8 parameters"),
        (|| Mapper::new().nest("/x/", Mapper::new()), "cannot nest at \"/x/\""),
        (
            || Mapper::new().nest("/x", Mapper::new().get("/", ok)).get("/x", ok),
            "two handles for GET of \"/x\"",
        ),
        (
            || Mapper::new().fallback(ok).merge(Mapper::new().fallback(ok)),
            "there are two fallbacks for \"/\"",
        ),
    ];
    for (make, expected) in mistakes {
        let message = panic_of(make);
        assert!(message.contains(expected), "{message}");
    }
}
