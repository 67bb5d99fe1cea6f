//! Makes the services of `.proto` files, without `protoc`.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "Cargo speaks so")]

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_files(["interop.proto", "library.proto"])?;
    let descriptors = Path::new(&env::var("OUT_DIR")?).join("interop.bin");
    // With the options that `google.api.http` are, which a `FileDescriptorSet` of prost has no place for.
    fs::write(descriptors, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
