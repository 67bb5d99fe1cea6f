//! Makes the services of `.proto` files, without `protoc`.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "Cargo speaks so")]

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["interop.proto"], ["proto"])?;
    let descriptors = Path::new(&env::var("OUT_DIR")?).join("interop.bin");
    fs::write(descriptors, files.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
