//! Files that may change while a stage serves, looked at now and then by a task.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::interval;
use tracing::{info, warn};

use crate::Result;

/// How often they are looked at.
pub const EVERY: Duration = Duration::from_secs(1);

/// So many times later a file is read again that could not be, though it looks the same.
const PAUSE: u32 = 10;

/// Tells one state of a file from others: device, inode, length and nanoseconds of the last change. None
/// while there is no file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp(Option<(u64, u64, u64, i64, i64)>);

impl Stamp {
    /// That of a file as it is now. Blocks.
    pub fn of(path: &Path) -> Self {
        let meta = fs::metadata(path).ok();
        Self(meta.map(|m| (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec())))
    }

    /// Whether there is a file.
    pub fn exists(self) -> bool {
        self.0.is_some()
    }
}

/// Reads a file again whenever it is no longer as it was at `stamp`, and notes what it says then. What
/// can't be read is told, changes nothing, and is tried again a while later. Has no end.
pub async fn follow<T: Send + 'static>(
    path: &Path,
    stamp: Stamp,
    read: impl Fn(&Path) -> Result<T> + Clone + Send + 'static,
    note: impl FnMut(T),
) {
    let file = path.to_owned();
    let (all, stamps) = (Vec::from([file.clone()]), Vec::from([stamp]));
    follow_all(all, stamps, move || read(&file), note).await;
}

/// The same of several files, which are read together when one of them has changed.
pub async fn follow_all<T: Send + 'static>(
    paths: Vec<PathBuf>,
    mut stamps: Vec<Stamp>,
    read: impl Fn() -> Result<T> + Clone + Send + 'static,
    mut note: impl FnMut(T),
) {
    let mut ticks = interval(EVERY);
    let mut pause = None;
    loop {
        ticks.tick().await;
        pause = match pause {
            Some(0) => {
                stamps.clear();
                None
            }
            pause => pause.map(|left: u32| left - 1),
        };
        let (files, known, read) = (paths.clone(), stamps.clone(), read.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let now: Vec<_> = files.iter().map(|file| Stamp::of(file)).collect();
            (now != known).then(|| (now, read()))
        });
        let Ok(Some((now, content))) = looked.await else { continue };
        (stamps, pause) = (now, content.is_err().then_some(PAUSE));
        match content {
            Ok(content) => {
                let path = paths.first().map(|path| path.display().to_string());
                info!(path = path.unwrap_or_default(), "read again");
                note(content);
            }
            Err(e) => warn!("what the file said before holds: {e}"),
        }
    }
}

/// All text of a file. Blocks.
///
/// # Errors
/// What the system says; also when there are more bytes than `most`, or they are not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::other(format!("the file has more than {most} bytes")));
    }
    Ok(text)
}
