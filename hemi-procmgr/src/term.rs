//! What is said on the terminal. A reader that has gone away is no error.

use std::io::Write;

/// Prints to standard output, as it is.
pub(crate) fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Prints a line to standard error.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
