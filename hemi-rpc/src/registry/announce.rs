//! What registries are told.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hemi_core::config::{Diagnostic, Ref, Several, Spanned};
use hemi_core::listen::Address;
use hemi_core::{CreateCx, Explain, Result, Run, Shut};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{DynNodeRegistry, RegistryKind, ServiceNode, pause};
use crate::Endpoint;

/// Properties of servers whose services clients find by registries.
#[derive(Debug, Default, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct AnnounceConfig {
    /// The registries that are told where the services are, or a list; none by default.
    pub registries: Several<Ref<RegistryKind>>,
    /// Where these are told that is, such as `"10.0.0.1:8972"`; none for the address that is listened on. Clients of rpcx
    /// that come in by HTTP need an `http@` in front.
    pub advertise: Option<Endpoint>,
    /// What they are told besides, as the query of a URL: `"weight=7&group=blue"`.
    pub node_metadata: String,
}

/// How long registries may take to hear that nodes have gone.
const LEAVE: Duration = Duration::from_secs(5);

/// Nodes that a registry is told of, until they leave.
#[derive(Debug)]
pub struct Announcement {
    nodes: Vec<ServiceNode>,
    written: watch::Sender<bool>,
    leave: Shut,
}

impl Announcement {
    fn new(nodes: Vec<ServiceNode>, leave: Shut) -> Self {
        Self { nodes, written: watch::Sender::new(false), leave }
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[ServiceNode] {
        &self.nodes
    }

    /// Notes that the registry has been told of all.
    pub fn note_written(&self) {
        self.written.send_replace(true);
    }

    /// Waits until the nodes leave.
    pub async fn left(&self) {
        self.leave.cancelled().await;
    }

    /// Tells the registry, and again after each failure, until the nodes have left.
    async fn keep(&self, registry: &dyn DynNodeRegistry) {
        let (mut failed, mut is_told) = (0, false);
        let late = async {
            self.left().await;
            sleep(LEAVE).await;
        };
        tokio::pin!(late);
        loop {
            let result = tokio::select! {
                result = registry.announce(self) => result,
                () = &mut late => {
                    warn!("a registry is not told in time that nodes have gone");
                    return;
                }
            };
            let Err(why) = result else { return };
            if self.leave.is_cancelled() {
                warn!("a registry is not told that nodes have gone: {why}");
                return;
            }
            if self.written.send_replace(false) {
                failed = 0;
                is_told = false;
            }
            failed += 1;
            if !std::mem::replace(&mut is_told, true) {
                warn!("a registry is told again and again where services are: {why}");
            }
            tokio::select! {
                () = sleep(pause(failed)) => {}
                () = self.left() => return,
            }
        }
    }
}

/// Nodes that a registry is told of for as long as this is kept: for programs that are no servers of ours.
#[derive(Debug)]
pub struct Announced {
    announcement: Arc<Announcement>,
    /// None once it was waited for.
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Announced {
    /// Tells the registry, for as long as the runtime of tokio lives within which this is used.
    #[must_use]
    pub fn new(registry: Arc<dyn DynNodeRegistry>, nodes: Vec<ServiceNode>) -> Self {
        let announcement = Arc::new(Announcement::new(nodes, Shut::new()));
        let own = announcement.clone();
        let task = tokio::spawn(async move { own.keep(&*registry).await });
        Self { announcement, task: Some(task) }
    }

    /// Waits until the registry has been told.
    pub async fn written(&self) {
        // What is waited for can't end: it is ours.
        let _ = self.announcement.written.subscribe().wait_for(|written| *written).await;
    }

    /// Tells the registry that the nodes have gone, and waits for that, a few seconds at most.
    pub async fn leave(mut self) {
        self.announcement.leave.cancel();
        if let Some(task) = self.task.take() {
            // A panic there was reported when it happened.
            let _ = task.await;
        }
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.announcement.leave.cancel();
    }
}

/// Tells registries of the services of a server.
#[derive(Debug, Default)]
pub(crate) struct Announcer {
    pub(crate) registries: Vec<Arc<dyn DynNodeRegistry>>,
    pub(crate) advertise: Option<Endpoint>,
    pub(crate) metadata: String,
}

impl Announcer {
    pub(crate) fn create(
        config: AnnounceConfig,
        address: &Spanned<Address>,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        let AnnounceConfig { registries, advertise, node_metadata: metadata } = config;
        let found = cx.follow_all(&registries.0)?;
        if !found.is_empty() && advertise.is_none() && key_of(&address.value).is_none() {
            let message = "this is no address that clients could be told";
            let help = "say by `.advertise` where they find this server";
            return Err(Diagnostic::new(address.span, message).help(help).into());
        }
        Ok(Self { registries: found, advertise, metadata })
    }

    /// The host and port by which clients reach a server that listens there, if that can be told.
    pub(crate) fn reached_at(&self, listens: &Address) -> Option<String> {
        let key = self.advertise.as_ref().map(Endpoint::key).or_else(|| key_of(listens))?;
        match key.split_once('@')? {
            ("tcp" | "http", at) => Some(at.to_owned()),
            _ => None,
        }
    }

    /// Has registries know of these services, until the server drains.
    pub(crate) async fn run(&self, services: Vec<String>, listens: &Address, cx: &Run) {
        if self.registries.is_empty() {
            return;
        }
        let advertised = self.advertise.as_ref().map(Endpoint::key);
        let Some(address) = advertised.or_else(|| key_of(listens)) else {
            warn!("{listens} is no address that clients could be told");
            return;
        };
        let nodes = services.into_iter().map(|service| {
            let (address, metadata) = (address.clone(), self.metadata.clone());
            ServiceNode { service, address, metadata }
        });
        info!("registries are told of {address}");
        let announcement = Announcement::new(nodes.collect(), Shut::new());
        let told = self.registries.iter().map(|registry| announcement.keep(&**registry));
        let leave = async {
            cx.shut().cancelled().await;
            if cx.is_replaced() {
                // Who takes its place says so first, so that clients do not miss the node meanwhile.
                sleep(cx.linger()).await;
            }
            announcement.leave.cancel();
        };
        tokio::join!(join_all(told), leave);
    }
}

/// What clients are told of an address that is listened on, if they can do something with it.
fn key_of(address: &Address) -> Option<String> {
    match address {
        Address::Tcp(addr) if !addr.ip().is_unspecified() => Some(format!("tcp@{addr}")),
        Address::Unix(path) => Some(format!("unix@{}", path.display())),
        Address::Tcp(_) | Address::Named(_) => None,
    }
}
