//! The pid file, whose lock says that a leader lives: there is one in a directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

/// A lock that is held until it is dropped, and by all processes that it is shared with.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

/// Why there is no lock.
#[derive(Debug)]
pub(super) enum NoLock {
    /// This process has it.
    Held(String),
    Io(io::Error),
}

impl From<io::Error> for NoLock {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl Lock {
    /// Takes the lock and writes the id of this process into the file.
    pub(super) fn take(path: &Path) -> Result<Self, NoLock> {
        loop {
            let mut options = OpenOptions::new();
            // The directory may be a worker's, which must not point elsewhere.
            options.custom_flags(OFlags::NOFOLLOW.bits() as i32);
            let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let mut pid = String::new();
                    (&file).take(32).read_to_string(&mut pid)?;
                    return Err(NoLock::Held(pid.trim().to_owned()));
                }
                Err(e) => return Err(NoLock::Io(e.into())),
            }
            // One that has ended since may have taken the file away.
            let there = std::fs::metadata(path).map(|meta| meta.ino()).ok();
            if there == Some(file.metadata()?.ino()) {
                let lock = Self { file, path: path.to_owned() };
                lock.sign()?;
                return Ok(lock);
            }
        }
    }

    /// The lock of another leader, which shares it with this one.
    pub(super) fn inherit(file: OwnedFd, path: &Path) -> Self {
        Self { file: file.into(), path: path.to_owned() }
    }

    /// The same lock, for another leader.
    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    /// Writes the id of this process into the file.
    pub(super) fn sign(&self) -> io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    }

    /// Takes the file away: the program has ended.
    pub(super) fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
