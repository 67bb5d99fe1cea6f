//! Makes the service of its `.proto` file. No `protoc` has to be installed.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "Cargo speaks so")]

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_file("bookshelf.proto")?;
    // With what the file says by `google.api.http`.
    let descriptors = Path::new(&std::env::var("OUT_DIR")?).join("bookshelf.bin");
    std::fs::write(descriptors, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
