//! Several ranges in one answer (RFC 9110, 14.6).

use std::process::Command;

use hemi_test::{Reply, Site, peer};

use super::{serve, serve_with};

/// Bytes of which no two in a row are the same, nor any eight.
fn bytes(size: usize) -> Vec<u8> {
    (0..size as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

/// The parts of a multipart answer: what their heads say, and their contents.
fn parts(reply: &Reply) -> Vec<(String, String, Vec<u8>)> {
    let media_type = reply.header("content-type").unwrap();
    let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert_eq!(boundary.len(), 32, "{boundary}");
    assert_eq!(reply.header("content-length"), Some(&*reply.body.len().to_string()));
    let mut rest = &reply.body[..];
    let mut take = |text: &[u8]| rest = rest.strip_prefix(text).expect("as the RFC has it");
    take(format!("--{boundary}").as_bytes());
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let mut parts = Vec::new();
    while rest != b"--\r\n" {
        let end = rest.windows(delimiter.len()).position(|at| at == delimiter).unwrap();
        let (part, after) = rest.split_at(end);
        rest = &after[delimiter.len()..];
        let content = part.windows(4).position(|at| at == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(part[..content].to_vec()).unwrap();
        let lines: Vec<&str> = head.trim().lines().collect();
        let [media_type, range] = lines[..] else { panic!("{lines:?}") };
        parts.push((media_type.to_owned(), range.to_owned(), part[content..].to_vec()));
    }
    parts
}

#[test]
fn each_part_says_where_it_belongs() {
    let bytes = bytes(100_000);
    let files = Site::new().unwrap().file("a.txt", &bytes).unwrap();
    // In memory, and by reference.
    for small in ["128K", "5"] {
        let server = serve_with(&files, &format!("fcache {{ .smallFileSize = {small} }}"), "");
        for (ranges, expected) in [
            ("0-0,5-9", &[0..1, 5..10][..]),
            ("90000-,0-9", &[90_000..100_000, 0..10]),
            ("-1,0-0", &[99_999..100_000, 0..1]),
            ("0-9, 20-29, 40-49,1000000-", &[0..10, 20..30, 40..50]),
            ("0-9,20-29,5-14", &[0..15, 20..30]),
            ("1-40000,50000-90000", &[1..40_001, 50_000..90_001]),
        ] {
            let reply = server.ask("GET", "/a.txt", &[&format!("Range: bytes={ranges}")]);
            assert_eq!((reply.status, reply.header("content-range")), (206, None), "{ranges}");
            for name in ["etag", "last-modified", "accept-ranges"] {
                assert!(reply.header(name).is_some(), "{name}, {ranges}");
            }
            let parts = parts(&reply);
            assert_eq!(parts.len(), expected.len(), "{ranges}");
            for ((media_type, place, content), range) in parts.iter().zip(expected) {
                assert_eq!(media_type, "content-type: text/plain; charset=utf-8");
                let (first, last) = (range.start, range.end - 1);
                assert_eq!(*place, format!("content-range: bytes {first}-{last}/100000"));
                assert!(*content == bytes[range.clone()], "other bytes, {ranges}");
            }
        }
    }
}

#[test]
fn the_connection_goes_on_after_parts_of_a_file() {
    let bytes = bytes(3 << 20);
    let files = Site::new().unwrap().file("a.bin", &bytes).unwrap();
    let server = serve(&files);
    let mut client = server.connect();
    for _ in 0..3 {
        let request = "GET /a.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1048575,2097152-\r\n\r\n";
        client.send(request.repeat(2)).unwrap();
        for _ in 0..2 {
            let parts = parts(&client.read_response().unwrap());
            assert!(parts[0].2 == bytes[..1 << 20] && parts[1].2 == bytes[2 << 20..]);
        }
    }
    let first = server.ask("GET", "/a.bin", &["Range: bytes=0-0,9-9"]);
    let second = server.ask("GET", "/a.bin", &["Range: bytes=0-0,9-9"]);
    assert_ne!(first.header("content-type"), second.header("content-type"));
}

#[test]
fn no_more_is_sent_than_the_whole() {
    let files = Site::new().unwrap().file("a.bin", bytes(5000)).unwrap();
    let server = serve(&files);
    let many = |count: usize, step: usize| {
        let ranges = (0..count).map(|at| format!("{}-{}", at * step, at * step));
        ranges.collect::<Vec<_>>().join(",")
    };
    for (ranges, status) in [
        // Sixteen, at most.
        (many(16, 2), 206),
        (many(17, 2), 200),
        // All but a few bytes: the heads of the parts weigh more.
        ("0-2499,2550-".to_owned(), 200),
        ("0-2000,3000-".to_owned(), 206),
        // More than two overlap.
        ("0-,0-,0-,0-".to_owned(), 200),
        (vec!["0-4998"; 16].join(","), 200),
    ] {
        let reply = server.ask("GET", "/a.bin", &[&format!("Range: bytes={ranges}")]);
        assert_eq!(reply.status, status, "{ranges}");
        assert!(reply.body.len() <= 5000, "{ranges}: {}", reply.body.len());
    }
}

#[test]
fn curl_gets_several_ranges() {
    let Some(curl) = peer("curl") else { return };
    let files = Site::new().unwrap().file("a.txt", "0123456789".repeat(100)).unwrap();
    let server = serve(&files);
    let url = format!("http://{}/a.txt", server.addr());
    let output = Command::new(curl).args(["-sSi", "-r", "0-4,995-", &url]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("HTTP/1.1 206 "), "{text}");
    assert!(text.contains("\r\n\r\n01234\r\n--") && text.contains("\r\n\r\n56789\r\n--"), "{text}");
}
