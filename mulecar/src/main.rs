//! The playground of Hemi's developers.
fn main() {}
