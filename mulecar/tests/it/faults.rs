//! What goes wrong while clients are at it: they notice nothing, and who has caused it is told.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::time::Duration;

use hemi_test::raw::Client;
use hemi_test::{Clients, Load, Program, TempDir, eventually, free_port};

use crate::MULECAR;

const SOON: Duration = Duration::from_secs(20);

const CONFIG: &str = r#"stage {
    webapp "w" {
        .hostnames = ("*")
        rule $path == "/shaky" { shaky {} }
        rule { .returnCode = 200  .returnText = "well" }
    }
    httpxServer "s" { .address = "127.0.0.1:@PORT@"  .webapps = ("w") }
}"#;

struct Served {
    program: Program,
    dir: TempDir,
    config: String,
    /// The port of the control API.
    control: u16,
    load: Load,
}

impl Served {
    fn start() -> Self {
        let (dir, port, control) =
            (TempDir::new().unwrap(), free_port().unwrap(), free_port().unwrap());
        let config = CONFIG.replace("@PORT@", &port.to_string());
        dir.write("test.conf", &config).unwrap();
        let mut serve = command(&dir, "serve");
        serve.arg("--cmdui").arg(format!("127.0.0.1:{control}"));
        serve.args(hemi_test::io_driver().map(|driver| format!("--io={driver}")));
        let program = Program::start(serve, ([127, 0, 0, 1], port).into()).unwrap();
        let load = Load::start(program.addr(), Clients { keep_alive: 4, once: 2 });
        let served = Self { program, dir, config, control, load };
        assert!(eventually(SOON, || served.ask("pids").status.success()));
        served
    }

    fn ask(&self, action: &str) -> Output {
        command(&self.dir, action).output().unwrap()
    }

    fn status(&self) -> serde_json::Value {
        let mut command = command(&self.dir, "status");
        serde_json::from_slice(&command.arg("--json").output().unwrap().stdout).unwrap()
    }

    /// Looks that the same worker serves as at the beginning, and that nobody has noticed anything.
    fn finish(self) {
        let before = self.load.seen().answers;
        assert!(eventually(SOON, || self.load.seen().answers > before + 100));
        let status = self.status();
        assert_eq!(status["leader"]["pid"], self.program.pid());
        assert_eq!((&status["restarts"], &status["lastEnd"]), (&serde_json::json!({}), &().into()));
        assert_eq!(self.program.pids().len(), 2);
        let seen = self.load.finish().unwrap();
        assert_eq!(seen.failed, 0, "{seen:?}");
    }
}

fn command(dir: &TempDir, action: &str) -> Command {
    let mut command = Command::new(MULECAR);
    command.arg(action).arg("--config").arg(dir.path().join("test.conf"));
    command.arg("--var-dir").arg(dir.path().join("var"));
    command
}

#[test]
fn a_handlet_that_panics_costs_its_own_requests() {
    let served = Served::start();
    let mut client = served.program.connect().unwrap().with_timeout(SOON);
    for _ in 0..100 {
        for expected in [200, 500] {
            client.send("GET /shaky HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            assert_eq!(client.read_response().unwrap().status, expected);
        }
    }
    let measures = served.status()["worker"]["report"].to_string();
    assert!(measures.contains("panics"), "{measures}");
    served.finish();
}

#[test]
fn a_config_that_is_no_good_changes_nothing_and_is_told() {
    let served = Served::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = format!(
        "httpxServer \"t\" {{ .address = \"{}\"  .webapps = (\"w\") }} }}",
        taken.local_addr().unwrap()
    );
    let good = &served.config;
    let file = served.dir.path().join("test.conf");
    served.dir.write("cycle.conf", "<test.conf>").unwrap();
    for (bad, message) in [
        (good.replace("stage {", "stage { <cycle.conf>"), "includes itself"),
        (good.replace(".returnCode = 200", ".returnCode = \"x\""), "test.conf:5:"),
        (good.replace(".hostnames = (\"*\")", ".hostnames = 7"), "test.conf:3:"),
        (format!("{}{other}", good.trim_end().strip_suffix('}').unwrap()), "cannot listen on"),
        (good.replace("shaky {}", "shaky {"), "test.conf:"),
    ] {
        fs::write(&file, &bad).unwrap();
        for action in ["reload", "rework", "upgrade"] {
            let Output { status, stdout, stderr } = served.ask(action);
            let stderr = String::from_utf8_lossy(&stderr);
            assert_eq!((status.code(), &*stdout), (Some(1), &b""[..]), "{action}: {bad}");
            assert!(stderr.contains(message), "{action}: {bad}\n{stderr}");
        }
    }
    fs::write(&file, good).unwrap();
    assert!(served.ask("reload").status.success());
    served.finish();
}

#[test]
fn noise_is_answered_or_cut_off() {
    let served = Served::start();
    let mut random = vec![0; 1 << 20];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
    // The second one had the leader of the original die, and its worker with it.
    let noises = [&random[..], &[0, 1, 0, 0, 0x80, 0, 0, 5, 0, 0x80, 0, 0, 0], b"GET /v1/"];
    let mut kept: Vec<Box<dyn Write>> = Vec::new();
    for noise in noises {
        let socket = served.dir.path().join("var/mulecar.sock");
        let mut streams: [Box<dyn Write>; 3] = [
            Box::new(UnixStream::connect(socket).unwrap()),
            Box::new(TcpStream::connect(("127.0.0.1", served.control)).unwrap()),
            Box::new(TcpStream::connect(served.program.addr()).unwrap()),
        ];
        for stream in &mut streams {
            // It is cut off as soon as it makes no sense.
            let _ = stream.write_all(noise);
        }
        kept.extend(streams);
    }
    let mut client = Client::connect(("127.0.0.1", served.control)).unwrap();
    client.send("\0\x01\0\0\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().status, 400);
    // And whoever has the words has not the right.
    let mut client = Client::connect(("127.0.0.1", served.control)).unwrap();
    let fields = "host: localhost\r\ncontent-type: application/json\r\ncontent-length: 0\r\n";
    client.send(format!("POST /v1/stop HTTP/1.1\r\n{fields}\r\n")).unwrap();
    assert_eq!(client.read_response().unwrap().status, 401);
    assert!(served.ask("reload").status.success());
    drop(kept);
    served.finish();
}
