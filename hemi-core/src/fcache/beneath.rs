//! Opens files below a directory, wherever their path or a link on it points.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Read only; a pipe does not make us wait for its writer.
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A directory that paths are resolved below.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// Opens `path`, which is relative; empty stands for the directory itself.
    ///
    /// Where the kernel has `openat2` (Linux 5.6), links are followed that stay below the directory;
    /// elsewhere none are.
    pub(super) fn open_file(&self, path: &str) -> io::Result<File> {
        static NO_OPENAT2: AtomicBool = AtomicBool::new(false);
        let path = if path.is_empty() { "." } else { path };
        if !NO_OPENAT2.load(Ordering::Relaxed) {
            match self.open_beneath(path) {
                // A sandbox that does not know the call refuses it.
                Err(Errno::NOSYS | Errno::PERM) => NO_OPENAT2.store(true, Ordering::Relaxed),
                Err(Errno::XDEV) => return Err(io::ErrorKind::PermissionDenied.into()),
                done => return Ok(done?.into()),
            }
        }
        self.walk(Path::new(path))
    }

    fn open_beneath(&self, path: &str) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..8 {
            match rustix::fs::openat2(&self.0, path, FILE, Mode::empty(), resolve) {
                // Something was renamed while the kernel looked.
                Err(Errno::AGAIN) => {}
                done => return done,
            }
        }
        Err(Errno::AGAIN)
    }

    fn walk(&self, path: &Path) -> io::Result<File> {
        let mut at: Option<OwnedFd> = None;
        let mut parts = path.components().filter(|c| *c != Component::CurDir).peekable();
        let enter = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        while let Some(part) = parts.next() {
            let Component::Normal(name) = part else {
                return Err(io::ErrorKind::PermissionDenied.into());
            };
            let flags = if parts.peek().is_some() { enter } else { FILE | OFlags::NOFOLLOW };
            at = Some(rustix::fs::openat(
                at.as_ref().unwrap_or(&self.0),
                name,
                flags,
                Mode::empty(),
            )?);
        }
        match at {
            Some(file) => Ok(file.into()),
            None => Ok(rustix::fs::openat(&self.0, ".", FILE, Mode::empty())?.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_leads_out() {
        let base = std::env::temp_dir().join(format!("hemi-beneath-{}", std::process::id()));
        let root = base.join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(base.join("secret"), "secret").unwrap();
        std::fs::write(root.join("sub/file"), "file").unwrap();
        symlink("../secret", root.join("up")).unwrap();
        symlink(base.join("secret"), root.join("absolute")).unwrap();
        symlink("sub/file", root.join("inside")).unwrap();
        symlink("..", root.join("sub/dir")).unwrap();
        let directory = Directory::open(&root).unwrap();
        for (path, beneath, walk) in [
            ("sub/file", true, true),
            ("", true, true),
            ("sub", true, true),
            ("inside", true, false),
            ("sub/dir/sub/file", true, false),
            ("up", false, false),
            ("absolute", false, false),
            ("../secret", false, false),
            ("sub/../../secret", false, false),
            ("/etc/passwd", false, false),
        ] {
            assert_eq!(directory.open_file(path).is_ok(), beneath, "openat2 {path}");
            assert_eq!(directory.walk(Path::new(path)).is_ok(), walk, "walk {path}");
        }
        std::fs::remove_dir_all(base).unwrap();
    }
}
