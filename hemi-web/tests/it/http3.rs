//! HTTP/3 as the client of the crate `h3` speaks it, and in raw bytes over QUIC.

pub(crate) mod client;
mod clients;
mod early;
mod moves;
mod peers;
mod violations;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};

use self::client::{Client, Raw, Setting, block_on};

#[test]
fn requests_are_answered_at_once_or_later() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        let client = Client::connect(&setting, &site).await;
        for (path, text) in [
            ("/now", "now"),
            ("/wait/1", "waited"),
            ("/hints/0", "0"),
            ("/panic", "Internal Server Error"),
            ("/now/panic", "Internal Server Error"),
            ("/stream/3/4", "xxxxxxxxxxxx"),
        ] {
            let answer = client.get(path).await;
            assert!(answer.text().contains(text), "{path}: {}", answer.text());
            assert!(answer.head.headers().contains_key("date"));
            assert_eq!(answer.head.headers()["server"], "hemi");
        }
        let answer = client.get("/now").await;
        assert_eq!(answer.head.headers()["content-length"], "3");
        let answer = client.request(Request::head("https://one.test/length"), &[], None).await;
        assert_eq!(answer.head.headers()["content-length"], "1234");
        assert!(answer.content.is_empty());
        // Of what length the content would be is not known.
        let answer = client.request(Request::head("https://one.test/empty"), &[], None).await;
        assert!(!answer.head.headers().contains_key("content-length"));
        assert_eq!(client.get("/status/204").await.head.status(), 204);
        assert_eq!(client.get("/nowhere/x").await.head.status(), 404);
    });
    assert_eq!(site.counter("requests"), 11);
    assert_eq!(site.counter("panics"), 2);
}

#[test]
fn contents_of_any_size_go_both_ways() {
    let setting = Setting::new();
    let site = setting.site("");
    let file = setting.ca.dir().write("big.bin", vec![b'f'; 3 << 20]).unwrap();
    block_on(async {
        let client = Client::connect(&setting, &site).await;
        let content = Bytes::from(vec![b'u'; 5 << 20]);
        let pieces: Vec<Bytes> = content.chunks(100_000).map(Bytes::copy_from_slice).collect();
        let answer = client.post("/read", &pieces).await;
        assert_eq!(answer.text(), format!("{} bytes", 5 << 20));
        let answer = client.post("/echo", &pieces).await;
        assert_eq!(answer.content, content);
        // The answer does not wait for content that nobody reads.
        assert_eq!(client.post("/ignore", &pieces).await.text(), "ignored");
        let answer = client.get(&format!("/file{}", file.display())).await;
        assert_eq!((answer.content.len(), answer.content[77]), (3 << 20, b'f'));
        assert_eq!(client.get("/big").await.content.len(), 64 << 20);
    });
}

#[test]
fn many_requests_at_once() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        let client = Client::connect(&setting, &site).await;
        let one = |n: usize| {
            let client = client.clone();
            tokio::spawn(async move {
                let path = if n.is_multiple_of(3) { "/wait/20" } else { "/now" };
                client.get(path).await.text()
            })
        };
        let all: Vec<_> = (0..300).map(one).collect();
        for (n, one) in all.into_iter().enumerate() {
            assert_eq!(one.await.unwrap(), if n.is_multiple_of(3) { "waited" } else { "now" });
        }
    });
}

#[test]
fn trailers_go_both_ways() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        let client = Client::connect(&setting, &site).await;
        let answer = client.get("/trailers").await;
        assert_eq!(answer.text(), "xxxxxx");
        assert!(!answer.trailers.unwrap().is_empty());
        let trailers =
            HeaderMap::from_iter([("checksum".parse().unwrap(), HeaderValue::from_static("42"))]);
        let post = Request::post("https://one.test/read");
        let answer = client.request(post, &[Bytes::from_static(b"abc")], Some(trailers)).await;
        assert_eq!(answer.text(), "3 bytes, {\"checksum\": \"42\"}");
    });
}

#[test]
fn answers_that_break_off_do_not_look_whole() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        let client = Client::connect(&setting, &site).await;
        for path in ["/fails", "/long", "/short", "/panic/streaming"] {
            let request = Request::get(format!("https://one.test{path}"));
            assert!(client.try_request(request, &[], None).await.is_err(), "{path}");
        }
        // The connection is not concerned.
        assert_eq!(client.get("/now").await.text(), "now");
    });
}

#[test]
fn answers_that_nobody_waits_for_are_given_up() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        let client = Client::connect(&setting, &site).await;
        for path in ["/wait/600000", "/never"] {
            let task = tokio::spawn({
                let client = client.clone();
                async move { client.get(path).await }
            });
            // It has arrived before this one is answered.
            assert_eq!(client.get("/wait/1").await.text(), "waited");
            task.abort();
        }
        client.quic.close(0u32.into(), b"");
        client.endpoint.wait_idle().await;
    });
    site.expect_idle();
}

#[test]
fn a_request_may_end_after_its_answer() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        let client = Raw::connect(&setting, site.addr()).await;
        let _control = client.say(&[0x00, 0x04, 0x00]).await;
        for ends in [true, false] {
            let (mut send, mut recv) = client.quic.open_bi().await.unwrap();
            send.write_all(&get("/now", "")).await.unwrap();
            assert!(recv.read_to_end(1 << 10).await.unwrap().ends_with(b"now"));
            if ends {
                send.finish().unwrap();
            }
            // One that does not end is told in the end that nobody listens.
            let stopped = (!ends).then_some(0x100u32.into());
            assert_eq!(send.stopped().await.unwrap(), stopped);
        }
    });
}

