//! What lines are written to: a file that may be moved away or rotated, a pipe, stdout or stderr.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hemi_core::clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use tracing::warn;

use super::Target;
use super::rotation::{When, set_aside};
use crate::loggers::gather::count;

/// How long what waits is waited for that takes no more; meanwhile lines are gathered.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a pipe takes in one piece, without a byte of others in between.
const PIECE: usize = 4096;

/// What is written.
#[derive(Debug)]
pub(super) struct Output {
    sink: Sink,
    when: When,
    /// The rest of a line that the file has the beginning of.
    begun: Vec<u8>,
    /// How long this round of writing may wait.
    until: Instant,
    rotations: u64,
    /// The last rotation failed, and that was told.
    stuck: bool,
}

#[derive(Debug)]
enum Sink {
    Stdout,
    Stderr,
    File(Log),
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    /// Bytes in it, if it is one that can be rotated.
    size: Option<u64>,
    /// The hour or day that its lines are of.
    period: u64,
}

/// Why lines were lost, and how many.
pub(super) type Lost = (io::Error, u64);

impl Output {
    /// Opens the target; the directory of a file is made.
    pub(super) fn open(target: &Target, when: When) -> io::Result<Self> {
        let sink = match target {
            Target::Stdout => Sink::Stdout,
            Target::Stderr => Sink::Stderr,
            Target::File(path) => {
                if let Some(directory) = path.parent() {
                    std::fs::create_dir_all(directory)?;
                }
                Sink::File(Log::open(path, when)?)
            }
        };
        let (begun, until) = (Vec::new(), clock::exact());
        Ok(Self { sink, when, begun, until, rotations: 0, stuck: false })
    }

    /// How often the file was rotated.
    pub(super) fn rotations(&self) -> u64 {
        self.rotations
    }

    /// Begins a round of writing. If another file, or none, is in the place of the file, it is opened.
    pub(super) fn begin(&mut self, reopen: bool) {
        self.until = clock::exact() + PATIENCE;
        let Sink::File(log) = &mut self.sink else { return };
        if !self.begun.is_empty() {
            return;
        }
        if log.is_moved() || reopen {
            match Log::open(&log.path, self.when) {
                Ok(opened) => *log = opened,
                // The file that there was is better than none.
                Err(e) if reopen => {
                    warn!(file = %log.path.display(), "the log can't be opened anew: {e}");
                }
                Err(_) => {}
            }
        }
        // The logger of the stage before may still write there too.
        log.size = log.size.and_then(|_| log.file.metadata().ok()).map(|meta| meta.len());
        let period = self.when.period(clock::calendar());
        match log.size {
            Some(0) => log.period = period,
            Some(_) if log.period != period => {
                self.rotate();
            }
            _ => {}
        }
    }

    /// Writes whole lines.
    pub(super) fn append(&mut self, mut lines: &[u8]) -> Result<(), Lost> {
        let begun = std::mem::take(&mut self.begun);
        if let Err((e, written)) = self.write(&begun) {
            self.begun = begun.get(written..).unwrap_or_default().to_vec();
            return Err((e, count(lines)));
        }
        while !lines.is_empty() {
            let size = match &self.sink {
                Sink::File(Log { size: Some(size), .. }) => *size,
                _ => 0,
            };
            let mut fits = self.when.fitting(lines, size);
            if fits == 0 {
                fits = match self.rotate() {
                    true => self.when.fitting(lines, 0),
                    false => lines.len(),
                };
            }
            let (now, later) = lines.split_at(fits);
            if let Err((e, written)) = self.write(now) {
                return Err((e, self.keep_begun(now, written) + count(later)));
            }
            lines = later;
        }
        Ok(())
    }

    /// Of lines that were written up to somewhere, keeps the rest of the one that was begun; returns how
    /// many come after.
    fn keep_begun(&mut self, lines: &[u8], written: usize) -> u64 {
        let (taken, rest) = lines.split_at(written);
        if taken.last().is_none_or(|byte| *byte == b'\n') {
            return count(rest);
        }
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let (begun, rest) = rest.split_at(end);
        self.begun = begun.to_vec();
        count(rest)
    }

    /// Puts the file aside and begins a new one; false if that is impossible.
    fn rotate(&mut self) -> bool {
        let Sink::File(log) = &mut self.sink else { return false };
        let rotated = log
            .path
            .canonicalize()
            .and_then(|path| set_aside(&path))
            .and_then(|()| Log::open(&log.path, self.when));
        match rotated {
            Ok(opened) => {
                *log = opened;
                self.rotations += 1;
                self.stuck = false;
            }
            Err(e) => {
                if !std::mem::replace(&mut self.stuck, true) {
                    warn!(file = %log.path.display(), "the log can't be rotated, and grows: {e}");
                }
            }
        }
        !self.stuck
    }

    /// Writes all; an error says how many bytes were written before it.
    fn write(&mut self, bytes: &[u8]) -> Result<(), (io::Error, usize)> {
        let mut written = 0;
        while let Some(rest @ [_, ..]) = bytes.get(written..) {
            match self.write_some(rest) {
                Ok(0) => return Err((io::ErrorKind::WriteZero.into(), written)),
                Ok(more) => written += more,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait().map_err(|e| (e, written))?,
                Err(e) => return Err((e.into(), written)),
            }
        }
        Ok(())
    }

    fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        if let Sink::File(log) = &mut self.sink {
            let written = rustix::io::write(&log.file, bytes)?;
            log.size = log.size.map(|size| size + written as u64);
            return Ok(written);
        }
        // What others have open too can't be told not to block. It won't, for no more than a piece.
        self.wait().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::TIMEDOUT))?;
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        let end = memchr::memrchr(b'\n', piece).map_or(piece.len(), |end| end + 1);
        rustix::io::write(self.fd(), &piece[..end])
    }

    /// Waits until it takes more.
    fn wait(&self) -> io::Result<()> {
        let left = self.until.saturating_duration_since(clock::exact());
        let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::TimedOut)?;
        match poll(&mut [PollFd::from_borrowed_fd(self.fd(), PollFlags::OUT)], Some(&left)) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "it takes no more")),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.sink {
            Sink::Stdout => rustix::stdio::stdout(),
            Sink::Stderr => rustix::stdio::stderr(),
            Sink::File(log) => log.file.as_fd(),
        }
    }
}

impl Log {
    fn open(path: &Path, when: When) -> io::Result<Self> {
        let file = open(path)?;
        let meta = file.metadata()?;
        let period = match meta.modified() {
            // What a run before this one has left.
            Ok(modified) if meta.len() > 0 => when.period(modified),
            _ => when.period(clock::calendar()),
        };
        let size = meta.is_file().then_some(meta.len());
        Ok(Self { path: path.to_owned(), file, size, period })
    }

    /// Whether another file, or none, is in its place.
    fn is_moved(&self) -> bool {
        let identity = |meta: io::Result<Metadata>| meta.map(|m| (m.dev(), m.ino())).ok();
        identity(self.path.metadata()) != identity(self.file.metadata())
    }
}

/// Opens the file without ever waiting: of a pipe whose reader is slow, or not there, nobody knows when
/// it takes more.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    match options.open(path) {
        // A pipe without a reader opens for one that is its reader too, and holds lines for those to come.
        Err(e) if e.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            options.read(true).open(path)
        }
        opened => opened,
    }
}
