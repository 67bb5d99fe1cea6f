//! The control API and the admin pages of a leader: webapps on a server of our own, on one core.
//!
//! The API is on a Unix socket that only the user of the leader may open, and on a TCP port if that is asked
//! for; the pages are on a TCP port of their own. Who comes by TCP shows a token or, over TLS, a certificate,
//! and asks by a name that is known: see [`guard`].

mod api;
mod guard;
mod pages;
mod ports;
mod site;
#[cfg(test)]
mod tests;
mod token;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hemi_core::gate::{GateConfig, SocketUsers};
use hemi_core::listen::{Address, Bound, Endpoint};
use hemi_core::server::ServerKind;
use hemi_core::tls::{SiteFiles, TlsConfig};
use hemi_core::{Engine, Parts, Registry, Result, Run};
use hemi_web::{Handlet, HttpConfig, HttpxServer, Rule, Webapp};
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use guard::{Door, Guard};
use ports::Ports;

pub(crate) use pages::{Live, Past};
pub(crate) use site::Site;
pub(crate) use token::Token;

/// Where the API and the pages are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Places {
    /// The Unix socket of the API.
    pub(crate) socket: Option<PathBuf>,
    /// The port of the API.
    pub(crate) cmdui: Option<SocketAddr>,
    /// The port of the pages.
    pub(crate) webui: Option<SocketAddr>,
}

/// By what the ports speak TLS.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// The CA whose certificates clients must show, which stand for the token then.
    pub(crate) client_ca: Option<PathBuf>,
}

impl Identity {
    fn files(self) -> SiteFiles {
        let files = SiteFiles::new(self.certificate, self.key);
        match self.client_ca {
            Some(ca) => files.client_ca(ca),
            None => files,
        }
    }
}

/// The servers of the API and the pages.
#[derive(Debug)]
pub(crate) struct Admin {
    engine: Engine,
    /// None if the ports speak no TLS.
    identity: Option<Identity>,
    site: Arc<Site>,
    places: Places,
}

/// How long an answer may take when its server closes.
const GRACE: Duration = Duration::from_secs(2);

/// Connections to each server.
const CONNS: usize = 256;

/// Bytes of a request's content.
const CONTENT: u64 = 64 << 10;

impl Admin {
    /// Opens them, on these sockets if they are at the same addresses.
    ///
    /// # Errors
    /// When an address can't be bound.
    pub(crate) fn open(
        site: Arc<Site>,
        identity: Option<Identity>,
        places: Places,
        sockets: Vec<(Endpoint, Bound)>,
    ) -> Result<Self> {
        let engine = Engine::on(Registry::new(), NonZeroUsize::MIN)?.grace(GRACE);
        let engine = engine.binder(Arc::new(Ports::left(sockets)));
        let mut admin = Self { engine, identity, site, places: Places::default() };
        admin.place(places)?;
        Ok(admin)
    }

    /// Moves them. What stays where it is serves on; what is closed ends within two seconds.
    ///
    /// # Errors
    /// When an address can't be bound: then all stays where it was.
    pub(crate) fn place(&mut self, places: Places) -> Result<()> {
        let stage = self.engine.load_parts(self.parts(&places)?)?;
        for (name, server) in stage.all::<ServerKind>() {
            for address in server.addresses() {
                debug!("{name} is at {address}");
            }
        }
        self.places = places;
        Ok(())
    }

    /// Where they are.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// Where they really are: with the port that the kernel chose, if 0 was asked for.
    pub(crate) fn addresses(&self) -> Vec<(String, Address)> {
        let servers = self.engine.stage().map(|stage| stage.all::<ServerKind>());
        let of = |(name, server): (&str, Arc<dyn hemi_core::server::Server>)| {
            let addresses = server.addresses().into_iter();
            addresses.map(|address| (name.to_owned(), address)).collect::<Vec<_>>()
        };
        servers.unwrap_or_default().into_iter().flat_map(of).collect()
    }

    /// The sockets of the ports once more, for another leader.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub(crate) fn share(&self) -> io::Result<Vec<(Endpoint, Bound)>> {
        let mut shared = self.engine.listeners().share()?;
        shared.retain(|(endpoint, _)| matches!(endpoint, Endpoint::Streams(Address::Tcp(_))));
        Ok(shared)
    }

    /// Leaves the ports to another leader: comes back when nobody is taken in any more.
    pub(crate) async fn leave(&mut self) {
        let places = Places { socket: self.places.socket.take(), ..Places::default() };
        if let Err(e) = self.place(places) {
            warn!("cannot close the ports: {e}");
        }
        self.engine.closed().await;
    }

    /// Closes them.
    pub(crate) async fn quit(self) {
        self.engine.quit().await;
    }

    fn parts(&self, places: &Places) -> Result<Parts> {
        let mut parts = Parts::new();
        if let Some(path) = &places.socket {
            let app = self.app("control", Door::Own).rule(rule(api::mapper(&self.site)));
            install("control", Address::Unix(path.clone()), app, None, &mut parts)?;
        }
        if let Some(address) = places.cmdui {
            let app = self.app("cmdui", Door::Token).rule(rule(api::mapper(&self.site)));
            install("cmdui", Address::Tcp(address), app, self.identity.clone(), &mut parts)?;
        }
        if let Some(address) = places.webui {
            let app = self.app("webui", Door::Session).rule(rule(api::mapper(&self.site)));
            let app = app.rule(rule(pages::mapper(&self.site)));
            install("webui", Address::Tcp(address), app, self.identity.clone(), &mut parts)?;
        }
        Ok(parts)
    }

    /// A webapp that lets in who may come in by this door.
    fn app(&self, name: &str, door: Door) -> Webapp {
        let (guard, site) = (Guard::new(door, self.site.clone()), self.site.clone());
        let remember = move |run: Run| {
            let site = site.clone();
            async move { run.shut().run_until_cancelled(site.remember()).await.unwrap_or_default() }
        };
        Webapp::new(name).max_body_size(CONTENT).task(remember).rule(rule(guard))
    }
}

fn rule(handlet: impl Handlet) -> Rule {
    Rule::new().handlet(handlet)
}

fn install(
    name: &str,
    address: Address,
    app: Webapp,
    identity: Option<Identity>,
    parts: &mut Parts,
) -> Result<()> {
    let http = HttpConfig { total_timeout: Duration::ZERO, ..HttpConfig::default() };
    let gate =
        GateConfig { max_conns: CONNS, socket_users: SocketUsers::Own, ..GateConfig::default() };
    let Some(identity) = identity else {
        let app = app.install(parts)?;
        return HttpxServer::with_config(address, [app], http, gate).install(name, parts).map(drop);
    };
    let app = app.tls(identity.files()).install(parts)?;
    let server = HttpxServer::with_config(address, [app], http, gate).tls(TlsConfig::default());
    server.install(name, parts).map(drop)
}

/// Reads where to listen: an address and port; or a port or `:PORT`, of the loopback interface then.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
        return Ok(local(port));
    }
    match text.parse() {
        Ok(Address::Tcp(address)) => Ok(address),
        _ => Err(format!("\"{text}\" is no address: write 127.0.0.1:9527, or 9527 for that")),
    }
}
