//! Mulecar: the program in which developers of Hemi try things, wired like any other Hemi program.

#![forbid(unsafe_code)]

mod dump;
mod heartbeat;
mod misdeeds;
mod shaky;

use std::process::ExitCode;

use hemi_core::cronjob::CronjobRegistry;
use hemi_procmgr::Program;
use hemi_web::HandletRegistry;

fn main() -> ExitCode {
    let program = Program {
        name: "mulecar",
        title: "Mulecar, where developers of Hemi try things",
        version: env!("CARGO_PKG_VERSION"),
        default_config: include_str!("../conf/mulecar.conf"),
        register: |registry| {
            hemi_web::register(registry);
            hemi_net::register(registry);
            hemi_rpc::register(registry);
            hemi_builtin::register(registry);
            registry.handlet::<dump::Dump>().handlet::<misdeeds::Misdeeds>();
            registry.handlet::<shaky::Shaky>();
            registry.cronjob::<heartbeat::HeartbeatCronjob>();
        },
    };
    program.run(std::env::args_os().skip(1), std::env::vars_os())
}
