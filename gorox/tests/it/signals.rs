//! The end by a signal.

use hemi_test::{Program, Signal, Site, eventually};

use crate::cli::GOROX;
use crate::pong::{PATIENCE, ping, pong};

fn files(site: &Site) -> Program {
    let config = format!(
        r#"stage {{
            webapp "files" {{ .hostnames = ("*")  .webRoot = "{}"  rule {{ static {{}} }} }}
            httpxServer "main" {{ .address = "127.0.0.1:@PORT@"  .webapps = ("files") }}
        }}"#,
        site.root().display()
    );
    Program::serve(GOROX, &config).unwrap()
}

#[test]
fn a_download_is_completed_before_the_program_ends() {
    let site = Site::new().unwrap().sparse_file("f", 64 << 20).unwrap();
    let mut gorox = files(&site);
    let mut client = gorox.connect().unwrap().with_timeout(PATIENCE);
    client.send("GET /f HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(client.wait(PATIENCE));
    gorox.signal(Signal::TERM).unwrap();
    assert!(eventually(PATIENCE, || gorox.connect().is_err()));
    assert_eq!(client.read_response().unwrap().body.len(), 64 << 20);
    client.expect_close().unwrap();
    assert_eq!(gorox.wait(PATIENCE).unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let site = Site::new().unwrap().sparse_file("f", 1 << 30).unwrap();
    let mut gorox = files(&site);
    let mut client = gorox.connect().unwrap();
    client.send("GET /f HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(client.wait(PATIENCE));
    gorox.signal(Signal::INT).unwrap();
    assert!(eventually(PATIENCE, || gorox.stderr().contains("draining")));
    gorox.signal(Signal::INT).unwrap();
    assert_eq!(gorox.wait(PATIENCE).unwrap().code(), Some(0));
}

#[test]
fn idle_clients_do_not_delay_the_end() {
    let mut gorox = Program::serve(GOROX, &pong("")).unwrap();
    let mut clients = [gorox.connect().unwrap(), gorox.connect().unwrap()];
    clients.iter_mut().for_each(ping);
    gorox.signal(Signal::TERM).unwrap();
    assert_eq!(gorox.wait(PATIENCE).unwrap().code(), Some(0));
    for client in &mut clients {
        client.expect_close().unwrap();
    }
}
