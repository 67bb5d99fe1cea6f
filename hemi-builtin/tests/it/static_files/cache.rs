//! The fixture `fcache`, as clients notice it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hemi_test::{Site, eventually};

use super::{serve, webapp};
use crate::server::site_on;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_changed_file_is_noticed_after_the_cache_timeout() {
    for (name, cache) in [
        ("a.txt", "fcache { .cacheTimeout = 10ms }"),
        ("a.bin", "fcache { .cacheTimeout = 10ms  .smallFileSize = 0 }"),
        ("a.new", "fcache { .cacheTimeout = 0s }"),
    ] {
        let files = Site::new().unwrap().file(name, "one").unwrap();
        // Each core has a cache of its own.
        let server = site_on(1, cache, &webapp(files.root(), ""));
        let target = format!("/{name}");
        let first = server.get(&target);
        assert_eq!(first.text(), "one");
        // Another file in its place, as good editors and deployments do it.
        let new = files.root().join("new");
        fs::write(&new, "three").unwrap();
        fs::rename(&new, files.root().join(name)).unwrap();
        assert!(eventually(SOON, || server.get(&target).text() == "three"), "{cache}");
        assert_ne!(server.get(&target).header("etag"), first.header("etag"));
        // The same file, written again.
        fs::write(files.root().join(name), "eleven").unwrap();
        assert!(eventually(SOON, || server.get(&target).text() == "eleven"), "{cache}");
        fs::remove_file(files.root().join(name)).unwrap();
        assert!(eventually(SOON, || server.get(&target).status == 404), "{cache}");
        fs::create_dir(files.root().join(name)).unwrap();
        fs::write(files.root().join(name).join("index.html"), "index").unwrap();
        assert!(eventually(SOON, || server.get(&target).status == 301), "{cache}");
    }
}

#[test]
fn a_file_is_trusted_for_as_long_as_the_config_says() {
    let files = Site::new().unwrap().file("a.txt", "one").unwrap();
    let server = site_on(1, "fcache { .cacheTimeout = 1h }", &webapp(files.root(), ""));
    assert_eq!(server.get("/a.txt").text(), "one");
    fs::write(files.root().join("a.txt"), "two").unwrap();
    assert_eq!(server.get("/a.txt").text(), "one");
    // What was not there is asked for again each time.
    assert_eq!(server.get("/b.txt").status, 404);
    fs::write(files.root().join("b.txt"), "b").unwrap();
    assert_eq!(server.get("/b.txt").text(), "b");
}

#[test]
fn no_more_is_kept_than_the_config_says() {
    for limit in [".maxSmallFiles = 1", ".maxBytes = 5"] {
        let files = Site::new().unwrap().file("a.txt", "one").unwrap();
        let files = files.file("b.txt", "two").unwrap();
        let stage = format!("fcache {{ .cacheTimeout = 1h  {limit} }}");
        let server = site_on(1, &stage, &webapp(files.root(), ""));
        assert_eq!(server.get("/a.txt").text(), "one");
        assert_eq!(server.get("/b.txt").text(), "two");
        fs::write(files.root().join("a.txt"), "new").unwrap();
        assert_eq!(server.get("/a.txt").text(), "new", "{limit}");
    }
}

#[test]
fn descriptors_are_kept_up_to_a_limit() {
    let mut files = Site::new().unwrap();
    for number in 0..10 {
        files = files.file(format!("{number}.bin"), "larger").unwrap();
    }
    let stage = "fcache { .cacheTimeout = 1h  .smallFileSize = 2  .maxLargeFiles = 3 }";
    let server = site_on(1, stage, &webapp(files.root(), ""));
    for number in 0..10 {
        assert_eq!(server.get(&format!("/{number}.bin")).text(), "larger");
    }
    // The descriptor of an answer is closed a moment after its last byte was read.
    assert!(eventually(SOON, || open_below(files.root()) <= 3), "{}", open_below(files.root()));
    assert_ne!(open_below(files.root()), 0);
}

/// How many files below a directory this process has open.
fn open_below(root: &Path) -> usize {
    let files = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    targets.filter(|target| target != root && target.starts_with(root)).count()
}

#[test]
fn a_file_that_may_not_be_read_is_as_good_as_none() {
    use std::os::unix::fs::PermissionsExt;
    let files = Site::new().unwrap().file("a.txt", "a").unwrap();
    let closed = fs::Permissions::from_mode(0o000);
    fs::set_permissions(files.root().join("a.txt"), closed).unwrap();
    if fs::read(files.root().join("a.txt")).is_ok() {
        println!("skipped: this user may read everything");
        return;
    }
    assert_eq!(serve(&files).get("/a.txt").status, 404);
}
