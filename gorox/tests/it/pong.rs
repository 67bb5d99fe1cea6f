//! Gorox that answers everything with `pong`.

use std::process::Command;
use std::time::Duration;

use hemi_test::raw::Client;
use hemi_test::{Program, TempDir, free_port};

use crate::cli::GOROX;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A config that answers everything with `pong`.
pub(crate) fn pong(properties: &str) -> String {
    format!(
        r#"stage {{
            webapp "pong" {{ .hostnames = ("*")  rule {{ .returnCode = 200  .returnText = "pong" }} }}
            httpxServer "main" {{ .address = "127.0.0.1:@PORT@"  .webapps = ("pong")  {properties} }}
        }}"#
    )
}

/// Gorox with no more than this many files, and the directory of its config.
pub(crate) fn with_few_files(files: u32, config: &str) -> (Program, TempDir) {
    let (dir, port) = (TempDir::new().unwrap(), free_port().unwrap());
    let file = dir.write("test.conf", config.replace("@PORT@", &port.to_string())).unwrap();
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {files}; exec \"$0\" serve --single --config \"$@\"");
    command.arg("-c").arg(script).arg(GOROX).arg(file);
    command.args(hemi_test::io_driver().map(|driver| format!("--io={driver}")));
    (Program::start(command, ([127, 0, 0, 1], port).into()).unwrap(), dir)
}

/// Asks for `pong`.
#[track_caller]
pub(crate) fn ping(client: &mut Client) {
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "pong");
}
