//! The logger `simpleLogger`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use hemi_core::logger::LoggerKind;
use hemi_test::{TempDir, eventually};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::revisers::gunzip;
use crate::server::{Running, ask, load, site_on};

const SOON: Duration = Duration::from_secs(20);

/// A site whose requests are logged to `target`, by a logger with these properties.
fn logged(cores: usize, target: &Path, properties: &str) -> Running {
    let target = target.display();
    let logger = format!("simpleLogger \"access\" {{ .target = \"{target}\"  {properties} }}");
    let rules = r#".useLogger = "access"
        rule $path == "/quiet" { .returnCode = 204  .logAccess = false }
        rule $path == "/gone" { .returnCode = 410  .returnText = "gone" }
        rule { .returnCode = 200  .returnText = "hello" }"#;
    site_on(cores, &logger, rules)
}

fn dropped(server: &Running) -> u64 {
    server.find::<LoggerKind>("access").dropped()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn is_whole(line: &str) -> bool {
    line.starts_with("127.0.0.1 - - [") && line.ends_with("\" 200 5")
}

/// Sends so many requests on one connection.
fn send(server: &Running, requests: usize) {
    let mut client = server.connect();
    for number in 0..requests {
        let reply = ask(&mut client, "GET", &format!("/{number}"), &[]).unwrap();
        assert_eq!(reply.status, 200);
    }
}

#[test]
fn a_line_is_in_the_common_log_format() {
    let dir = TempDir::new().unwrap();
    // The directory is made.
    let target = dir.path().join("a/b/access.log");
    let server = logged(1, &target, ".delay = 1ms");
    let mut client = server.connect();
    for (method, path) in
        [("GET", "/a%22?b=\\x22{%0D%0A}"), ("HEAD", "/gone"), ("GET", "/quiet"), ("POST", "/gone")]
    {
        // What else the client says stays out of the log.
        ask(&mut client, method, path, &["Referer: x", "User-Agent: y"]).unwrap();
    }
    drop(client);
    server.quit();
    let log = read(&target);
    let expected = [
        r#""GET /a%22?b=\x5Cx22{%0D%0A} HTTP/1.1" 200 5"#,
        r#""HEAD /gone HTTP/1.1" 410 0"#,
        r#""POST /gone HTTP/1.1" 410 4"#,
    ];
    assert_eq!(log.lines().count(), expected.len(), "{log}");
    for (line, rest) in log.lines().zip(expected) {
        let line = line.strip_prefix("127.0.0.1 - - [").unwrap();
        let (date, found) = line.split_once("] ").unwrap();
        assert_eq!(found, rest);
        assert!(is_log_date(date), "{date}");
    }
}

/// Whether it reads like `21/Nov/2026:13:05:09 +0000`.
fn is_log_date(text: &str) -> bool {
    const SHAPE: &str = "00/Aaa/0000:00:00:00 +0000";
    text.len() == SHAPE.len()
        && text.chars().zip(SHAPE.chars()).all(|(c, shape)| match shape {
            '0' => c.is_ascii_digit(),
            'A' => c.is_ascii_uppercase(),
            'a' => c.is_ascii_lowercase(),
            other => c == other,
        })
}

#[test]
fn every_line_is_whole_and_none_is_lost_under_load() {
    const CLIENTS: usize = 8;
    const REQUESTS: usize = 300;
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("access.log");
    let server = logged(4, &target, ".delay = 1ms");
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| send(&server, REQUESTS));
        }
    });
    assert_eq!(dropped(&server), 0);
    server.quit();
    let log = read(&target);
    assert_eq!(log.lines().count(), CLIENTS * REQUESTS);
    assert!(log.lines().all(is_whole) && log.ends_with('\n'));
}

#[test]
fn what_was_gathered_is_written_when_the_stage_ends() {
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("access.log");
    // Long before the next write is due.
    let server = logged(2, &target, ".delay = 1h");
    send(&server, 3);
    server.quit();
    assert_eq!(read(&target).lines().count(), 3);
}

