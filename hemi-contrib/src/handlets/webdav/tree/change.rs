//! Makes, replaces, copies, moves and removes what is in a tree.

use std::ffi::{CStr, CString};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, Dir, Mode, OFlags, RenameFlags, mkdirat, openat, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use tokio::runtime::Handle;

use super::super::paths::{DavPath, TEMPORARY};
use super::{Kind, Meta, Tree, store_properties, stored_properties};

/// Collections inside each other that are copied or removed, at most: each takes a descriptor.
const MAX_LEVELS: usize = 100;

/// To read what is there, but through no link.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::NOFOLLOW);

/// What could not be copied or removed; there may be more.
#[derive(Debug)]
pub(in super::super) struct Failed {
    pub(in super::super) path: DavPath,
    pub(in super::super) error: io::Error,
}

/// What may be where something is to be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Place {
    /// Nothing.
    Free,
    /// Another file.
    Any,
}

impl Tree {
    /// Makes a collection.
    ///
    /// # Errors
    /// What the system says, `AlreadyExists` among it.
    pub(in super::super) fn make_collection(&self, path: &DavPath) -> io::Result<()> {
        let (directory, name) = self.directory_of(path)?;
        Ok(mkdirat(&directory, name, Mode::from_raw_mode(0o777))?)
    }

    /// Begins a file that is to be put to this path.
    ///
    /// # Errors
    /// What the system says.
    pub(in super::super) fn upload(&self, path: &DavPath) -> io::Result<Upload> {
        let (directory, name) = self.directory_of(path)?;
        Upload::begin(directory, &CString::new(name)?)
    }

    /// Moves something to where nothing, or a file, is.
    ///
    /// # Errors
    /// What the system says; `CrossesDevices` if that is in another file system.
    pub(in super::super) fn rename(&self, from: &DavPath, to: &DavPath) -> io::Result<()> {
        let (from, from_name) = self.directory_of(from)?;
        let (to, to_name) = self.directory_of(to)?;
        Ok(renameat(&from, from_name, &to, to_name)?)
    }

    /// Copies a file, or a collection with all that is in it, to where nothing, or a file, is.
    ///
    /// # Errors
    /// The first thing that could not be copied. What was copied before it stays.
    pub(in super::super) fn copy(&self, from: &DavPath, to: &DavPath) -> Result<(), Failed> {
        let opened = || Ok((self.open(from)?, self.directory_of(to)?));
        let ((from, meta), (directory, name)) =
            opened().map_err(|error| Failed { path: to.clone(), error })?;
        let fail = |e: std::ffi::NulError| Failed { path: to.clone(), error: e.into() };
        copy(from, &meta, &directory, &CString::new(name).map_err(fail)?, to, MAX_LEVELS)
    }

    /// Makes a collection with the properties of another, but with nothing in it.
    ///
    /// # Errors
    /// What the system says.
    pub(in super::super) fn copy_shallow(&self, from: &DavPath, to: &DavPath) -> io::Result<()> {
        let (from, _) = self.open(from)?;
        let (directory, name) = self.directory_of(to)?;
        like(&from, &directory, &CString::new(name)?).map(drop)
    }

    /// Removes a file, or a collection with all that is in it.
    ///
    /// # Errors
    /// The first thing that could not be removed. What was removed before it is gone.
    pub(in super::super) fn remove(&self, path: &DavPath) -> Result<(), Failed> {
        let (directory, name) =
            self.directory_of(path).map_err(|error| Failed { path: path.clone(), error })?;
        let fail = |e: std::ffi::NulError| Failed { path: path.clone(), error: e.into() };
        remove(&directory, &CString::new(name).map_err(fail)?, path, MAX_LEVELS)
    }
}

/// A file that is being written, and vanishes unless it is put to its place.
#[derive(Debug)]
pub(in super::super) struct Upload {
    directory: File,
    name: CString,
    file: File,
    /// The name that it has until then.
    temporary: Option<String>,
}

