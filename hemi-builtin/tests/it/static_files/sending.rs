//! Files that change while they are sent.

use std::fs::File;
use std::io::{ErrorKind, Write};

use hemi_test::Site;
use hemi_test::raw::TIMEOUT;

use super::serve;

/// More than what fits between the file and its reader.
const SIZE: u64 = 32 << 20;

#[test]
fn what_becomes_shorter_ends_the_connection_and_is_not_padded() {
    let files = Site::new().unwrap().sparse_file("large.bin", SIZE).unwrap();
    let server = serve(&files);
    for line in ["A: b", "Range: bytes=0-14999999,16000000-"] {
        let file = File::options().write(true).open(files.root().join("large.bin")).unwrap();
        file.set_len(SIZE).unwrap();
        let mut client = server.connect();
        client.send(format!("GET /large.bin HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")).unwrap();
        assert!(client.wait(TIMEOUT));
        file.set_len(SIZE / 4).unwrap();
        // An end, or a reset.
        let rest = match client.read_to_end() {
            Err(e) if e.kind() == ErrorKind::ConnectionReset => 0,
            ended => ended.unwrap().len() as u64,
        };
        assert!(rest < SIZE / 2, "{rest}");
    }
}

#[test]
fn what_becomes_longer_is_sent_as_long_as_was_said() {
    let files = Site::new().unwrap().sparse_file("large.bin", SIZE).unwrap();
    let server = serve(&files);
    let mut client = server.connect();
    client.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2)).unwrap();
    assert!(client.wait(TIMEOUT));
    let mut file = File::options().append(true).open(files.root().join("large.bin")).unwrap();
    file.write_all(b"more").unwrap();
    // The second answer begins where the first one ends.
    let head = client.read_exact(1000).unwrap();
    let end = head.windows(4).position(|at| at == b"\r\n\r\n").unwrap() + 4;
    client.read_exact(SIZE as usize + end - 1000).unwrap();
    assert_eq!(client.read_exact(12).unwrap(), b"HTTP/1.1 200");
}
