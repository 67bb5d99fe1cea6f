//! The files below the root. What is here may block; no link is followed, and nothing outside is reached.

mod change;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use hemi_core::fcache::Root;
use hemi_proto::webdav::xml::Element;
use rustix::fs::{AtFlags, FileType, StatxFlags, XattrFlags, fgetxattr, fsetxattr, statx};
use rustix::io::Errno;

use super::paths::DavPath;

pub(super) use change::{Failed, Place, Upload};

/// The attribute of a file that holds the properties which clients have given it.
const PROPERTIES: &str = "user.webdav";

/// Bytes of that attribute, at most, as the kernel has it.
const MAX_PROPERTIES: usize = 64 << 10;

/// A directory, and all that is in it.
#[derive(Debug)]
pub(super) struct Tree {
    /// No links are followed below it.
    root: Root,
    /// Held while properties are read, changed and written.
    pub(super) patching: Mutex<()>,
}

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Collection,
}

/// What is known about a file or collection.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    pub(super) kind: Kind,
    pub(super) len: u64,
    pub(super) modified: SystemTime,
    /// If the file system knows.
    pub(super) created: Option<SystemTime>,
    pub(super) mode: u32,
    inode: u64,
    /// Nanoseconds.
    changed: i128,
}

impl Meta {
    /// Looks at an entry of a directory, or at the opened file itself by an empty name.
    ///
    /// # Errors
    /// What the system says; `NotFound` for links, devices and the like too.
    pub(super) fn of(at: impl AsFd, name: &str) -> io::Result<Self> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        let found = statx(at, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?;
        let kind = match FileType::from_raw_mode(found.stx_mode.into()) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Collection,
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        let knows = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
        let (seconds, nanos) = (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec);
        Ok(Self {
            kind,
            len: found.stx_size,
            modified: time(seconds, nanos),
            created: knows.then(|| time(found.stx_btime.tv_sec, found.stx_btime.tv_nsec)),
            mode: u32::from(found.stx_mode) & 0o777,
            inode: found.stx_ino,
            changed: i128::from(seconds) * 1_000_000_000 + i128::from(nanos),
        })
    }

    /// The entity tag of a file.
    pub(super) fn etag(&self) -> String {
        format!("\"{:x}-{:x}-{:x}\"", self.inode, self.changed, self.len)
    }
}

fn time(seconds: i64, nanos: u32) -> SystemTime {
    let since_epoch = Duration::new(u64::try_from(seconds).unwrap_or(0), nanos);
    SystemTime::UNIX_EPOCH.checked_add(since_epoch).unwrap_or(SystemTime::UNIX_EPOCH)
}

impl Tree {
    /// The tree of a root that follows no links.
    pub(super) fn new(root: Root) -> Self {
        Self { root, patching: Mutex::new(()) }
    }

    /// Opens a file or directory to be read.
    ///
    /// # Errors
    /// What the system says; `NotFound` for devices and the like too.
    pub(super) fn open(&self, path: &DavPath) -> io::Result<(File, Meta)> {
        let file = self.root.open(path.as_str())?;
        let meta = Meta::of(&file, "")?;
        Ok((file, meta))
    }

    /// What is there, if something is.
    ///
    /// # Errors
    /// When it can't be found out.
    pub(super) fn look(&self, path: &DavPath) -> io::Result<Option<Meta>> {
        let found = match path.split() {
            None => self.open(path).map(|(_, meta)| meta),
            Some((parent, name)) => {
                self.open(&parent).and_then(|(directory, _)| Meta::of(directory, name))
            }
        };
        match found {
            Ok(meta) => Ok(Some(meta)),
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Opens the directory that something is in, or will be; with the name that it has there.
    ///
    /// # Errors
    /// What the system says; `PermissionDenied` for the root.
    fn directory_of<'p>(&self, path: &'p DavPath) -> io::Result<(File, &'p str)> {
        let (parent, name) = path.split().ok_or(io::ErrorKind::PermissionDenied)?;
        let (directory, meta) = self.open(&parent)?;
        if meta.kind == Kind::File {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok((directory, name))
    }
}

/// The properties that clients have given a file; none if somebody else has written what is no list of them.
pub(super) fn properties(file: &File) -> Vec<Element> {
    let Ok(stored) = stored_properties(file) else { return Vec::new() };
    let document = [b"<p>", &*stored, b"</p>"].concat();
    let list = Element::parse(&document).ok();
    list.iter().flat_map(Element::elements).cloned().collect()
}

/// Gives a file these properties.
///
/// # Errors
/// `StorageFull` when there are more than the file system takes, `Unsupported` when it takes none.
pub(super) fn set_properties(file: &File, properties: &[Element]) -> io::Result<()> {
    let mut text = String::new();
    properties.iter().for_each(|property| property.write(&mut text));
    store_properties(file, text.as_bytes())
}

fn stored_properties(file: &File) -> io::Result<Vec<u8>> {
    let mut stored = vec![0; 4 << 10];
    loop {
        match fgetxattr(file, PROPERTIES, &mut stored[..]) {
            Ok(len) => {
                stored.truncate(len);
                return Ok(stored);
            }
            Err(Errno::RANGE) if stored.len() < MAX_PROPERTIES => stored.resize(MAX_PROPERTIES, 0),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(e) => return Err(e.into()),
        }
    }
}

fn store_properties(file: &File, text: &[u8]) -> io::Result<()> {
    let stored = match text {
        [] => match rustix::fs::fremovexattr(file, PROPERTIES) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            removed => removed,
        },
        text => fsetxattr(file, PROPERTIES, text, XattrFlags::empty()),
    };
    stored.map_err(|e| match e {
        Errno::NOSPC | Errno::DQUOT | Errno::TOOBIG | Errno::RANGE => {
            io::ErrorKind::StorageFull.into()
        }
        Errno::OPNOTSUPP => io::ErrorKind::Unsupported.into(),
        e => e.into(),
    })
}
