//! Clients that do not speak TLS as they should.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection};

use super::{Setting, connect, get};
use crate::site::{PATIENCE, Site};

/// What a client says first.
fn hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let mut tls = ClientConnection::new(config.clone(), "one.test".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    hello
}

/// Sends this and no more, and reads what comes until the end.
fn send_only(site: &Site, bytes: &[u8]) {
    let mut stream = TcpStream::connect(site.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may have closed already.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(e) => assert_eq!(e.kind(), io::ErrorKind::ConnectionReset, "{e}"),
    }
}

/// A stream whose bytes leave one by one.
struct OneByOne(TcpStream);

impl Read for OneByOne {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for OneByOne {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(&buf[..buf.len().min(1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection whose handshake is done, with its socket at hand.
fn shaken(site: &Site, config: &Arc<ClientConfig>) -> (ClientConnection, OneByOne) {
    let mut tls = ClientConnection::new(config.clone(), "one.test".try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(site.addr()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = OneByOne(stream);
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).unwrap();
    }
    (tls, stream)
}

#[test]
fn hellos_that_are_changed_or_cut_end_their_connection_only() {
    let setting = Setting::new();
    let site = setting.site("", "");
    let (config, mut connections) = (setting.client(), 0);
    let good = hello(&config);
    for at in 0..good.len().min(300) {
        for change in [0x01, 0x10, 0x80, 0xff] {
            let mut hello = good.clone();
            hello[at] ^= change;
            send_only(&site, &hello);
            connections += 1;
        }
        send_only(&site, &good[..at]);
        connections += 1;
    }
    assert!(connections > 1000);
    assert_eq!(get(&mut connect(&site, "one.test", &config), "one.test", "/now").0, 200);
    site.expect_idle();
}

#[test]
fn a_handshake_byte_by_byte_is_one() {
    let setting = Setting::new();
    let site = setting.site("", "");
    let (mut tls, mut stream) = shaken(&site, &setting.client());
    let mut both = rustls::Stream::new(&mut tls, &mut stream);
    // Keys may change at any time, and the server's with them.
    for _ in 0..8 {
        both.conn.refresh_traffic_keys().unwrap();
        both.write_all(b"GET /now HTTP/1.1\r\nhost: one.test\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"now") {
            let mut piece = [0; 1000];
            let got = both.read(&mut piece).unwrap();
            assert_ne!(got, 0, "{:?}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&piece[..got]);
        }
    }
}

#[test]
fn records_that_are_forged_end_the_connection() {
    let setting = Setting::new();
    let site = setting.site("", "");
    let sealed = [&[0x17, 3, 3, 0, 40][..], &[7; 40]].concat();
    let plain = b"\x17\x03\x03\x00\x05hello".to_vec();
    let handshake = [&[0x16, 3, 3, 0, 4][..], &[1, 0, 0, 0]].concat();
    let alert = [0x15, 3, 3, 0, 2, 1, 0].to_vec();
    let endless = [0x17, 3, 3, 0xff, 0xff].to_vec();
    for forged in [sealed, plain, handshake, alert, endless] {
        let (mut tls, mut stream) = shaken(&site, &setting.client());
        stream.0.write_all(&forged).unwrap();
        let ended = loop {
            match tls.complete_io(&mut stream) {
                Ok((0, 0)) => break "end".to_owned(),
                Ok(_) => {}
                Err(e) => break e.to_string(),
            }
        };
        // At most an alert came, and no answer.
        assert_eq!(tls.reader().read(&mut [0]).ok().unwrap_or(0), 0, "{ended}");
    }
    site.expect_idle();
}

#[test]
fn a_slow_reader_is_waited_for_and_then_cut() {
    let setting = Setting::new();
    let site = setting.site(".sendTimeout = 300ms  .minRate = 0", "");
    let (mut tls, mut stream) = shaken(&site, &setting.client());
    let size = 64 << 20;
    let head = format!("POST /echo HTTP/1.1\r\nhost: one.test\r\ncontent-length: {size}\r\n\r\n");
    tls.writer().write_all(head.as_bytes()).unwrap();
    let _ = tls.write_tls(&mut stream.0);
    // Sends until the server, whose answer nobody reads, stops reading too.
    stream.0.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let piece = vec![b'x'; 16 << 10];
    while tls.writer().write_all(&piece).is_ok() {
        if tls.write_tls(&mut stream.0).is_err() {
            break;
        }
    }
    site.expect_counter("send_timeout", 1);
    site.expect_idle();
}