#[test]
fn lines_beyond_the_buffer_are_dropped_and_counted() {
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("access.log");
    // Full with one line, and never half full.
    let server = logged(1, &target, ".delay = 1h  .bufSize = 1");
    send(&server, 100);
    assert_eq!(dropped(&server), 99);
    server.quit();
    let log = read(&target);
    assert_eq!(log.lines().count(), 1);
    assert!(log.lines().all(is_whole) && log.ends_with('\n'));
}

#[test]
fn lines_wait_no_longer_when_there_are_many() {
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("access.log");
    let server = logged(1, &target, ".delay = 1h  .bufSize = 1000");
    send(&server, 10);
    assert!(eventually(SOON, || !read(&target).is_empty()));
    assert_eq!(dropped(&server), 0);
}

#[test]
fn a_log_that_takes_nothing_stops_no_request() {
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("full.log");
    symlink("/dev/full", &target).unwrap();
    let server = logged(2, &target, ".delay = 1ms");
    send(&server, 100);
    assert!(eventually(SOON, || dropped(&server) == 100), "{}", dropped(&server));
}

#[test]
fn a_full_disk_costs_lines_but_tears_none() {
    let Some(disk) = SmallDisk::mount() else { return };
    let target = disk.dir.path().join("access.log");
    let ballast = disk.dir.path().join("ballast");
    let server = logged(2, &target, ".delay = 1ms");
    send(&server, 10);
    assert!(eventually(SOON, || read(&target).lines().count() == 10));
    // All but what is left of the page that the log ends in.
    {
        let mut file = File::create(&ballast).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }
    let mut sent = 10;
    while dropped(&server) == 0 {
        assert!(sent < 100_000, "the disk never fills");
        send(&server, 100);
        sent += 100;
    }
    fs::remove_file(&ballast).unwrap();
    // Once there is room again, lines are written again.
    let full = read(&target).lines().count();
    assert!(eventually(SOON, || {
        send(&server, 1);
        sent += 1;
        read(&target).lines().count() > full + 1
    }));
    let lost = {
        let logger = server.find::<LoggerKind>("access");
        server.quit();
        usize::try_from(logger.dropped()).unwrap()
    };
    let log = read(&target);
    assert!(log.lines().all(is_whole) && log.ends_with('\n'));
    assert_eq!(log.lines().count() + lost, sent);
}

#[test]
fn a_log_that_is_moved_away_under_load_loses_nothing() {
    const REQUESTS: usize = 500;
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("access.log");
    let server = logged(2, &target, ".delay = 1ms");
    let moved: Vec<_> = (0..3).map(|n| dir.path().join(format!("access.log.{n}"))).collect();
    thread::scope(|scope| {
        scope.spawn(|| send(&server, REQUESTS));
        scope.spawn(|| send(&server, REQUESTS));
        for moved in &moved {
            assert!(eventually(SOON, || !read(&target).is_empty()));
            fs::rename(&target, moved).unwrap();
            // The file that takes its place.
            send(&server, 1);
            assert!(eventually(SOON, || target.exists()));
        }
    });
    server.quit();
    let logs: Vec<String> = moved.iter().chain([&target]).map(|path| read(path)).collect();
    assert!(logs.iter().all(|log| log.ends_with('\n') && log.lines().all(is_whole)));
    let lines: usize = logs.iter().map(|log| log.lines().count()).sum();
    assert_eq!(lines, 2 * REQUESTS + moved.len());
}

#[test]
fn a_log_that_cannot_be_opened_refuses_the_stage() {
    let dir = TempDir::new().unwrap();
    let file = dir.write("file", "").unwrap();
    for target in [file.join("access.log"), dir.path().to_owned()] {
        let config = format!(
            r#"stage {{
                simpleLogger "a" {{ .target = "{}" }}
                webapp "w" {{ .hostnames = ("*")  .useLogger = "a" }}
                httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("w") }}
            }}"#,
            target.display()
        );
        let error = load(1, &config).err().expect("an error").to_string();
        assert!(
            error.starts_with(&format!("cannot open the log file {}", target.display())),
            "{error}"
        );
    }
}

