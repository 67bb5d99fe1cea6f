//! The 30-line Hemi program.
fn main() {}
