//! The proxies to programs but for FastCGI: SCGI and the protocol of uWSGI with a program in Python, AJP with
//! Tomcat, and programs that `cgi` runs.

mod ajp;
mod cgi;
mod uwsgi;

use std::io::Read;

use hemi_test::Reply;
use hemi_test::raw::Client;
use md5::{Digest, Md5};

use crate::server::Running;

/// What a program tells of a request that it takes for JSON.
fn told(reply: &Reply) -> serde_json::Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|e| panic!("{e}: {}", reply.text()))
}

fn hex_md5(bytes: impl Iterator<Item = Vec<u8>>) -> String {
    let mut digest = Md5::new();
    bytes.for_each(|piece| digest.update(piece));
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// So many MiB that are not all the same.
fn mebibytes(count: u8) -> impl Iterator<Item = Vec<u8>> + Clone {
    (0..count).map(|n| vec![n; 1 << 20])
}

/// Posts so many MiB of content; gives the answer.
fn post(server: &Running, target: &str, count: u8) -> Reply {
    let mut client = server.connect();
    let length = usize::from(count) << 20;
    let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    client.send(head).unwrap();
    mebibytes(count).for_each(|piece| client.send(piece).unwrap());
    client.read_response().unwrap()
}

/// The same in chunks, whose end is not known beforehand.
fn post_chunked(client: &mut Client, target: &str, pieces: &[&str]) -> Reply {
    let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(head).unwrap();
    for piece in pieces {
        client.send(format!("{:x}\r\n{piece}\r\n", piece.len())).unwrap();
    }
    client.send("0\r\n\r\n").unwrap();
    client.read_response().unwrap()
}

/// Reads a file of this directory that peers are given.
fn read(name: &str) -> String {
    let mut text = String::new();
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/gateways").join(name);
    std::fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
    text
}
