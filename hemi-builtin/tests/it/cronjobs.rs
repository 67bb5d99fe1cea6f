//! The cronjobs, at work in a stage.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hemi_core::cronjob::{CronjobKind, Status};
use hemi_test::{Site, eventually};

use crate::server::{Running, load};

const PATIENCE: Duration = Duration::from_secs(30);

/// Loads a stage with such a cleaner, and waits until it has run `runs` times.
fn clean(directory: &Path, properties: &str, runs: u64) -> (Running, Status) {
    let directory = directory.display();
    let config = format!(
        "stage {{ cleanCronjob \"job\" {{ .every = 10ms  .directory = \"{directory}\"  {properties} }} }}"
    );
    let running = load(1, &config).unwrap_or_else(|e| panic!("{e}"));
    let job = running.find::<CronjobKind>("job");
    assert!(eventually(PATIENCE, || job.status().runs >= runs), "{:?}", job.status());
    let status = job.status();
    (running, status)
}

/// Files below a directory, links and all.
fn files(directory: &Path) -> BTreeSet<String> {
    fn collect(directory: &Path, root: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => collect(&entry.path(), root, found),
                false => {
                    let path = entry.path();
                    found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    collect(directory, directory, &mut found);
    found
}

/// Changed so many minutes ago.
fn age(path: &Path, minutes: u64) {
    let time = SystemTime::now() - Duration::from_secs(60 * minutes);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// A directory with files of 100 bytes and of different ages, and something outside it that links lead to.
fn aged() -> Site {
    let site = Site::new().unwrap().file("outside/secret", [0; 100]).unwrap();
    let site = site.file("in/a.tmp", [0; 100]).unwrap().file("in/b.tmp", [0; 100]).unwrap();
    let site = site.file("in/c.log", [0; 100]).unwrap().file("in/sub/d.tmp", [0; 100]).unwrap();
    let site = site.file("in/sub/deep/e.tmp", [0; 100]).unwrap();
    let site = site.link("in/file", "../outside/secret").unwrap();
    let site = site.link("in/dir", "../outside").unwrap().link("in/sub/up", "../..").unwrap();
    let root = site.root();
    let ages =
        [("a.tmp", 50), ("b.tmp", 40), ("c.log", 30), ("sub/d.tmp", 20), ("sub/deep/e.tmp", 10)];
    for (name, minutes) in ages {
        age(&root.join("in").join(name), minutes);
    }
    age(&root.join("outside/secret"), 100);
    site
}

#[test]
fn files_that_are_too_old_or_too_many_go() {
    #[rustfmt::skip]
    let rows: [(&str, &[&str]); 13] = [
        // properties, files that are left
        (".olderThan = 35m", &["c.log", "sub/d.tmp", "sub/deep/e.tmp"]),
        (".olderThan = 1m", &[]),
        (".olderThan = 1d", &["a.tmp", "b.tmp", "c.log", "sub/d.tmp", "sub/deep/e.tmp"]),
        (".olderThan = 1m  .recursive = false", &["sub/d.tmp", "sub/deep/e.tmp"]),
        (".olderThan = 1m  .patterns = (\"*.tmp\")", &["c.log"]),
        (".olderThan = 1m  .patterns = (\"[ab].*\", \"*.log\")", &["sub/d.tmp", "sub/deep/e.tmp"]),
        (".olderThan = 1m  .patterns = (\"sub/*.tmp\")", &["a.tmp", "b.tmp", "c.log", "sub/deep/e.tmp"]),
        (".olderThan = 1m  .patterns = (\"sub/**/*.tmp\")", &["a.tmp", "b.tmp", "c.log"]),
        (".maxFiles = 2", &["sub/d.tmp", "sub/deep/e.tmp"]),
        (".maxSize = 350", &["c.log", "sub/d.tmp", "sub/deep/e.tmp"]),
        (".maxSize = 300  .maxFiles = 4", &["c.log", "sub/d.tmp", "sub/deep/e.tmp"]),
        // What is not meant does not count.
        (".maxFiles = 1  .patterns = (\"*.tmp\")", &["c.log", "sub/deep/e.tmp"]),
        (".olderThan = 45m  .maxFiles = 4", &["b.tmp", "c.log", "sub/d.tmp", "sub/deep/e.tmp"]),
    ];
    for (properties, left) in rows {
        let site = aged();
        let directory = site.root().join("in");
        let (_running, status) = clean(&directory, properties, 1);
        let left = left.iter().chain(&["file", "dir", "sub/up"]);
        let left: BTreeSet<String> = left.map(|name| (*name).to_owned()).collect();
        assert_eq!(files(&directory), left, "{properties}");
        assert_eq!(status.failures, 0, "{properties}: {status:?}");
        assert!(directory.join("sub/deep").is_dir(), "{properties}");
        assert!(site.root().join("outside/secret").exists(), "{properties}");
    }
}

#[test]
fn a_dry_run_removes_nothing() {
    let site = aged();
    let before = files(site.root());
    let (_running, status) = clean(&site.root().join("in"), ".maxFiles = 0  .dryRun = true", 2);
    assert_eq!(status.failures, 0, "{status:?}");
    assert_eq!(files(site.root()), before);
}

#[test]
fn a_directory_that_is_not_there_is_a_failure_until_it_is() {
    let site = Site::new().unwrap();
    let directory = site.root().join("later");
    let (running, status) = clean(&directory, ".maxFiles = 0", 1);
    let error = status.last.unwrap().result.unwrap_err();
    assert!(error.starts_with("cannot read ") && error.contains("No such file"), "{error}");
    let _site = site.file("later/a", "").unwrap();
    let job = running.find::<CronjobKind>("job");
    assert!(eventually(PATIENCE, || job.status().last.unwrap().result.is_ok()));
    assert!(eventually(PATIENCE, || files(&directory).is_empty()));
}

#[test]
fn a_cleaner_that_may_remove_nothing_is_refused() {
    for (properties, error) in [
        ("", "nothing says which files may go"),
        (".olderThan = 1d  .patterns = (\"a\", \"[\")", "\"[\" is no pattern: "),
    ] {
        let config = format!(
            "stage {{ cleanCronjob \"job\" {{ .every = 1h  .directory = \"tmp\"  {properties} }} }}"
        );
        let e = load(1, &config).err().unwrap().to_string();
        assert!(e.contains(error), "{e}");
    }
}

#[test]
fn statistics_are_written() {
    let running = load(1, "stage { statCronjob \"job\" { .every = 10ms } }").unwrap();
    let job = running.find::<CronjobKind>("job");
    assert!(eventually(PATIENCE, || job.status().runs >= 2), "{:?}", job.status());
    assert_eq!(job.status().failures, 0);
}
