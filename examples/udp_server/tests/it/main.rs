//! The program starts, answers and ends.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::time::Duration;

use hemi_test::{Program, Signal, poll};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn it_shouts_until_ctrl_c() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let addr = format!("127.0.0.1:{port}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_udp_server"));
    command.arg(&addr);
    // No TCP port of its own could be waited for.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut program = Program::start(command, listener.local_addr().unwrap()).unwrap();
    // Several, for the cores have each their share of the sources.
    for number in 0..8 {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(&addr).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut buf = [0; 64];
        // Until it has started, what is sent is lost.
        let answered = poll(PATIENCE, || {
            client.send(format!("hello {number}").as_bytes()).ok()?;
            client.recv(&mut buf).ok()
        });
        let length = answered.unwrap_or_else(|| panic!("no answer; {}", program.stderr()));
        assert_eq!(buf[..length], *format!("HELLO {number}").as_bytes());
    }
    program.signal(Signal::TERM).unwrap();
    assert_eq!(program.wait(PATIENCE).unwrap().code(), Some(0));
    UdpSocket::bind(&addr).unwrap();
}
