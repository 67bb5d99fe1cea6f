//! The project's own commands: test, tidy, bench, fuzz, peers.
fn main() {}
