//! What a service manager hears, and the sockets that it hands over.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use hemi_test::peer::peer;
use hemi_test::raw::Client;
use hemi_test::{Program, Signal, TempDir, free_port};

use crate::cli::GOROX;
use crate::pong::{PATIENCE, ping, pong};

/// The service manager's side of sd_notify(3).
struct Manager {
    socket: UnixDatagram,
    dir: TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, dir }
    }

    fn start(&self, config: &str, watchdog: Duration, args: &[&str]) -> Program {
        let port = free_port().unwrap();
        let file =
            self.dir.write("test.conf", config.replace("@PORT@", &port.to_string())).unwrap();
        let mut command = Command::new(GOROX);
        command.args(["serve", "--config"]).arg(file).arg("--var-dir").arg(self.dir.path());
        command.args(args).env("NOTIFY_SOCKET", self.dir.path().join("notify"));
        command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        Program::start(command, ([127, 0, 0, 1], port).into()).unwrap()
    }

    /// What it hears next that begins with this.
    fn hear(&self, beginning: &str) -> String {
        let mut buffer = [0; 1024];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap();
            let message = std::str::from_utf8(&buffer[..length]).unwrap();
            if message.starts_with(beginning) {
                return message.to_owned();
            }
        }
    }
}

#[test]
fn the_service_manager_hears_how_it_is() {
    hears_how_it_is(&[]);
}

#[test]
fn the_service_manager_hears_of_a_single_process_too() {
    hears_how_it_is(&["--single"]);
}

fn hears_how_it_is(args: &[&str]) {
    let manager = Manager::new();
    let mut gorox = manager.start(&pong(""), Duration::from_millis(100), args);
    let ready = manager.hear("READY=1\n");
    assert!(ready.contains(&format!("\nMAINPID={}\n", gorox.pid())), "{ready}");
    ping(&mut gorox.connect().unwrap());
    manager.hear("WATCHDOG=1");
    gorox.signal(Signal::HUP).unwrap();
    assert!(manager.hear("RELOADING=1\n").contains("\nMONOTONIC_USEC="));
    manager.hear("READY=1\n");
    // It is ready too with what it had before.
    manager.dir.write("test.conf", "stage { nonsense {} }").unwrap();
    gorox.signal(Signal::HUP).unwrap();
    manager.hear("RELOADING=1\n");
    manager.hear("READY=1\n");
    ping(&mut gorox.connect().unwrap());
    gorox.signal(Signal::TERM).unwrap();
    manager.hear("STOPPING=1\n");
    assert!(gorox.wait(PATIENCE).unwrap().success());
}

#[test]
fn sockets_are_taken_over_from_the_service_manager() {
    let Some(activate) = peer("systemd-socket-activate") else { return };
    let (dir, port) = (TempDir::new().unwrap(), free_port().unwrap());
    let path = dir.path().join("web.sock");
    let config = format!(
        r#"stage {{
            webapp "pong" {{ .hostnames = ("*")  rule {{ .returnCode = 200  .returnText = "pong" }} }}
            httpxServer "tcp" {{ .address = "127.0.0.1:{port}"  .webapps = ("pong") }}
            httpxServer "unix" {{ .address = "fd:local"  .webapps = ("pong") }}
        }}"#
    );
    let file = dir.write("test.conf", config).unwrap();
    let mut command = Command::new(activate);
    command.arg("-l").arg(format!("127.0.0.1:{port}")).arg("-l").arg(&path);
    command.arg("--fdname=tcp:local").arg(GOROX).args(["serve", "--config"]).arg(file);
    command.arg("--var-dir").arg(dir.path());
    // It listens from its start on, and the first connection has the program started.
    let mut gorox = Program::start(command, ([127, 0, 0, 1], port).into()).unwrap();
    ping(&mut gorox.connect().unwrap());
    let mut client = Client::connect_unix(&path).unwrap().with_timeout(PATIENCE);
    ping(&mut client);
    drop(client);
    let status = Command::new(GOROX).args(["rework", "--var-dir"]).arg(dir.path()).status();
    assert!(status.unwrap().success());
    ping(&mut Client::connect_unix(&path).unwrap().with_timeout(PATIENCE));
    gorox.signal(Signal::TERM).unwrap();
    assert!(gorox.wait(PATIENCE).unwrap().success(), "{}", gorox.stderr());
    // It is not for the program to remove.
    assert!(fs::exists(&path).unwrap());
}