/// A file system of 64 KiB.
struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// None, with a line that says so, if this user may not mount one.
    fn mount() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=64k", "hemi-test"]).arg(dir.path());
        match command.output() {
            Ok(output) if output.status.success() => Some(Self { dir }),
            other => {
                println!("skipped: cannot mount a small disk: {other:?}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there does not keep it mounted.
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

#[test]
fn nobody_waits_for_the_reader_of_a_pipe() {
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("pipe");
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, &target, FileType::Fifo, mode, 0).unwrap();
    let server = logged(1, &target, ".delay = 1ms");
    // More than a pipe holds.
    send(&server, 2000);
    assert!(eventually(SOON, || dropped(&server) > 0));
    let mut line = String::new();
    BufReader::new(File::open(&target).unwrap()).read_line(&mut line).unwrap();
    assert!(is_whole(line.trim_end()), "{line}");
    server.quit();
}

/// The old files of a log, oldest first.
fn old_files(target: &Path) -> Vec<PathBuf> {
    let name = format!("{}.", target.file_name().unwrap().to_str().unwrap());
    let entries =
        fs::read_dir(target.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let mut olds: Vec<PathBuf> = entries
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&name))
        .collect();
    olds.sort();
    olds
}

#[test]
fn rotation_under_load_loses_no_line_and_tears_none() {
    const CLIENTS: usize = 8;
    const REQUESTS: usize = 300;
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("access.log");
    let server = logged(4, &target, ".delay = 1ms  .rotateSize = 4K  .keep = 10000");
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| send(&server, REQUESTS));
        }
    });
    assert_eq!(dropped(&server), 0);
    server.quit();
    let olds = old_files(&target);
    // A line is about 70 bytes long.
    assert!(olds.len() > 20, "{olds:?}");
    let logs: Vec<String> = olds.iter().chain([&target]).map(|path| read(path)).collect();
    for log in &logs {
        assert!(log.len() <= 4096 && log.ends_with('\n') && log.lines().all(is_whole), "{log}");
    }
    assert_eq!(logs.iter().map(|log| log.lines().count()).sum::<usize>(), CLIENTS * REQUESTS);
}

#[test]
fn old_files_are_compressed_and_no_more_are_kept_than_said() {
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("access.log");
    let strangers = ["access.log.1", "access.log.20200101T000000.000Z.zip", "access.logs"];
    for name in strangers {
        dir.write(name, "not mine").unwrap();
    }
    let old = dir.write("access.log.20200101T000000.000Z", "old\n").unwrap();
    // A new file for each line.
    let server = logged(1, &target, ".delay = 1ms  .rotateSize = 1  .keep = 3  .compress = true");
    // What a run before this one has left: the newest is not compressed until there is another.
    send(&server, 1);
    assert!(eventually(SOON, || read(&target).lines().count() == 1));
    assert_eq!(read(&old), "old\n");
    send(&server, 1);
    let packed = dir.path().join("access.log.20200101T000000.000Z.gz");
    assert!(eventually(SOON, || packed.exists() && !old.exists()));
    assert_eq!(gunzip(&fs::read(&packed).unwrap()), b"old\n");
    send(&server, 9);
    let kept = || {
        let olds = old_files(&target).into_iter().filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            !strangers.contains(&name)
        });
        olds.collect::<Vec<_>>()
    };
    let is_packed = |path: &PathBuf| path.extension().is_some_and(|end| end == "gz");
    assert!(eventually(SOON, || {
        let kept = kept();
        kept.len() == 3 && kept[..2].iter().all(is_packed) && !is_packed(&kept[2])
    }));
    assert!(strangers.iter().all(|name| dir.path().join(name).exists()));
    for path in &kept()[..2] {
        let log = String::from_utf8(gunzip(&fs::read(path).unwrap())).unwrap();
        assert!(log.lines().all(is_whole) && log.lines().count() == 1, "{log}");
    }
    server.quit();
}

