//! Stages in code: all that a config can say of a webapp, and what only code can.

use std::sync::{Arc, Mutex};

use hemi_core::{Lifecycle, Run, Shut};
use hemi_test::Site;
use hemi_test::raw::Client;
use hemi_web::testing::Server;
use hemi_web::{Mapper, Reply, Request, Response, Reviser, Rule, Socklet, StatusPattern, Webapp};
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use tokio::io::AsyncWriteExt;

/// Says in a field of requests and answers who it is.
struct Mark(u8, &'static str);

const MARKS: HeaderName = HeaderName::from_static("x-marks");

impl Lifecycle for Mark {}

impl Reviser for Mark {
    fn rank(&self) -> u8 {
        self.0
    }

    fn request(&self, req: &mut Request) {
        req.headers_mut().append(MARKS, HeaderValue::from_static(self.1));
    }

    fn response(&self, _: &Request, response: &mut Response) {
        response.headers_mut().append(MARKS, HeaderValue::from_static(self.1));
    }
}

/// Takes connections over, and says goodbye.
struct Goodbye;

impl Lifecycle for Goodbye {}

impl Socklet for Goodbye {
    async fn accept(&self, _: &mut Request) -> Reply {
        let upgrade = Response::upgrade(async |mut upgraded| {
            let _ = upgraded.write_all(b"goodbye").await;
        });
        upgrade.field(http::header::UPGRADE, HeaderValue::from_static("bye")).into()
    }
}

fn marks(req: &mut Request) -> Vec<String> {
    let marks = req.headers().get_all(MARKS);
    marks.iter().map(|mark| mark.to_str().unwrap().to_owned()).collect()
}

/// Shows the marks that a request has.
struct Show;

impl Lifecycle for Show {}

impl hemi_web::Handlet for Show {
    async fn handle(&self, req: &mut Request) -> Reply {
        marks(req).join(",").into()
    }
}

#[test]
fn rules_have_all_kinds_of_parts() {
    let site = Site::new().unwrap().file("gone.txt", "all gone").unwrap();
    let revised = Rule::new()
        .when(|req| req.path() == "/revised")
        .reviser(Mark(20, "second"))
        .reviser(Mark(10, "first"))
        .handlet(Show);
    let upgraded = Rule::new().when(|req| req.wants_upgrade()).socklet(Goodbye);
    let both = Rule::new()
        .when(|req| req.path().starts_with("/a"))
        .when(|req| req.path().ends_with("/b"))
        .answer(StatusCode::GONE);
    let webapp = Webapp::new("w")
        .web_root(site.root())
        .error_page("410".parse::<StatusPattern>().unwrap(), "gone.txt")
        .max_body_size(4)
        .reviser(Mark(0, "all"))
        .rule(revised.unlogged())
        .rule(upgraded)
        .rule(both)
        .rule(Rule::new().handlet(Mapper::new().post("/", async |text: String| text)));
    let server = Server::start(webapp).unwrap();
    let mut client = Client::connect(server.address()).unwrap();
    let mut ask = |request: &str| {
        client.send(request.replace("HTTP", "HTTP/1.1\r\nhost: x")).unwrap();
        client.read_response().unwrap()
    };
    let reply = ask("GET /revised HTTP\r\n\r\n");
    assert_eq!(reply.text(), "all,first,second");
    assert_eq!(reply.header_values("x-marks").collect::<Vec<_>>(), ["first", "second", "all"]);
    assert_eq!(ask("GET /a/b HTTP\r\n\r\n").status, 410);
    assert_eq!(ask("GET /a/b HTTP\r\n\r\n").text(), "all gone");
    assert_eq!(ask("GET /a/c HTTP\r\n\r\n").status, 404);
    assert_eq!(ask("POST / HTTP\r\ncontent-length: 4\r\n\r\n1234").text(), "1234");
    assert_eq!(ask("POST / HTTP\r\ncontent-length: 5\r\n\r\n12345").status, 413);
    let mut client = Client::connect(server.address()).unwrap();
    client
        .send("GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: bye\r\n\r\n")
        .unwrap();
    let all = client.read_to_end().unwrap();
    assert!(all.starts_with(b"HTTP/1.1 101 ") && all.ends_with(b"goodbye"));
}

#[tokio::test]
async fn tasks_end_after_the_servers() {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let (begun, held) = (Shut::new(), Shut::new());
    let task = {
        let (steps, begun) = (steps.clone(), begun.clone());
        move |run: Run| {
            let (steps, begun) = (steps.clone(), begun.clone());
            async move {
                begun.cancel();
                run.shut().cancelled().await;
                steps.lock().unwrap().push("task");
            }
        }
    };
    let answered = {
        let (steps, held) = (steps.clone(), held.clone());
        move || {
            let (steps, held) = (steps.clone(), held.clone());
            async move {
                held.cancelled().await;
                steps.lock().unwrap().push("answer");
                "answer"
            }
        }
    };
    let mapper = Mapper::new().get("/", answered);
    let server =
        Server::start(Webapp::new("w").rule(Rule::new().handlet(mapper)).task(task)).unwrap();
    begun.cancelled().await;
    let mut client = Client::connect(server.address()).unwrap();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let quit = tokio::spawn(server.quit());
    held.cancel();
    quit.await.unwrap();
    let answered = client.read_response().is_ok();
    // Whether the request was there before the server drained is not for this test to say.
    let expected: &[&str] = if answered { &["answer", "task"] } else { &["task"] };
    assert_eq!(*steps.lock().unwrap(), expected);
}
