//! What a program that serves can't do: as another user, and in a sandbox.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::Duration;

use hemi_test::{Program, Signal, TempDir, eventually, free_port};
use rustix::process::{Pid, kill_process};

use crate::MULECAR;

const SOON: Duration = Duration::from_secs(20);

const CONFIG: &str = r#"stage {
    simpleLogger "access" { .target = %logDir + "/access.log"  .delay = 1ms }
    webapp "w" {
        .hostnames = ("*")
        .webRoot = "site"
        .useLogger = "access"
        rule $path == "/misdeeds" { misdeeds { .victim = "site/index.html" } }
        rule { static {} }
    }
    httpxServer "s" { .address = "127.0.0.1:@PORT@"  .webapps = ("w") }
}"#;

const PAGE: &str = "welcome";

struct Served {
    program: Program,
    dir: TempDir,
}

fn serve(args: &[&str]) -> Served {
    let (dir, port) = (TempDir::new().unwrap(), free_port().unwrap());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let config = dir.write("conf/test.conf", CONFIG.replace("@PORT@", &port.to_string())).unwrap();
    dir.write("site/index.html", PAGE).unwrap();
    fs::set_permissions(dir.path().join("site/index.html"), fs::Permissions::from_mode(0o666))
        .unwrap();
    let mut command = Command::new(MULECAR);
    command.arg("serve").arg("--config").arg(config).arg("--top-dir").arg(dir.path()).args(args);
    command.args(hemi_test::io_driver().map(|driver| format!("--io={driver}")));
    let program = Program::start(command, ([127, 0, 0, 1], port).into()).unwrap();
    // It listens before it can be asked.
    let mut pids = Command::new(MULECAR);
    pids.arg("pids").arg("--top-dir").arg(dir.path());
    assert!(eventually(SOON, || pids.output().unwrap().status.success()));
    Served { program, dir }
}

impl Served {
    fn get(&self, path: &str) -> String {
        let mut client = self.program.connect().unwrap();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).unwrap();
        client.read_response().unwrap().text()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("data/log/access.log")).unwrap_or_default()
    }

    /// A field of proc_pid_status(5), of the process that serves.
    fn status(&self, name: &str) -> String {
        let pid = *self.program.pids().last().unwrap();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn in_the_sandbox_it_serves_and_does_nothing_else() {
    let served = serve(&["--sandbox", "on"]);
    let stderr = served.program.stderr();
    if stderr.contains("it has no Landlock") {
        eprintln!("skipped: this kernel has no Landlock");
        return;
    }
    assert!(!stderr.contains("sandbox:"), "{stderr}");
    assert_eq!(served.get("/index.html"), PAGE);
    let told = served.get("/misdeeds");
    for deed in ["read: Permission denied", "list: Permission denied", "write: Permission denied"] {
        assert!(told.contains(deed), "{told}");
    }
    for deed in ["run: Operation not permitted", "look at packets: Operation not permitted"] {
        assert!(told.contains(deed), "{told}");
    }
    // Files that come later, and the log when it was moved away.
    served.dir.write("site/later.html", "later").unwrap();
    assert_eq!(served.get("/later.html"), "later");
    assert!(eventually(SOON, || served.log().lines().count() == 3));
    let log = served.dir.path().join("data/log/access.log");
    fs::rename(&log, log.with_extension("old")).unwrap();
    assert_eq!(served.get("/index.html"), PAGE);
    assert!(eventually(SOON, || served.log().lines().count() == 1));
    assert_eq!(served.status("Seccomp"), "2");
}

#[test]
fn a_sandbox_is_made_for_what_is_served() {
    let mut served = serve(&["--sandbox", "on"]);
    let config = served.dir.path().join("conf/test.conf");
    let good = fs::read_to_string(&config).unwrap();
    let other = TempDir::new().unwrap();
    other.write("index.html", "other").unwrap();
    let reload = |served: &Served| {
        let mut command = Command::new(MULECAR);
        command.arg("reload").arg("--top-dir").arg(served.dir.path()).output().unwrap()
    };
    let elsewhere = format!(".webRoot = \"{}\"", other.path().display());
    fs::write(&config, good.replace(".webRoot = \"site\"", &elsewhere)).unwrap();
    let refused = reload(&served);
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the sandbox of this worker forbids"), "{stderr}");
    // A worker that takes the place of another serves what that one did, whatever the file says now.
    let worker = *served.program.pids().last().unwrap();
    let pid = Pid::from_raw(i32::try_from(worker).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let another = || served.program.pids().last().is_some_and(|pid| *pid != worker);
    assert!(eventually(SOON, || another() && served.program.pids().len() == 2));
    assert_eq!(served.get("/index.html"), PAGE);
    fs::write(&config, good).unwrap();
    assert!(reload(&served).status.success());
    served.program.signal(Signal::TERM).unwrap();
    assert!(served.program.wait(SOON).unwrap().success());
}

#[test]
fn without_a_sandbox_nothing_is_forbidden() {
    let served = serve(&[]);
    assert!(served.get("/misdeeds").contains("run: done"));
    assert_eq!(served.status("Seccomp"), "0");
}

#[test]
fn a_sandbox_of_a_config_with_mistakes_is_not_entered() {
    let dir = TempDir::new().unwrap();
    let config = dir.write("test.conf", "stage { nonsense {} }").unwrap();
    let ended = Command::new(MULECAR)
        .args(["serve", "--sandbox", "required", "--config"])
        .arg(config)
        .output()
        .unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(stderr.contains("unknown component `nonsense`"), "{stderr}");
}

#[test]
fn it_becomes_another_user_for_good() {
    if !is_root() {
        eprintln!("skipped: only root can become others");
        return;
    }
    let served = serve(&["--user", "nobody"]);
    assert_eq!(served.get("/index.html"), PAGE);
    let told = served.get("/misdeeds");
    for deed in ["read: Permission denied", "list: Permission denied", "run: done", "write: done"] {
        assert!(told.contains(deed), "{told}");
    }
    assert_eq!(served.status("Uid"), "65534 65534 65534 65534");
    assert_eq!(served.status("Gid").split(' ').collect::<Vec<_>>().len(), 4);
    assert_eq!(served.status("Groups"), served.status("Gid").split(' ').next().unwrap());
    assert_eq!(served.status("NoNewPrivs"), "1");
    assert_eq!(served.status("CapEff"), "0000000000000000");
    // Logs are written to a directory that was made for it.
    assert!(eventually(SOON, || served.log().lines().count() == 2));
    let log = fs::metadata(served.dir.path().join("data/log/access.log")).unwrap();
    assert_eq!(log.uid(), 65_534);
    // What the leader keeps beside it can't be replaced by the worker.
    let var = fs::metadata(served.dir.path().join("data/var")).unwrap();
    assert_eq!((var.uid(), var.mode() & 0o7777), (0, 0o1770));
}

#[test]
fn who_can_not_be_become_is_told() {
    let refused = |args: &[&str]| {
        let ended = Command::new(MULECAR).arg("serve").args(args).output().unwrap();
        assert!(!ended.status.success());
        String::from_utf8(ended.stderr).unwrap()
    };
    assert!(refused(&["--user", "no-such"]).contains("there is no user `no-such`"));
    assert!(refused(&["--group", "root"]).contains("--group needs a --user"));
    if is_root() {
        let dir = TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("data/log")).unwrap();
        let told = refused(&["--user", "nobody", "--top-dir", dir.path().to_str().unwrap()]);
        assert!(told.contains("user nobody cannot write in"), "{told}");
    }
}
