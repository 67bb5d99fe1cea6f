//! An engine with these components, in the process of the test.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use hemi_core::config::Source;
use hemi_core::listen::Address;
use hemi_core::server::ServerKind;
use hemi_core::tracer::{Tracer, TracerKind};
use hemi_core::{Engine, Registry, Stage};
use hemi_test::Reply;
use hemi_test::raw::Client;

/// A stage at work.
pub(crate) struct Running {
    engine: Engine,
    stage: Arc<Stage>,
}

/// Serves a webapp with these properties and rules, next to these components of the stage.
pub(crate) fn site(stage: &str, webapp: &str) -> Running {
    let mut registry = Registry::new();
    hemi_web::register(&mut registry);
    hemi_contrib::register(&mut registry);
    let mut engine = Engine::on(registry, NonZeroUsize::new(2).unwrap()).unwrap();
    if let Some(driver) = hemi_test::io_driver() {
        engine = engine.io(driver.parse().unwrap()).unwrap();
    }
    let stage = load(&mut engine, stage, webapp);
    Running { engine, stage }
}

fn load(engine: &mut Engine, stage: &str, webapp: &str) -> Arc<Stage> {
    let config = format!(
        r#"stage {{
            {stage}
            webapp "site" {{ .hostnames = ("*")  {webapp} }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("site") }}
        }}"#
    );
    engine.load(&Source::text("test.conf", &config)).unwrap_or_else(|e| panic!("{e}"))
}

impl Running {
    /// Serves another webapp from now on.
    pub(crate) fn reload(&mut self, stage: &str, webapp: &str) {
        self.stage = load(&mut self.engine, stage, webapp);
    }

    pub(crate) fn tracer(&self, name: &str) -> Arc<dyn Tracer> {
        self.stage.find::<TracerKind>(name).unwrap()
    }

    /// Drains the stage.
    pub(crate) fn quit(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(self.engine.quit());
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        let server = self.stage.find::<ServerKind>("main").unwrap();
        match server.addresses().first() {
            Some(Address::Tcp(addr)) => *addr,
            other => panic!("not on TCP: {other:?}"),
        }
    }

    /// The answer to one request with these further field lines and this content, on a connection of its
    /// own.
    pub(crate) fn send(&self, method: &str, target: &str, lines: &[&str], content: &str) -> Reply {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: site.test\r\n");
        for line in lines {
            request += &format!("{line}\r\n");
        }
        if !content.is_empty() {
            request += &format!("Content-Length: {}\r\n", content.len());
        }
        let mut client = Client::connect(self.addr()).unwrap();
        client.send(request + "\r\n" + content).unwrap();
        let reply =
            if method == "HEAD" { client.read_response_to_head() } else { client.read_response() };
        reply.unwrap_or_else(|e| panic!("{method} {target} {lines:?}: {e}"))
    }
}
