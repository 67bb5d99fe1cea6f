//! A server under test, in this process.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hemi_core::config::{Constants, Source};
use hemi_core::listen::Address;
use hemi_core::server::{Server, ServerKind};
use hemi_core::{Engine, Registry, Stage, Status};
use hemi_test::eventually;
use hemi_test::raw::Client;

use crate::{datagrams, forms, log, probe, upgrade};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server named `main` on two cores, whose webapp asks the handlet `probe`.
pub(crate) struct Site {
    engine: Engine,
    stage: Arc<Stage>,
}

impl Site {
    /// With these properties of the server.
    pub(crate) fn with(properties: &str) -> Self {
        Self::of(&config("127.0.0.1:0", properties))
    }

    /// With this config.
    pub(crate) fn of(config: &str) -> Self {
        Self::try_of(config).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The same, which keeps its files in this directory.
    pub(crate) fn kept_in(dir: &Path, config: &str) -> Self {
        let constants = Constants { var_dir: dir.to_owned(), ..Constants::default() };
        Self::start(config, constants).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The same, or why not.
    pub(crate) fn try_of(config: &str) -> Result<Self, String> {
        Self::start(config, Constants::default())
    }

    fn start(config: &str, constants: Constants) -> Result<Self, String> {
        let mut registry = Registry::new();
        hemi_web::register(&mut registry);
        datagrams::register(&mut registry);
        forms::register(&mut registry);
        log::register(&mut registry);
        probe::register(&mut registry);
        upgrade::register(&mut registry);
        let engine = Engine::on(registry, NonZeroUsize::new(2).unwrap()).unwrap();
        let mut engine = engine.constants(constants);
        if let Some(driver) = hemi_test::io_driver() {
            engine = engine.io(driver.parse().unwrap()).unwrap();
        }
        let stage = engine.load(&Source::text("test", config)).map_err(|e| e.to_string())?;
        Ok(Self { engine, stage })
    }

    /// The same with this long for what is under way at the end.
    pub(crate) fn grace(mut self, grace: Duration) -> Self {
        self.engine = self.engine.grace(grace);
        self
    }

    /// Loads another config in the place of the one that serves, or says why not.
    pub(crate) fn load(&mut self, config: &str) -> Result<(), String> {
        self.stage = self.engine.load(&Source::text("test", config)).map_err(|e| e.to_string())?;
        Ok(())
    }

    /// How its engine stands.
    pub(crate) fn status(&self) -> Status {
        self.engine.status()
    }

    /// A second has passed, as far as its pace is concerned.
    pub(crate) fn sample(&mut self) {
        self.engine.sample();
    }

    /// Its components.
    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        match self.server().addresses().as_slice() {
            [Address::Tcp(addr)] => *addr,
            other => panic!("not one TCP address: {other:?}"),
        }
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.addr()).unwrap()
    }

    /// What a counter says.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let counters = self.server().counters();
        counters.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no {name}")).1
    }

    /// Waits until a counter says this.
    #[track_caller]
    pub(crate) fn expect_counter(&self, name: &str, value: u64) {
        let reached = eventually(PATIENCE, || self.counter(name) == value);
        assert!(reached, "{name} is {}, not {value}", self.counter(name));
    }

    /// Waits until no connection is served any more.
    #[track_caller]
    pub(crate) fn expect_idle(&self) {
        let server = self.server();
        assert!(eventually(PATIENCE, || server.active() == 0), "{} are left", server.active());
    }

    /// Asserts that a new client is served.
    #[track_caller]
    pub(crate) fn expect_alive(&self) {
        assert_eq!(ask(&mut self.connect(), "GET", "/now"), (200, "now".to_owned()));
    }

    fn server(&self) -> Arc<dyn Server> {
        self.stage.find::<ServerKind>("main").unwrap()
    }

    /// Ends the server as a program would.
    pub(crate) fn quit(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.engine.quit());
    }
}

/// The config of a site at an address.
pub(crate) fn config(address: &str, properties: &str) -> String {
    format!(
        r#"stage {{
            webapp "probe" {{ .hostnames = ("*")  .maxBodySize = 100M  rule {{ shout {{}}  packets {{}}  probe {{}} }} }}
            httpxServer "main" {{ .address = "{address}"  .webapps = ("probe")  {properties} }}
        }}"#
    )
}

/// Sends a request without content and reads its answer.
#[track_caller]
pub(crate) fn ask(client: &mut Client, method: &str, path: &str) -> (u16, String) {
    client.send(format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
    let reply = client.read_response().unwrap();
    (reply.status, reply.text())
}
