//! `rpc dump`: tells what is said on connections that speak rpcx, HRPC or gRPC: captured in files of libpcap, or passed on
//! by a relay.

mod capture;
mod conn;
mod grpc;
mod hrpc;
mod line;
mod relay;
mod rpcx;

use std::io::Write;

use super::args::Said;
use super::runtime;

pub(super) const OPTIONS: &[&str] = &["listen", "to", "count", "json"];

/// Tells what is in files, or passes through.
///
/// # Errors
/// When there is no such file, or nobody to connect to.
pub(super) fn run(files: &[&str], said: &Said<'_>, out: &mut dyn Write) -> Result<(), String> {
    let style = if said.has("json") { line::Style::Json } else { line::Style::Text };
    match (files, said.text("listen"), said.text("to")) {
        ([_, ..], None, None) => files.iter().try_for_each(|file| capture::dump(file, style, out)),
        ([], Some(listen), Some(to)) => {
            runtime()?.block_on(relay::dump(listen, to, said.number("count")?, style, out))
        }
        _ => Err("say what: FILE..., or --listen ADDRESS --to ADDRESS".to_owned()),
    }
}
