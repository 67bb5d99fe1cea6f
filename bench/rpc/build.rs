//! Makes the service of its `.proto` file, without `protoc`.

#![allow(clippy::print_stdout, reason = "Cargo speaks so")]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const PROTOS: &str = "../peers/rpcx";
    println!("cargo:rerun-if-changed={PROTOS}");
    let files = protox::compile(["bench.proto"], [PROTOS])?;
    let config = tonic_prost_build::configure();
    // By rpcx it is sent in the same form.
    let config = config.type_attribute(".bench.Message", "#[hemi_rpc::message(protobuf)]");
    config.compile_fds(files)?;
    Ok(())
}
