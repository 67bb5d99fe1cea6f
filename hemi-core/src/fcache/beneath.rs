//! Opens files below a directory, wherever their path or a link on it points.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};
use rustix::io::Errno;

use super::Links;

/// Read only; a pipe does not make us wait for its writer.
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Only to look at what is there, be it a link.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Links on one path, as the kernel counts them.
const MAX_LINKS: usize = 40;

/// A directory that paths are resolved below.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, path, flags, Mode::empty())?))
    }

    /// Opens `path`, which is relative; empty stands for the directory itself.
    pub(super) fn open_file(&self, path: &str, links: Links) -> io::Result<File> {
        static NO_OPENAT2: AtomicBool = AtomicBool::new(false);
        let path = if path.is_empty() { "." } else { path };
        let resolve = match links {
            Links::Beneath => ResolveFlags::NO_MAGICLINKS,
            Links::None => ResolveFlags::NO_SYMLINKS,
            // The kernel does not ask who owns a link.
            Links::Owner => return self.walk(Path::new(path), links),
        };
        // Linux 5.6 has the call.
        if !NO_OPENAT2.load(Ordering::Relaxed) {
            match self.open_beneath(path, resolve) {
                // A sandbox that does not know the call refuses it.
                Err(Errno::NOSYS | Errno::PERM) => NO_OPENAT2.store(true, Ordering::Relaxed),
                Err(Errno::XDEV) => return Err(io::ErrorKind::PermissionDenied.into()),
                done => return Ok(done?.into()),
            }
        }
        self.walk(Path::new(path), links)
    }

    fn open_beneath(&self, path: &str, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        let resolve = resolve | ResolveFlags::BENEATH;
        for _ in 0..8 {
            match openat2(&self.0, path, FILE, Mode::empty(), resolve) {
                // Something was renamed while the kernel looked.
                Err(Errno::AGAIN) => {}
                done => return done,
            }
        }
        Err(Errno::AGAIN)
    }

    /// The same, one step after the other.
    fn walk(&self, path: &Path, links: Links) -> io::Result<File> {
        let mut steps = Vec::new();
        push_steps(&mut steps, path)?;
        let mut walked = Walked { root: self.0.as_fd(), entered: Vec::new() };
        let mut followed = 0;
        while let Some(step) = steps.pop() {
            let here = walked.here();
            match step {
                Step::Up => walked.leave()?,
                Step::OwnedBy(owner) if fstat(here)?.st_uid == owner => {}
                Step::OwnedBy(_) => return Err(io::ErrorKind::PermissionDenied.into()),
                Step::Into(name) => {
                    let found = openat(here, &name, LOOK, Mode::empty())?;
                    let meta = fstat(&found)?;
                    if FileType::from_raw_mode(meta.st_mode) != FileType::Symlink {
                        walked.entered.push((found, name));
                        continue;
                    }
                    followed += 1;
                    if links == Links::None || followed > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    if links == Links::Owner {
                        steps.push(Step::OwnedBy(meta.st_uid));
                    }
                    let target = rustix::fs::readlinkat(&found, "", Vec::new())?;
                    push_steps(&mut steps, Path::new(OsStr::from_bytes(target.as_bytes())))?;
                }
            }
        }
        walked.open()
    }
}

/// What is left to be done on the way to a file.
enum Step {
    Into(OsString),
    Up,
    /// What a link has led to has to belong to the owner of the link.
    OwnedBy(u32),
}

/// Pushes the steps of a path, its first one last.
fn push_steps(steps: &mut Vec<Step>, path: &Path) -> io::Result<()> {
    for part in path.components().rev() {
        steps.push(match part {
            Component::Normal(name) => Step::Into(name.to_owned()),
            Component::ParentDir => Step::Up,
            Component::CurDir => continue,
            Component::RootDir | Component::Prefix(_) => {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
        });
    }
    Ok(())
}

/// The way from the directory to where a walk is.
struct Walked<'a> {
    root: BorrowedFd<'a>,
    /// What was entered, and by which name.
    entered: Vec<(OwnedFd, OsString)>,
}

impl Walked<'_> {
    fn here(&self) -> BorrowedFd<'_> {
        self.entered.last().map_or(self.root, |(fd, _)| fd.as_fd())
    }

    fn leave(&mut self) -> io::Result<()> {
        self.entered.pop().map(drop).ok_or(io::ErrorKind::PermissionDenied.into())
    }

    /// Opens what was looked at, if it still is there.
    fn open(mut self) -> io::Result<File> {
        let Some((seen, name)) = self.entered.pop() else {
            return Ok(openat(self.root, ".", FILE, Mode::empty())?.into());
        };
        let opened = openat(self.here(), name, FILE | OFlags::NOFOLLOW, Mode::empty())?;
        let identity = |meta: Stat| (meta.st_dev, meta.st_ino);
        if identity(fstat(&opened)?) != identity(fstat(&seen)?) {
            return Err(Errno::AGAIN.into());
        }
        Ok(opened.into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{lchown, symlink};

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
        symlink("inside", root.join("chain")).unwrap();
        symlink("..", root.join("sub/dir")).unwrap();
        symlink("up", root.join("to-up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let directory = Directory::open(&root).unwrap();
        for (path, plain, linked) in [
            ("sub/file", true, true),
            ("", true, true),
            ("sub", true, true),
            ("sub/../sub/file", true, true),
            ("inside", false, true),
            ("chain", false, true),
            ("sub/dir/sub/file", false, true),
            ("sub/dir", false, true),
            ("up", false, false),
            ("to-up", false, false),
            ("sub/dir/up", false, false),
            ("absolute", false, false),
            ("loop", false, false),
            ("sub/file/x", false, false),
            ("none", false, false),
            ("../secret", false, false),
            ("sub/../../secret", false, false),
            ("/etc/passwd", false, false),
        ] {
            for (links, opens) in
                [(Links::None, plain), (Links::Beneath, linked), (Links::Owner, linked)]
            {
                assert_eq!(directory.open_file(path, links).is_ok(), opens, "{path} {links:?}");
                let walked = directory.walk(Path::new(path), links);
                assert_eq!(walked.is_ok(), opens, "walk {path} {links:?}");
            }
        }
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn links_of_others_are_not_followed() {
        let root = std::env::temp_dir().join(format!("hemi-owner-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(root.join("file"), "file").unwrap();
        for link in ["mine", "theirs"] {
            symlink("file", root.join(link)).unwrap();
        }
        symlink("theirs", root.join("mine-to-theirs")).unwrap();
        symlink(".", root.join("their-directory")).unwrap();
        let others = [root.join("theirs"), root.join("their-directory")];
        let given = others.iter().try_for_each(|link| lchown(link, Some(12_345), None));
        let directory = Directory::open(&root).unwrap();
        for (path, opens) in [
            ("file", true),
            ("mine", true),
            ("theirs", given.is_err()),
            ("mine-to-theirs", given.is_err()),
            ("their-directory/file", given.is_err()),
        ] {
            assert_eq!(directory.open_file(path, Links::Owner).is_ok(), opens, "{path}");
            assert!(directory.open_file(path, Links::Beneath).is_ok(), "{path}");
        }
        std::fs::remove_dir_all(root).unwrap();
    }
}
