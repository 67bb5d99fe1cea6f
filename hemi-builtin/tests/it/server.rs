//! An engine with the standard components, in the process of the test.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use hemi_core::config::Source;
use hemi_core::listen::Address;
use hemi_core::server::{Server, ServerKind};
use hemi_core::{Engine, Kind, Registry, Result, Stage};
use hemi_test::Reply;
use hemi_test::raw::Client;
use hemi_web::HandletRegistry;

/// A stage at work. Its server is named `main`.
pub(crate) struct Running {
    engine: Engine,
    stage: Arc<Stage>,
}

/// Loads a config on this many cores.
pub(crate) fn load(cores: usize, config: &str) -> Result<Running> {
    load_of(cores, config, |_| (), |engine| engine)
}

/// The same with components more.
pub(crate) fn load_with(
    cores: usize,
    config: &str,
    more: impl FnOnce(&mut Registry),
) -> Result<Running> {
    load_of(cores, config, more, |engine| engine)
}

/// The same by an engine with other properties.
pub(crate) fn load_by(
    cores: usize,
    config: &str,
    properties: impl FnOnce(Engine) -> Engine,
) -> Result<Running> {
    load_of(cores, config, |_| (), properties)
}

fn load_of(
    cores: usize,
    config: &str,
    more: impl FnOnce(&mut Registry),
    properties: impl FnOnce(Engine) -> Engine,
) -> Result<Running> {
    let mut registry = Registry::new();
    more(&mut registry);
    hemi_web::register(&mut registry);
    hemi_net::register(&mut registry);
    hemi_builtin::register(&mut registry);
    registry.handlet::<crate::mirror::Mirror>();
    crate::sessions::register(&mut registry);
    let cores = NonZeroUsize::new(cores).expect("a core at least");
    let mut engine = properties(Engine::on(registry, cores)?);
    if let Some(driver) = hemi_test::io_driver() {
        engine = engine.io(driver.parse().expect("a driver"))?;
    }
    let stage = engine.load(&Source::text("test.conf", config))?;
    Ok(Running { engine, stage })
}

/// Serves a webapp with these properties and rules, next to these components of the stage.
pub(crate) fn site(stage: &str, webapp: &str) -> Running {
    site_on(2, stage, webapp)
}

pub(crate) fn site_on(cores: usize, stage: &str, webapp: &str) -> Running {
    load(cores, &config_of(stage, webapp)).unwrap_or_else(|e| panic!("{e}"))
}

/// Why such a site is refused.
pub(crate) fn mistake(stage: &str, webapp: &str) -> String {
    let config = config_of(stage, webapp);
    load(1, &config).err().unwrap_or_else(|| panic!("loads: {config}")).to_string()
}

fn config_of(stage: &str, webapp: &str) -> String {
    format!(
        r#"stage {{
            {stage}
            webapp "site" {{ .hostnames = ("*")  {webapp} }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("site") }}
        }}"#
    )
}

impl Running {
    pub(crate) fn server(&self) -> Arc<dyn Server> {
        self.find::<ServerKind>("main")
    }

    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn find<K: Kind>(&self, name: &str) -> Arc<K::Object> {
        self.stage.find::<K>(name).unwrap_or_else(|| panic!("no {} is named {name}", K::NAME))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        match self.server().addresses().first() {
            Some(Address::Tcp(addr)) => *addr,
            other => panic!("not on TCP: {other:?}"),
        }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.addr()).expect("connects")
    }

    /// The answer to one request with these further field lines, on a connection of its own.
    pub(crate) fn ask(&self, method: &str, target: &str, lines: &[&str]) -> Reply {
        ask(&mut self.connect(), method, target, lines)
            .unwrap_or_else(|e| panic!("{method} {target} {lines:?}: {e}"))
    }

    pub(crate) fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, &[])
    }

    /// Serves by another config from now on.
    pub(crate) fn reload(&mut self, config: &str) {
        let loaded = self.engine.load(&Source::text("test.conf", config));
        self.stage = loaded.unwrap_or_else(|e| panic!("{e}"));
    }

    /// Drains the stage.
    pub(crate) fn quit(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(self.engine.quit());
    }
}

/// The answer to one request with these further field lines.
pub(crate) fn ask(
    client: &mut Client,
    method: &str,
    target: &str,
    lines: &[&str],
) -> io::Result<Reply> {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: site.test\r\n");
    for line in lines {
        request += &format!("{line}\r\n");
    }
    client.send(request + "\r\n")?;
    if method == "HEAD" { client.read_response_to_head() } else { client.read_response() }
}
