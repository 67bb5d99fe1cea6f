//! `gunzip`: contents that come compressed, and bombs among them.

use hemi_test::Reply;

use super::{gunzip, gzip, mirror, text};
use crate::server::{Running, site};

const GZIPPED: &str = "Content-Encoding: gzip";
const WHOLE: &str = "Whole: 1";

fn mirrored(properties: &str) -> Running {
    site("", &format!("rule {{ mirror {{}} gunzip {{ {properties} }} }}"))
}

#[test]
fn handlets_see_what_was_compressed() {
    let (server, content) = (mirrored(""), text(300_000));
    let halves = [gzip(&content[..100_000]), gzip(&content[100_000..])].concat();
    for packed in [gzip(&content), halves] {
        for lines in [vec![GZIPPED, WHOLE], vec!["Content-Encoding: X-GZip"]] {
            let reply = mirror(&server, &packed, &lines);
            assert!(reply.status == 200 && reply.body == content, "{lines:?} {}", reply.status);
            assert_eq!(reply.header("seen-content-encoding"), None);
            assert_eq!(reply.header("seen-content-length"), None);
        }
    }
    for coding in ["br", "gzip, br", "gzip, gzip", "identity"] {
        let reply = mirror(&server, b"as it is", &[&format!("Content-Encoding: {coding}"), WHOLE]);
        assert_eq!(reply.text(), "as it is");
        assert_eq!(reply.header("seen-content-encoding"), Some(coding));
    }
    assert_eq!(mirror(&server, b"", &[GZIPPED, WHOLE]).status, 200);
    assert_eq!(mirror(&server, b"plain", &[WHOLE]).text(), "plain");
}

#[test]
fn bombs_do_not_go_off() {
    // 64 MiB of zeros in 64 KiB, and once more packed.
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 70_000);
    for (properties, content) in [
        ("", &bomb),
        (".maxRatio = 2000", &bomb),
        (".maxSize = 1G", &bomb),
        (".maxSize = 1000", &gzip(&text(1001))),
    ] {
        let server = mirrored(properties);
        let reply = mirror(&server, content, &[GZIPPED, WHOLE]);
        assert_eq!(reply.status, 413, "{properties}");
        // One who passes the content on has sent a head by then.
        let mut client = server.connect();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            content.len()
        );
        client.send([head.as_bytes(), content].concat()).unwrap();
        assert!(client.read_response().is_err(), "{properties}");
    }
    let server = mirrored(".maxSize = 1000");
    assert_eq!(mirror(&server, &gzip(&text(1000)), &[GZIPPED, WHOLE]).body, text(1000));
    // What is no longer than a MiB may be of any ratio.
    let server = mirrored(".maxRatio = 1");
    assert_eq!(mirror(&server, &gzip(&vec![0; 1 << 20]), &[GZIPPED, WHOLE]).body.len(), 1 << 20);
    assert_eq!(mirror(&server, &gzip(&vec![0; (1 << 20) + 1]), &[GZIPPED, WHOLE]).status, 413);
}

#[test]
fn what_is_no_gzip_is_answered_400() {
    let server = mirrored("");
    let packed = gzip(&text(1000));
    let mut wrong_sum = packed.clone();
    let at = wrong_sum.len() - 8;
    wrong_sum[at] ^= 1;
    for content in [
        b"plain text".to_vec(),
        packed[..packed.len() - 1].to_vec(),
        packed[..5].to_vec(),
        [&packed[..], b"tail"].concat(),
        wrong_sum,
    ] {
        assert_eq!(mirror(&server, &content, &[GZIPPED, WHOLE]).status, 400);
    }
}

#[test]
fn answers_are_decompressed_for_those_that_do_not_take_gzip() {
    let (server, content) = (mirrored(""), text(100_000));
    let packed = gzip(&content);
    let ask = |lines: &[&str], packed: &[u8]| -> Reply {
        let fields =
            ["Reply-Content-Encoding: gzip", "Reply-ETag: \"a\"", "Reply-Accept-Ranges: bytes"];
        mirror(&server, packed, &[&fields, lines].concat())
    };
    for lines in [&[][..], &["Accept-Encoding: br"], &["Accept-Encoding: gzip;q=0"]] {
        let reply = ask(lines, &packed);
        assert!(reply.body == content, "{lines:?}");
        for name in ["content-encoding", "accept-ranges"] {
            assert_eq!(reply.header(name), None);
        }
        assert_eq!(
            (reply.header("etag"), reply.header("vary")),
            (Some("W/\"a\""), Some("accept-encoding"))
        );
    }
    for lines in [&["Accept-Encoding: gzip"][..], &["Reply-Cache-Control: no-transform"]] {
        let reply = ask(lines, &packed);
        assert_eq!(
            (reply.header("content-encoding"), reply.header("etag")),
            (Some("gzip"), Some("\"a\""))
        );
        assert!(gunzip(&reply.body) == content);
    }
    // Bombs of those who answer are no better.
    let bomb = gzip(&vec![0; 8 << 20]);
    let mut client = server.connect();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nReply-Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        bomb.len()
    );
    client.send([head.as_bytes(), &bomb].concat()).unwrap();
    assert!(client.read_response().is_err());
}
