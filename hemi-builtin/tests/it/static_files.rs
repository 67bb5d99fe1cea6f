//! The handlet `static`.

mod cache;
mod conditional;
mod kinds;
mod listing;
mod multipart;
mod options;
mod paths;
mod precompressed;
mod range;
mod sending;
mod try_files;

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hemi_test::Site;

use crate::server::{Running, site};

/// When files of tests were modified: `Sun, 06 Nov 1994 08:49:37 GMT`, and a part of a second.
const MODIFIED: Duration = Duration::from_millis(784_111_777_900);

/// Serves the files of a site.
fn serve(files: &Site) -> Running {
    serve_with(files, "", "")
}

/// The same, with these components in the stage and these properties of the handlet.
fn serve_with(files: &Site, stage: &str, properties: &str) -> Running {
    site(stage, &webapp(files.root(), properties))
}

fn webapp(root: &Path, properties: &str) -> String {
    format!(".webRoot = \"{}\"  rule {{ static {{ {properties} }} }}", root.display())
}

/// A site with one file, `a.txt`, that was modified long ago.
fn one_file(contents: &str) -> Site {
    let files = Site::new().unwrap().file("a.txt", contents).unwrap();
    set_modified(&files.root().join("a.txt"), SystemTime::UNIX_EPOCH + MODIFIED);
    files
}

fn set_modified(path: &Path, time: SystemTime) {
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}
