//! Gorox: a web server, application server and proxy in one binary.

#![forbid(unsafe_code)]

mod welcome;

use std::process::ExitCode;

use hemi_procmgr::Program;

/// Measured against glibc's: see ARCHITECTURE.md, Decisions.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let program = Program {
        name: "gorox",
        title: "Gorox, a web server, application server and proxy in one binary",
        version: env!("CARGO_PKG_VERSION"),
        default_config: include_str!("default.conf"),
        register: |registry| {
            hemi_web::register(registry);
            hemi_net::register(registry);
            hemi_rpc::register(registry);
            hemi_builtin::register(registry);
            hemi_contrib::register(registry);
            welcome::register(registry);
        },
    };
    program.run(std::env::args_os().skip(1), std::env::vars_os())
}