/// A GET by the static table, with a `priority`.
fn get(path: &str, priority: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let lines = [&b"\0\0\xd1\xd7\x50"[..], &text("one.test"), b"\x51", &text(path)].concat();
    let lines = [&lines[..], b"\x27\x01priority", &text(priority)].concat();
    [&[1, lines.len() as u8], &lines[..]].concat()
}

#[test]
fn what_can_be_used_in_parts_shares_the_connection() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        let client = Raw::connect(&setting, site.addr()).await;
        let _control = client.say(&[0x00, 0x04, 0x00]).await;
        // Whether the first of two answers is there before anything of the second.
        let whole = async |priority: &str| {
            let (mut one, mut first) = client.quic.open_bi().await.unwrap();
            let (mut two, mut second) = client.quic.open_bi().await.unwrap();
            for send in [&mut one, &mut two] {
                send.write_all(&get("/stream/1/300000", priority)).await.unwrap();
                send.finish().unwrap();
            }
            let (mut buf, mut early) = ([0; 4 << 10], [0; 1]);
            loop {
                tokio::select! {
                    biased;
                    read = first.read(&mut buf) => if read.unwrap().is_none() { return true },
                    read = second.read(&mut early) => {
                        read.unwrap();
                        return false;
                    }
                }
            }
        };
        // A packet may be lost, and what comes early then tells nothing.
        let mut tries = 0;
        while !whole("u=3").await {
            tries += 1;
            assert!(tries < 20);
        }
        while whole("u=3, i").await {
            tries += 1;
            assert!(tries < 20);
        }
    });
}

#[test]
fn what_a_request_may_not_be_has_its_status() {
    let setting = Setting::new();
    let site = setting.site(".maxTargetSize = 1K");
    block_on(async {
        let client = Client::connect(&setting, &site).await;
        let long = "x".repeat(1500);
        assert_eq!(client.get(&format!("/{long}")).await.head.status(), 414);
        let other = Request::get("https://nobody.test/now");
        assert_eq!(client.request(other, &[], None).await.head.status(), 404);
        let other = Request::get("https://small.test/now");
        assert_eq!(client.request(other, &[], None).await.head.status(), 421);
        let dots = Request::get("https://one.test/../../x");
        assert_eq!(client.request(dots, &[], None).await.head.status(), 400);
        let pieces = [Bytes::from(vec![0; 1 << 20])];
        assert_eq!(client.get("/now").await.text(), "now");
        let small = Client::connect_to("small.test", &setting, &site).await;
        let too_much = || Request::post("https://small.test/read");
        let told = too_much().header("content-length", 1 << 20);
        assert_eq!(small.request(told, &pieces, None).await.head.status(), 413);
        assert_eq!(small.request(too_much(), &pieces, None).await.head.status(), 413);
    });
    assert_eq!(site.counter("target_size"), 1);
    assert_eq!(site.counter("misdirected"), 1);
}

#[test]
fn clients_prove_their_address_when_many_shake_hands() {
    let setting = Setting::new();
    let site = setting.site(".quicRetryAbove = 0");
    block_on(async {
        let client = Client::connect(&setting, &site).await;
        assert_eq!(client.get("/now").await.text(), "now");
    });
}

#[test]
fn who_is_slow_is_not_waited_for() {
    let setting = Setting::new();
    let site = setting.site(".headTimeout = 200ms  .bodyTimeout = 200ms  .idleTimeout = 1s");
    block_on(async {
        let client = Client::connect(&setting, &site).await;
        // A head that does not come whole.
        let (mut send, mut recv) = client.quic.open_bi().await.unwrap();
        send.write_all(&[0x01, 40, 0]).await.unwrap();
        let reset = recv.read_to_end(100).await.unwrap_err();
        assert!(format!("{reset:?}").contains("Reset"), "{reset:?}");
        // Content that does not come.
        let answer = client.post_unfinished("/read", b"abc").await;
        assert_eq!(answer.head.status(), 408);
        // A connection on which nothing comes.
        let closed = client.quic.closed().await;
        assert!(format!("{closed:?}").contains("256"), "{closed:?}");
    });
    assert_eq!(site.counter("head_timeout"), 1);
    assert_eq!(site.counter("body_timeout"), 1);
    assert_eq!(site.counter("idle_timeout"), 1);
}

#[test]
fn a_server_over_tcp_announces_it() {
    let setting = Setting::new();
    let site = setting.site(".altSvcMaxAge = 1h");
    let config = std::sync::Arc::new(setting.ca.trusted_by(&[&rustls::version::TLS13], None));
    let mut client = hemi_test::raw::Client::connect_tls(site.addr(), "one.test", &config).unwrap();
    client.send("GET /now HTTP/1.1\r\nhost: one.test\r\n\r\n").unwrap();
    let reply = client.read_response().unwrap();
    let announced = format!("h3=\":{}\"; ma=3600", site.addr().port());
    assert_eq!((reply.status, reply.header("alt-svc")), (200, Some(&*announced)));
}
