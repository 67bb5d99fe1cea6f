//! The cronjob `cleanCronjob`: removes files that are too old, or too many.
//!
//! ```gorox
//! stage {
//! 	cleanCronjob "uploads" {
//! 		.cron = "30 3 * * *"
//! 		.directory = %varDir + "/uploads"
//! 		.patterns = ("*.tmp", "cache/**/*.bin")
//! 		.olderThan = 7d
//! 		.maxSize = 10G
//! 	}
//! }
//! ```
//!
//! It removes regular files only. Links are never followed, so that it never leaves the directory, nor
//! the file system that this is on; directories stay, though they may have become empty. A file that
//! cannot be removed does not keep it from the others.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use glob::MatchOptions;
use hemi_core::config::{ConfigType, Diagnostic, Size};
use hemi_core::cronjob::Cronjob;
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Result, clock};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde::Deserialize;
use tracing::{info, warn};

/// Files and directories remembered in one run, at most: some hundred bytes each.
const MOST: usize = 1 << 20;

/// Removes files that are too old, or too many.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct CleanConfig {
    /// Where the files are. A relative path starts at the top directory.
    pub directory: PathBuf,
    /// Which files are meant: `*`, `?`, `[a-z]` as in a shell. A pattern with a `/` in it is for the path
    /// below the directory, in which `**` stands for any directories; others are for the name alone.
    #[serde(default = "all_files")]
    pub patterns: Vec<Pattern>,
    /// Removes the files that were not changed for so long. One of this, `maxSize` and `maxFiles` must be
    /// set.
    pub older_than: Option<Duration>,
    /// Removes the files that were not changed for the longest, until those that are left have no more
    /// bytes than this.
    pub max_size: Option<Size>,
    /// The same, until there are no more files than this.
    pub max_files: Option<u64>,
    /// Whether files in the directories below count too.
    #[serde(default = "yes")]
    pub recursive: bool,
    /// Removes nothing, but writes to the log of the program what would be removed.
    #[serde(default)]
    pub dry_run: bool,
}

fn all_files() -> Vec<Pattern> {
    vec![Pattern(glob::Pattern::new("*").unwrap_or_default())]
}

fn yes() -> bool {
    true
}

/// A pattern of file names.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(glob::Pattern);

/// Removes files that are too old, or too many.
#[derive(Debug)]
pub struct CleanCronjob(Arc<CleanConfig>);

impl Component for CleanCronjob {
    const SIGN: &'static str = "cleanCronjob";
    type Config = CleanConfig;

    fn create(mut config: CleanConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let CleanConfig { older_than, max_size, max_files, .. } = &config;
        if older_than.is_none() && max_size.is_none() && max_files.is_none() {
            let diagnostic = Diagnostic::new(cx.span(), "nothing says which files may go");
            return Err(diagnostic.help("add `.olderThan = 7d`, `.maxSize` or `.maxFiles`").into());
        }
        config.directory = cx.written(&config.directory);
        Ok(Self(Arc::new(config)))
    }
}

impl Lifecycle for CleanCronjob {}

impl Cronjob for CleanCronjob {
    async fn work(&self) -> Result<()> {
        /// Tells the thread that nobody waits for it any more.
        struct Waiting(Arc<AtomicBool>);
        impl Drop for Waiting {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let over = Arc::<AtomicBool>::default();
        let _waiting = Waiting(over.clone());
        let config = self.0.clone();
        let cleaned = tokio::task::spawn_blocking(move || Sweep::new(&config, &over)?.run());
        cleaned.await.unwrap_or_else(|e| Err(Error::other(e.to_string())))
    }
}

/// One run.
struct Sweep<'a> {
    config: &'a CleanConfig,
    over: &'a AtomicBool,
    root: OwnedFd,
    device: u64,
    /// See [`MOST`].
    most: usize,
    /// Files that were not changed since are too old.
    oldest: Option<SystemTime>,
    /// Directories that are still to be seen into.
    ahead: Vec<PathBuf>,
    /// Files that may have to go for there are too many.
    young: Vec<File>,
    /// How many there was no room for.
    forgotten: u64,
    left: Amount,
    removed: Amount,
    failed: Failures,
}

