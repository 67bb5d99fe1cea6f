//! The 30-line Hemi program: greets whoever asks. Usage: `hello [ADDRESS]`.
use hemi_core::{Component, Explain, Registry, Result};
use hemi_web::{Handlet, HandletRegistry, Reply, Request};

/// Greets with the path that was asked for.
#[derive(serde::Deserialize, Explain, Component)]
struct Hello {
    /// What to say.
    greeting: String,
}
impl Handlet for Hello {
    async fn handle(&self, req: &mut Request) -> Reply {
        format!("{}, {}\n", self.greeting, req.path()).into()
    }
}

const CONF: &str = r#"stage {
    webapp "example" { .hostnames = ("*")  rule { hello { .greeting = "Hello" } } }
    httpxServer "main" { .address = "ADDRESS"  .webapps = ("example") }
}"#;

#[tokio::main]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3080".to_owned());
    let mut registry = Registry::new();
    hemi_web::register(&mut registry);
    registry.handlet::<Hello>();
    hemi_core::serve(registry, &CONF.replace("ADDRESS", &address)).await
}
