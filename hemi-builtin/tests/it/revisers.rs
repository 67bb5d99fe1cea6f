//! Revisers.

mod compression;
mod content;
mod gunzip;
mod ssi;
mod streams;

use std::io::Read as _;

use hemi_test::Reply;
use hemi_test::raw::Client;
use zlib_rs::{Inflate, InflateFlush, Status};

use crate::server::Running;

/// Sends content to the mirror, with these field lines too.
fn mirror(server: &Running, content: &[u8], lines: &[&str]) -> Reply {
    ask(&mut server.connect(), "POST", content, lines)
}

fn ask(client: &mut Client, method: &str, content: &[u8], lines: &[&str]) -> Reply {
    let mut request =
        format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n", content.len());
    for line in lines {
        request += &format!("{line}\r\n");
    }
    client.send([request.as_bytes(), b"\r\n", content].concat()).unwrap();
    match method {
        "HEAD" => client.read_response_to_head().unwrap(),
        _ => client.read_response().unwrap_or_else(|e| panic!("{lines:?}: {e}")),
    }
}

/// The content of an answer without its coding.
fn decoded(reply: &Reply) -> Vec<u8> {
    match reply.header("content-encoding") {
        None => reply.body.clone(),
        Some("gzip") => gunzip(&reply.body),
        Some("br") => {
            let mut out = Vec::new();
            brotli::Decompressor::new(&*reply.body, 4096).read_to_end(&mut out).unwrap();
            out
        }
        Some("zstd") => {
            let mut out = vec![0; 32 << 20];
            let len = zstd_safe::decompress(&mut out[..], &reply.body).unwrap();
            out.truncate(len);
            out
        }
        other => panic!("no such coding: {other:?}"),
    }
}

/// All of a gzip file, which must end where the bytes do.
pub(crate) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut inflate = Inflate::new(true, 31);
    let mut out = vec![0; 32 << 20];
    let status = inflate.decompress(bytes, &mut out, InflateFlush::Finish).unwrap();
    assert!(matches!(status, Status::StreamEnd), "{status:?} of {} bytes", bytes.len());
    assert_eq!(inflate.total_in(), bytes.len() as u64);
    out.truncate(inflate.total_out() as usize);
    out
}

/// Text that can be compressed, but not to nothing.
fn text(len: usize) -> Vec<u8> {
    let mut seed = 1u32;
    let words = ["lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "<p>", "</p>", "\n"];
    let mut text = Vec::with_capacity(len + 16);
    while text.len() < len {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(words[(seed >> 16) as usize % words.len()].as_bytes());
        text.extend_from_slice(format!(" {} ", seed >> 24).as_bytes());
    }
    text.truncate(len);
    text
}

/// A gzip file with this content.
fn gzip(content: &[u8]) -> Vec<u8> {
    let mut deflate = zlib_rs::Deflate::new(9, true, 31);
    let mut out = vec![0; content.len() / 2 + 100_000];
    let status = deflate.compress(content, &mut out, zlib_rs::DeflateFlush::Finish).unwrap();
    assert!(matches!(status, Status::StreamEnd));
    out.truncate(deflate.total_out() as usize);
    out
}
