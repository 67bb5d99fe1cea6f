//! What connections below HTTP cost the process.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use hemi_test::Program;
use hemi_test::process::{raise_file_limit, resident_bytes};

use crate::cli::GOROX;

/// A router to this port, and nothing else.
fn router(node: u16) -> Program {
    let config = format!(
        r#"stage {{
            tcpxBackend "b" {{ node {{ .address = "127.0.0.1:{node}" }} }}
            tcpxRouter "r" {{ .address = "127.0.0.1:@PORT@"  case {{ tcpxProxy {{ .toBackend = "b" }} }} }}
        }}"#
    );
    Program::serve(GOROX, &config).unwrap()
}

/// A connection through a router, once both ends know each other.
fn session(router: &Program, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(router.addr()).unwrap();
    let (mut node, _) = listener.accept().unwrap();
    client.write_all(b"ping").unwrap();
    node.read_exact(&mut [0; 4]).unwrap();
    node.write_all(b"pong").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    (client, node)
}

#[test]
fn idle_sessions_hold_little() {
    raise_file_limit().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let router = router(listener.local_addr().unwrap().port());
    // The program was asked whether it listens.
    listener.accept().unwrap();
    let _warm: Vec<_> = (0..50).map(|_| session(&router, &listener)).collect();
    let before = resident_bytes(&router.pids());
    // So many that 2 MiB more or less, which the allocator has at once, matter little.
    let count = 4000;
    let _idle: Vec<_> = (0..count).map(|_| session(&router, &listener)).collect();
    let each = resident_bytes(&router.pids()).saturating_sub(before) / count;
    // Two connections, by either driver; an idle one may hold 4 KiB.
    assert!(each < 8 << 10, "{each} bytes a session");
}

#[test]
fn who_does_not_read_holds_no_more_than_a_buffer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let router = router(listener.local_addr().unwrap().port());
    listener.accept().unwrap();
    let before = resident_bytes(&router.pids());
    let (mut client, mut node) = session(&router, &listener);
    let len = 64 << 20;
    let writer = thread::spawn(move || node.write_all(&vec![b'x'; len]));
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.peek(&mut [0]).unwrap();
    assert!(!writer.is_finished(), "more than all buffers have room for was taken");
    let grown = resident_bytes(&router.pids()).saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes");
    client.read_exact(&mut vec![0; len]).unwrap();
    writer.join().unwrap().unwrap();
}
