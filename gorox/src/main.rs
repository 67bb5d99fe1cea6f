//! A web server, application server and proxy in one binary.
fn main() {}
