//! The last lines of a process's log, in memory that outlives it: a leader reads there why its worker died,
//! even if that was killed.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{MemfdFlags, memfd_create};

/// Bytes that it holds.
const SIZE: u64 = 16 << 10;

/// Where the text begins: behind the number of bytes that were ever written.
const TEXT: u64 = 8;

/// A ring of text in a file that lives in memory.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    written: Mutex<u64>,
}

impl Journal {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let file = File::from(memfd_create("journal", MemfdFlags::CLOEXEC)?);
        file.set_len(TEXT + SIZE)?;
        Ok(Arc::new(Self { file, written: Mutex::new(0) }))
    }

    /// The file, for another process that is to read it.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    fn append(&self, text: &[u8]) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &text[text.len().saturating_sub(SIZE as usize)..];
        let start = (*written + (text.len() - kept.len()) as u64) % SIZE;
        let (end, wrapped) = kept.split_at(kept.len().min((SIZE - start) as usize));
        self.file.write_all_at(end, TEXT + start)?;
        self.file.write_all_at(wrapped, TEXT)?;
        *written += text.len() as u64;
        self.file.write_all_at(&written.to_ne_bytes(), 0)
    }
}

/// The last lines of somebody's journal, at most so many. Colours are left out.
pub(crate) fn last_lines(journal: &File, most: usize) -> Vec<String> {
    let read = || {
        let (mut written, mut ring) = ([0; TEXT as usize], vec![0; SIZE as usize]);
        journal.read_exact_at(&mut written, 0)?;
        journal.read_exact_at(&mut ring, TEXT)?;
        let written = u64::from_ne_bytes(written);
        match written > SIZE {
            true => ring.rotate_left((written % SIZE) as usize),
            false => ring.truncate(written as usize),
        }
        io::Result::Ok(String::from_utf8_lossy(&ring).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<_> = text.lines().map(plain).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(most)..].to_vec()
}

/// Without the sequences that set colours: ESC, `[`, ..., `m`.
fn plain(line: &str) -> String {
    let mut pieces = line.split('\x1b');
    let first = pieces.next().unwrap_or_default();
    let rest = pieces.map(|piece| piece.split_once('m').map_or("", |(_, text)| text));
    std::iter::once(first).chain(rest).collect()
}

/// Writes to the standard error, and into the journal if there is one.
pub(crate) struct Tee(pub(crate) Option<Arc<Journal>>);

impl Write for Tee {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if let Some(journal) = &self.0 {
            // What can't be kept is said at least.
            let _ = journal.append(text);
        }
        // A reader that has gone away is no error.
        let _ = io::stderr().write_all(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        let journal = Journal::new().unwrap();
        let reader = File::from(journal.share().unwrap());
        assert!(last_lines(&reader, 9).is_empty());
        journal.append(b"one\n\x1b[31mtwo\x1b[0m\n").unwrap();
        assert_eq!(last_lines(&reader, 9), ["one", "two"]);
        for line in 0..5000 {
            journal.append(format!("line {line}\n").as_bytes()).unwrap();
        }
        assert_eq!(last_lines(&reader, 2), ["line 4998", "line 4999"]);
        let all = last_lines(&reader, usize::MAX);
        assert!(all.len() > 1000 && all.len() < 5000, "{}", all.len());
        journal.append(format!("{}\nend\n", "x".repeat(40_000)).as_bytes()).unwrap();
        assert_eq!(last_lines(&reader, 1), ["end"]);
    }
}