impl Upload {
    fn begin(directory: File, name: &CStr) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let temporary = format!("{TEMPORARY}{}-{number}", std::process::id());
            match openat(&directory, &*temporary, flags, Mode::from_raw_mode(0o666)) {
                // Left behind by a process that was killed and had the same id.
                Err(Errno::EXIST) => {}
                opened => {
                    let (file, name) = (opened?.into(), name.to_owned());
                    return Ok(Self { directory, name, file, temporary: Some(temporary) });
                }
            }
        }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// What the system says.
    pub(in super::super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Puts it to its place. The mode and properties of the file that was there stay.
    ///
    /// # Errors
    /// What the system says; `AlreadyExists` if something is in a place that has to be free.
    pub(in super::super) fn place(mut self, place: Place) -> io::Result<Meta> {
        if place == Place::Any {
            self.inherit()?;
        }
        let Some(temporary) = &self.temporary else { return Err(io::ErrorKind::NotFound.into()) };
        let how = if place == Place::Free { RenameFlags::NOREPLACE } else { RenameFlags::empty() };
        match renameat_with(&self.directory, &**temporary, &self.directory, &self.name, how) {
            // A file system that can't promise it.
            Err(Errno::INVAL) if place == Place::Free => {
                renameat(&self.directory, &**temporary, &self.directory, &self.name)?;
            }
            renamed => renamed?,
        }
        self.temporary = None;
        Meta::of(&self.file, "")
    }

    fn inherit(&self) -> io::Result<()> {
        let Ok(before) = openat(&self.directory, &self.name, READ, Mode::empty()) else {
            return Ok(());
        };
        let before = File::from(before);
        let meta = Meta::of(&before, "")?;
        if meta.kind == Kind::File {
            self.file.set_permissions(Permissions::from_mode(meta.mode))?;
            store_properties(&self.file, &stored_properties(&before)?)?;
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(temporary) = self.temporary.take() else { return };
        let Ok(directory) = self.directory.try_clone() else { return };
        // What can't be removed is left to who cleans the directory.
        let end = move || {
            let _ = unlinkat(&directory, temporary, AtFlags::empty());
        };
        // A core does not wait until the blocks of a long file are free.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(end)),
            Err(_) => end(),
        }
    }
}

/// Makes a directory with the properties of another, and opens it.
fn like(from: &File, directory: &File, name: &CStr) -> io::Result<File> {
    mkdirat(directory, name, Mode::from_raw_mode(0o777))?;
    let made = File::from(openat(directory, name, READ | OFlags::DIRECTORY, Mode::empty())?);
    store_properties(&made, &stored_properties(from)?)?;
    Ok(made)
}

/// Copies what is opened to `name` in a directory, which has the path `to`.
fn copy(
    from: File,
    meta: &Meta,
    directory: &File,
    name: &CStr,
    to: &DavPath,
    levels: usize,
) -> Result<(), Failed> {
    let fail = |error| Failed { path: to.clone(), error };
    if meta.kind == Kind::File {
        return copy_file(from, meta, directory, name).map_err(fail);
    }
    let levels = levels.checked_sub(1).ok_or_else(too_deep).map_err(fail)?;
    let made = like(&from, directory, name).map_err(fail)?;
    for entry in names(&from).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let path = join(to, &entry);
        let fail = |error| Failed { path: path.clone(), error };
        match openat(&from, &*entry, READ, Mode::empty()) {
            // A link, or gone meanwhile; a socket.
            Err(Errno::LOOP | Errno::NOENT | Errno::NXIO) => {}
            Err(e) => return Err(fail(e.into())),
            Ok(opened) => match Meta::of(&opened, "") {
                Ok(meta) => copy(opened.into(), &meta, &made, &entry, &path, levels)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(fail(e)),
            },
        }
    }
    Ok(())
}

fn copy_file(mut from: File, meta: &Meta, directory: &File, name: &CStr) -> io::Result<()> {
    let mut upload = Upload::begin(directory.try_clone()?, name)?;
    io::copy(&mut from, &mut upload.file)?;
    upload.file.set_permissions(Permissions::from_mode(meta.mode))?;
    store_properties(&upload.file, &stored_properties(&from)?)?;
    let Some(temporary) = upload.temporary.as_ref() else { return Ok(()) };
    renameat(directory, &**temporary, directory, name)?;
    upload.temporary = None;
    Ok(())
}

/// Removes what has a name in a directory, and the path `path`.
fn remove(directory: &File, name: &CStr, path: &DavPath, levels: usize) -> Result<(), Failed> {
    let fail = |error| Failed { path: path.clone(), error };
    match unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        removed => return removed.map_err(|e| fail(e.into())),
    }
    let levels = levels.checked_sub(1).ok_or_else(too_deep).map_err(fail)?;
    let opened = openat(directory, name, READ | OFlags::DIRECTORY, Mode::empty());
    let opened = File::from(opened.map_err(|e| fail(e.into()))?);
    for entry in names(&opened).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        match remove(&opened, &entry, &join(path, &entry), levels) {
            Err(failed) if failed.error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    unlinkat(directory, name, AtFlags::REMOVEDIR).map_err(|e| fail(e.into()))
}

fn too_deep() -> io::Error {
    io::ErrorKind::QuotaExceeded.into()
}

/// The names in a directory, those that no request can have among them.
fn names(directory: &File) -> io::Result<impl Iterator<Item = io::Result<CString>>> {
    let entries = Dir::read_from(directory)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_owned()));
    Ok(names.filter(|name: &io::Result<CString>| {
        !name.as_ref().is_ok_and(|name| matches!(name.to_bytes(), b"." | b".."))
    }))
}

/// The path of an entry, as far as it has one that can be told.
fn join(path: &DavPath, name: &CStr) -> DavPath {
    path.join(&name.to_string_lossy())
}