#[test]
fn a_file_of_another_day_is_rotated_and_one_that_is_too_old_removed() {
    let dir = TempDir::new().unwrap();
    let target = dir.write("access.log", "yesterday\n").unwrap();
    let yesterday = SystemTime::now() - Duration::from_secs(24 * 3600);
    File::options().append(true).open(&target).unwrap().set_modified(yesterday).unwrap();
    let ancient = dir.write("access.log.20200101T000000.000Z.gz", "").unwrap();
    let server = logged(1, &target, ".delay = 1ms  .rotateEvery = \"day\"  .maxAge = 1000d");
    assert!(eventually(SOON, || !ancient.exists()));
    send(&server, 2);
    server.quit();
    let olds = old_files(&target);
    // Unless midnight was between the requests.
    assert!(matches!(olds.len(), 1 | 2), "{olds:?}");
    assert_eq!(read(&olds[0]), "yesterday\n");
    let now: String = olds[1..].iter().chain([&target]).map(|path| read(path)).collect();
    assert!(now.lines().count() == 2 && now.lines().all(is_whole), "{now}");
}

#[test]
fn the_file_behind_a_link_is_rotated_and_a_pipe_is_not() {
    let dir = TempDir::new().unwrap();
    let real = dir.write("real/access.log", "").unwrap();
    let target = dir.path().join("access.log");
    symlink(&real, &target).unwrap();
    // The file is rotated, and not the link to it.
    let server = logged(1, &target, ".delay = 1ms  .rotateSize = 1");
    send(&server, 2);
    assert!(eventually(SOON, || old_files(&real).len() == 1));
    assert!(eventually(SOON, || read(&target).lines().count() == 1));
    assert!(target.is_symlink());
    // Nor is what is no file.
    let pipe = dir.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let server = logged(1, &pipe, ".delay = 1ms  .rotateSize = 1");
    send(&server, 2);
    let mut reader = BufReader::new(File::open(&pipe).unwrap()).lines();
    for _ in 0..2 {
        assert!(is_whole(&reader.next().unwrap().unwrap()));
    }
    drop(reader);
    server.quit();
    assert!(pipe.exists() && old_files(&pipe).is_empty());
}

#[test]
fn a_logger_opens_its_file_anew_when_it_is_told() {
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("access.log");
    let server = logged(1, &target, ".delay = 1h");
    fs::rename(&target, dir.path().join("moved")).unwrap();
    server.find::<LoggerKind>("access").reopen();
    assert!(eventually(SOON, || target.exists()));
    server.quit();
}

#[test]
fn no_line_is_lost_or_torn_when_files_are_moved_away_under_load() {
    const EACH: usize = 2_000;
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("access.log");
    let server = logged(2, &target, ".delay = 1ms");
    let mut moved: Vec<PathBuf> = Vec::new();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(|| send(&server, EACH))).collect();
        while moved.len() < 5 || !clients.iter().all(|client| client.is_finished()) {
            moved.push(dir.path().join(format!("access.log.{}", moved.len())));
            fs::rename(&target, moved.last().unwrap()).unwrap();
            server.engine().reopen();
            assert!(eventually(SOON, || target.exists()));
        }
    });
    server.quit();
    moved.push(target);
    let logs: String = moved.iter().map(|path| read(path)).collect();
    assert!(logs.lines().all(is_whole));
    assert_eq!(logs.lines().count(), 3 * EACH);
}

#[test]
fn stdout_is_not_rotated() {
    let config = r#"stage { simpleLogger "a" { .target = "stdout"  .rotateSize = 1K } }"#;
    let error = load(1, config).err().expect("an error").to_string();
    assert!(error.contains("stdout can't be rotated"), "{error}");
}