#[derive(Default)]
struct Amount {
    files: u64,
    bytes: u64,
}

#[derive(Default)]
struct Failures {
    count: u64,
    first: Option<String>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct File {
    changed: SystemTime,
    path: PathBuf,
    bytes: u64,
}

impl<'a> Sweep<'a> {
    fn new(config: &'a CleanConfig, over: &'a AtomicBool) -> Result<Self> {
        let at = || format!("cannot read {}", config.directory.display());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, &config.directory, flags, Mode::empty());
        let root = root.map_err(|e| Error::env(at(), e.into()))?;
        let device = rustix::fs::fstat(&root).map_err(|e| Error::env(at(), e.into()))?.st_dev;
        Ok(Self {
            config,
            over,
            root,
            device,
            most: MOST,
            oldest: config.older_than.and_then(|age| clock::calendar().checked_sub(age)),
            ahead: vec![PathBuf::new()],
            young: Vec::new(),
            forgotten: 0,
            left: Amount::default(),
            removed: Amount::default(),
            failed: Failures::default(),
        })
    }

    fn run(mut self) -> Result<()> {
        while let Some(path) = self.ahead.pop()
            && !self.is_over()
        {
            if let Err(e) = self.see_into(&path) {
                self.failed.note(&path, e);
            }
        }
        self.young.sort_unstable();
        for file in std::mem::take(&mut self.young) {
            if self.fits() || self.is_over() {
                break;
            }
            if let Err(e) = self.remove_young(&file) {
                self.failed.note(&file.path, e);
            }
        }
        let Amount { files, bytes } = self.removed;
        if files > 0 {
            let dry_run = self.config.dry_run;
            info!(directory = %self.config.directory.display(), files, bytes, dry_run, "cleaned up");
        }
        if self.forgotten > 0 {
            let directory = self.config.directory.display();
            warn!(%directory, "{} files and directories are left for later runs", self.forgotten);
        }
        self.failed.into_result()
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn may_be_too_many(&self) -> bool {
        self.config.max_size.is_some() || self.config.max_files.is_some()
    }

    /// Whether what is left may stay.
    fn fits(&self) -> bool {
        let CleanConfig { max_size, max_files, .. } = self.config;
        max_size.is_none_or(|most| self.left.bytes <= most.0)
            && max_files.is_none_or(|most| self.left.files <= most)
    }

    /// Removes what is too old in a directory, and remembers the rest.
    fn see_into(&mut self, path: &Path) -> Result<(), Errno> {
        let directory = self.open(path)?;
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = Path::new(OsStr::from_bytes(entry.file_name().to_bytes()));
            if name == Path::new(".") || name == Path::new("..") {
                continue;
            }
            if self.is_over() {
                return Ok(());
            }
            let full = path.join(name);
            if let Err(e) = self.see(&directory, name, full.clone()) {
                self.failed.note(&full, e);
            }
        }
        Ok(())
    }

