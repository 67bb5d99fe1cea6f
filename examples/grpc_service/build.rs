//! Makes the service of its `.proto` file. No `protoc` has to be installed.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "Cargo speaks so")]

use std::path::Path;

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["greeter.proto"], ["proto"])?;
    // For reflection, and for messages in JSON.
    let descriptors = Path::new(&std::env::var("OUT_DIR")?).join("greeter.bin");
    std::fs::write(descriptors, files.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
