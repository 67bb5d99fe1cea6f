//! Requests whose end is in doubt: refused, and what follows them is not run.

use crate::site::Site;

/// A request that would be run if the server took the rest of a bad one for it.
const SECOND: &str = "GET /now HTTP/1.1\r\nhost: x\r\n\r\n";

/// What stands between `POST /read HTTP/1.1` and the second request, and the status it gets.
#[rustfmt::skip]
const HEADS: &[(&str, u16)] = &[
    // lengths
    ("content-length: 5\r\ncontent-length: 5\r\n\r\nabcde", 400),
    ("content-length: 5\r\ncontent-length: 6\r\n\r\nabcde", 400),
    ("content-length: 5, 5\r\n\r\nabcde", 400),
    ("content-length: +5\r\n\r\nabcde", 400),
    ("content-length: -5\r\n\r\nabcde", 400),
    ("content-length: 0x5\r\n\r\nabcde", 400),
    ("content-length: 5 \t5\r\n\r\nabcde", 400),
    ("content-length: \r\n\r\n", 400),
    ("content-length: 18446744073709551616\r\n\r\n", 400),
    ("content-length: 99999999999999999999999\r\n\r\n", 400),
    ("content_length: 5\r\n\r\nabcde", 400),
    ("content-length : 5\r\n\r\nabcde", 400),
    // codings
    ("content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", 400),
    ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    ("transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    ("transfer-encoding: identity\r\n\r\n", 400),
    ("transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    ("transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    ("transfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400),
    ("transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 400),
    ("transfer-encoding: \r\n\r\n0\r\n\r\n", 400),
    ("transfer_encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("transfer-encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    // lines
    ("x: y\r\n folded\r\n\r\n", 400),
    ("x: y\n\r\n", 400),
    ("x: y\rz\r\n\r\n", 400),
    ("x: y\0z\r\n\r\n", 400),
    (": y\r\n\r\n", 400),
    ("no colon\r\n\r\n", 400),
    ("x y: z\r\n\r\n", 400),
    // hosts
    ("host: y\r\n\r\n", 400),
    // expectations
    ("expect: 200-ok\r\ncontent-length: 0\r\n\r\n", 417),
];

#[test]
fn a_bad_head_is_refused_and_nothing_behind_it_is_run() {
    let site = Site::with("");
    for (rest, status) in HEADS {
        let mut client = site.connect();
        client.send(format!("POST /read HTTP/1.1\r\nhost: x\r\n{rest}{SECOND}")).unwrap();
        let reply = client.read_response().unwrap_or_else(|e| panic!("{rest:?}: {e}"));
        assert_eq!(reply.status, *status, "{rest:?}");
        assert_eq!(reply.header("connection"), Some("close"), "{rest:?}");
        client.expect_close().unwrap_or_else(|e| panic!("{rest:?}: {e}"));
    }
    assert_eq!(site.counter("requests"), 0);
    assert_eq!(site.counter("bad_head"), HEADS.len() as u64);
}

/// Chunked content that is none.
#[rustfmt::skip]
const CHUNKS: &[&str] = &[
    "\r\n",
    "5\nabcde\r\n0\r\n\r\n",
    "5\r\nabcde\n0\r\n\r\n",
    "5\r\nabcdef\r\n0\r\n\r\n",
    "5\r\nabcd\r\n0\r\n\r\n",
    "0x5\r\nabcde\r\n0\r\n\r\n",
    "+5\r\nabcde\r\n0\r\n\r\n",
    " 5\r\nabcde\r\n0\r\n\r\n",
    "5;\nx\r\nabcde\r\n0\r\n\r\n",
    "5;a=\"\r\nabcde\r\n0\r\n\r\n",
    "fffffffffffffffff\r\nabcde\r\n0\r\n\r\n",
    "-1\r\nabcde\r\n0\r\n\r\n",
    "0\r\ncontent-length: 5\r\n\r\n",
    "0\r\nhost: y\r\n\r\n",
    "0\r\nno colon\r\n\r\n",
    "0\r\nx: y\n\r\n",
];

#[test]
fn bad_chunks_are_refused_whether_the_content_is_read_or_not() {
    let site = Site::with("");
    for (run, chunks) in CHUNKS.iter().enumerate() {
        for path in ["/read", "/ignore"] {
            let mut client = site.connect();
            let head = "HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked";
            client.send(format!("POST {path} {head}\r\n\r\n{chunks}{SECOND}")).unwrap();
            let reply = client.read_response().unwrap_or_else(|e| panic!("{chunks:?}: {e}"));
            assert_eq!(reply.status, 400, "{path}: {chunks:?}");
            assert_eq!(reply.header("connection"), Some("close"), "{path}: {chunks:?}");
            client.expect_close().unwrap_or_else(|e| panic!("{path}: {chunks:?}: {e}"));
        }
        assert_eq!(site.counter("requests"), 2 * (run as u64 + 1), "{chunks:?}");
    }
    assert_eq!(site.counter("bad_body"), 2 * CHUNKS.len() as u64);
}

#[test]
fn content_that_ends_early_is_refused_though_its_sender_waits_for_the_answer() {
    let site = Site::with("");
    for content in ["content-length: 5\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n5\r\nabc"] {
        let mut client = site.connect();
        client.send(format!("POST /read HTTP/1.1\r\nhost: x\r\n{content}")).unwrap();
        client.finish().unwrap();
        assert_eq!(client.read_response().unwrap().status, 400, "{content:?}");
        client.expect_close().unwrap();
    }
    assert_eq!(site.counter("bad_body"), 2);
}
