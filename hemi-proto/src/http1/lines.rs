//! Finds the empty line that ends a section of field lines, in one pass over bytes that trickle in.

use memchr::memchr_iter;

/// How far a section has been scanned. Every line of it must end with CRLF.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LineScan {
    scanned: usize,
    line_start: usize,
    complete: usize,
}

/// A line that ends with LF alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BareLf;

impl LineScan {
    /// The length of the section with its empty line, once `buf` holds all of it.
    ///
    /// `buf` starts with the section and holds at least what it held before.
    pub(crate) fn find_end(&mut self, buf: &[u8]) -> Result<Option<usize>, BareLf> {
        let fresh = buf.get(self.scanned..).unwrap_or_default();
        for offset in memchr_iter(b'\n', fresh) {
            let at = self.scanned + offset;
            if at == self.line_start || buf.get(at - 1) != Some(&b'\r') {
                return Err(BareLf);
            }
            if at == self.line_start + 1 {
                return Ok(Some(at + 1));
            }
            self.line_start = at + 1;
            self.complete += 1;
        }
        self.scanned = buf.len();
        Ok(None)
    }

    /// Bytes scanned without finding the end.
    pub(super) fn scanned(&self) -> usize {
        self.scanned
    }

    /// Complete lines before the end.
    pub(super) fn complete(&self) -> usize {
        self.complete
    }
}
