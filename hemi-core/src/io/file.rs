//! Open files that answers are sent from, and what is kept of their contents for connections that can't have
//! the kernel send them.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rustix::buffer::spare_capacity;

/// An open file that many answers send from at once, each at its own offset.
#[derive(Clone, Debug)]
pub struct SharedFile(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: File,
    /// None of a file that is too large, or that nobody else will ask for.
    contents: Option<Contents>,
}

/// All bytes of a file, once they were asked for.
#[derive(Debug)]
struct Contents {
    len: u64,
    room: Arc<Room>,
    asked: AtomicBool,
    /// None if they could not be had.
    bytes: OnceLock<Option<Bytes>>,
}

/// Bytes of contents that may be kept, by all that share this.
#[derive(Debug)]
pub(crate) struct Room {
    left: AtomicU64,
}

impl Room {
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(bytes) })
    }

    fn take(&self, bytes: u64) -> bool {
        let less = |left: u64| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn give(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl SharedFile {
    /// A file whose contents, of so many bytes, may be kept where there is room.
    pub(crate) fn kept_in(file: File, len: u64, room: Arc<Room>) -> Self {
        let (asked, bytes) = (AtomicBool::new(false), OnceLock::new());
        Self(Arc::new(Shared { file, contents: Some(Contents { len, room, asked, bytes }) }))
    }

    /// A part of the contents, if they are in memory: they are read when they are asked for the second time, if
    /// the file is kept open for others, too. For who has to have them in memory; others do best by the file.
    #[must_use]
    pub fn in_memory(&self, range: &Range<u64>) -> Option<Bytes> {
        let contents = self.0.contents.as_ref()?;
        if !contents.asked.swap(true, Ordering::Relaxed) {
            return None;
        }
        let bytes = contents.bytes.get_or_init(|| contents.read(&self.0.file)).as_ref()?;
        let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
        (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
    }

    /// Reads so many bytes, wherever they are.
    ///
    /// # Errors
    /// `UnexpectedEof` if there are fewer, and what reading gave.
    pub fn read(&self, at: u64, len: usize) -> io::Result<Bytes> {
        read(&self.0.file, at, len)
    }
}

impl Contents {
    fn read(&self, file: &File) -> Option<Bytes> {
        if !self.room.take(self.len) {
            return None;
        }
        let all = read(file, 0, usize::try_from(self.len).ok()?).ok();
        if all.is_none() {
            self.room.give(self.len);
        }
        all
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        if let Some(Some(_)) = self.bytes.get() {
            self.room.give(self.len);
        }
    }
}

/// Reads so many bytes.
fn read(file: &File, at: u64, len: usize) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = at + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    bytes.truncate(len);
    Ok(bytes.into())
}

impl From<File> for SharedFile {
    fn from(file: File) -> Self {
        Self(Arc::new(Shared { file, contents: None }))
    }
}

impl Deref for SharedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0.file
    }
}

impl AsFd for SharedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(contents: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!("hemi-file-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        file.write_all(contents).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    #[test]
    fn what_is_asked_for_twice_is_kept_where_there_is_room() {
        let room = Room::new(10);
        let first = SharedFile::kept_in(file(b"sixsix"), 6, room.clone());
        assert_eq!(first.in_memory(&(0..6)), None);
        assert_eq!(first.in_memory(&(1..4)).unwrap(), "ixs");
        assert_eq!(first.in_memory(&(1..7)), None);
        let second = SharedFile::kept_in(file(b"five5"), 5, room.clone());
        assert_eq!([second.in_memory(&(0..5)), second.in_memory(&(0..5))], [None, None]);
        drop(first);
        assert_eq!(room.left.load(Ordering::Relaxed), 10);
        // One that has become shorter is not kept, nor one that nobody else will ask for.
        let third = SharedFile::kept_in(file(b"four"), 5, room.clone());
        assert_eq!([third.in_memory(&(0..4)), third.in_memory(&(0..4))], [None, None]);
        drop(third);
        assert_eq!(room.left.load(Ordering::Relaxed), 10);
        let fourth = SharedFile::from(file(b"four"));
        assert_eq!([fourth.in_memory(&(0..4)), fourth.in_memory(&(0..4))], [None, None]);
    }
}
