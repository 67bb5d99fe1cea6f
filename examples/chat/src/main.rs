//! The chat as a program: `chat serve`, and then <http://127.0.0.1:3080>.

use std::process::ExitCode;

use hemi_web::HandletRegistry;

/// What it does when no config is given.
const CONF: &str = r#"stage {
    webapp "chat" { .hostnames = ("*")  rule { chat {} } }
    httpxServer "main" { .address = ":3080"  .webapps = ("chat") }
}"#;

fn main() -> ExitCode {
    let program = hemi_procmgr::Program {
        name: "chat",
        title: "A chat on Hemi",
        version: env!("CARGO_PKG_VERSION"),
        default_config: CONF,
        register: |registry| {
            hemi_web::register(registry);
            registry.handlet::<chat::Chat>();
        },
    };
    program.run(std::env::args_os().skip(1), std::env::vars_os())
}
