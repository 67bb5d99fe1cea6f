//! Makes the service of its `.proto` files, without `protoc`.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "Cargo speaks so")]

use std::path::Path;

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    const OF: &str = "connectrpc/conformance/v1/";
    let files = ["service.proto", "server_compat.proto"].map(|name| format!("{OF}{name}"));
    let files = protox::compile(files, ["proto"])?;
    let descriptors = Path::new(&std::env::var("OUT_DIR")?).join("conformance.bin");
    std::fs::write(descriptors, files.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