    fn see(&mut self, directory: &OwnedFd, name: &Path, full: PathBuf) -> Result<(), Errno> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory
                if self.config.recursive && stat.st_dev == self.device && self.has_room() =>
            {
                self.ahead.push(full);
            }
            FileType::RegularFile if self.is_meant(name, &full) => {
                let (changed, bytes) = (changed(&stat), stat.st_size.unsigned_abs());
                self.left.files += 1;
                self.left.bytes += bytes;
                if self.oldest.is_some_and(|oldest| changed < oldest) {
                    self.remove(directory, name, &full, bytes)?;
                } else if self.may_be_too_many() && self.has_room() {
                    self.young.push(File { changed, path: full, bytes });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether another file or directory can be remembered.
    fn has_room(&mut self) -> bool {
        let room = self.ahead.len() + self.young.len() < self.most;
        self.forgotten += u64::from(!room);
        room
    }

    fn is_meant(&self, name: &Path, full: &Path) -> bool {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        self.config.patterns.iter().any(|Pattern(pattern)| {
            let text = if pattern.as_str().contains('/') { full } else { name };
            pattern.matches_with(&text.to_string_lossy(), options)
        })
    }

    /// Removes a file that was seen a while ago, unless it was changed since.
    fn remove_young(&mut self, file: &File) -> Result<(), Errno> {
        let directory = self.open(file.path.parent().unwrap_or(Path::new("")))?;
        let name = Path::new(file.path.file_name().unwrap_or_default());
        let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if changed(&stat) == file.changed {
            self.remove(&directory, name, &file.path, file.bytes)?;
        }
        Ok(())
    }

    fn remove(
        &mut self,
        directory: &OwnedFd,
        name: &Path,
        full: &Path,
        bytes: u64,
    ) -> Result<(), Errno> {
        if self.config.dry_run {
            info!(directory = %self.config.directory.display(), file = ?full, "would be removed");
        } else {
            rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
        }
        self.left.files -= 1;
        self.left.bytes -= bytes;
        self.removed.files += 1;
        self.removed.bytes += bytes;
        Ok(())
    }

    /// Opens a directory below the root, name by name, so that no link leads elsewhere.
    fn open(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |at: &OwnedFd, name: &Path| rustix::fs::openat(at, name, flags, Mode::empty());
        let start = open(&self.root, Path::new("."))?;
        path.iter().try_fold(start, |at, name| open(&at, Path::new(name)))
    }
}

impl Failures {
    fn note(&mut self, path: &Path, e: Errno) {
        // Another was faster.
        if e != Errno::NOENT {
            self.count += 1;
            self.first
                .get_or_insert_with(|| format!("{}: {}", path.display(), std::io::Error::from(e)));
        }
    }

    fn into_result(self) -> Result<()> {
        match self.first {
            None => Ok(()),
            Some(first) if self.count == 1 => Err(Error::other(first)),
            Some(first) => Err(Error::other(format!("{first}; and {} more", self.count - 1))),
        }
    }
}

fn changed(stat: &Stat) -> SystemTime {
    let seconds = Duration::from_secs(stat.st_mtime.unsigned_abs());
    let second = match stat.st_mtime {
        0.. => SystemTime::UNIX_EPOCH.checked_add(seconds),
        _ => SystemTime::UNIX_EPOCH.checked_sub(seconds),
    };
    let nanos = Duration::from_nanos(stat.st_mtime_nsec);
    second.unwrap_or(SystemTime::UNIX_EPOCH) + nanos
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match glob::Pattern::new(&text) {
            Ok(pattern) => Ok(Self(pattern)),
            Err(e) => Err(format!("\"{text}\" is no pattern: {}", e.msg)),
        }
    }
}

impl ConfigType for Pattern {
    fn kind() -> Cow<'static, str> {
        "pattern of file names".into()
    }

    fn show(&self) -> String {
        self.0.as_str().to_owned().show()
    }
}

#[cfg(test)]
mod tests {
    use hemi_test::Site;

    use super::*;

    #[test]
    fn what_it_cannot_remember_is_left_for_the_next_run() {
        let site = Site::new().unwrap().file("a", "").unwrap().file("b", "").unwrap();
        let site = site.file("c", "").unwrap();
        let config = CleanConfig {
            directory: site.root().to_owned(),
            patterns: all_files(),
            older_than: None,
            max_size: None,
            max_files: Some(0),
            recursive: true,
            dry_run: false,
        };
        let over = AtomicBool::new(false);
        let mut sweep = Sweep::new(&config, &over).unwrap();
        sweep.most = 2;
        sweep.run().unwrap();
        assert_eq!(std::fs::read_dir(site.root()).unwrap().count(), 1);
        // The next run goes on with it; one that nobody waits for does nothing.
        over.store(true, Ordering::Relaxed);
        Sweep::new(&config, &over).unwrap().run().unwrap();
        assert_eq!(std::fs::read_dir(site.root()).unwrap().count(), 1);
        over.store(false, Ordering::Relaxed);
        Sweep::new(&config, &over).unwrap().run().unwrap();
        assert_eq!(std::fs::read_dir(site.root()).unwrap().count(), 0);
    }
}
