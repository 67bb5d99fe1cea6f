//! Which nodes there are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::warn;

use super::NodeInfo;

/// Finds the nodes of a cluster, and tells when they change.
pub trait Discovery {
    /// The nodes there are, now and later.
    fn nodes(&self) -> watch::Receiver<Vec<NodeInfo>>;
}

/// Nodes that are known: one, or several, which may be set anew.
#[derive(Debug)]
pub struct Several(watch::Sender<Vec<NodeInfo>>);

impl Several {
    /// These.
    pub fn new(nodes: impl IntoIterator<Item = NodeInfo>) -> Self {
        Self(watch::Sender::new(nodes.into_iter().collect()))
    }

    /// Those at these addresses.
    pub fn at<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Self {
        Self::new(addresses.into_iter().map(NodeInfo::new))
    }

    /// From now on it is these.
    pub fn update(&self, nodes: impl IntoIterator<Item = NodeInfo>) {
        self.0.send_replace(nodes.into_iter().collect());
    }
}

impl Discovery for Several {
    fn nodes(&self) -> watch::Receiver<Vec<NodeInfo>> {
        self.0.subscribe()
    }
}

/// All addresses of a name: looked up again and again for as long as this is kept.
#[derive(Debug)]
pub struct Dns {
    nodes: watch::Sender<Vec<NodeInfo>>,
    task: AbortHandle,
}

impl Dns {
    /// Those of `host:port`, looked up each `interval`. If that fails, the nodes of the last time stay.
    ///
    /// # Errors
    /// When it fails the first time.
    pub async fn new(name: &str, interval: Duration) -> std::io::Result<Self> {
        let (name, nodes) = (name.to_owned(), watch::Sender::new(look_up(name).await?));
        let own = nodes.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                match look_up(&name).await {
                    Ok(found) => set(&own, found),
                    Err(e) => warn!("{name} is not found: {e}"),
                }
            }
        });
        Ok(Self { nodes, task: task.abort_handle() })
    }
}

async fn look_up(name: &str) -> std::io::Result<Vec<NodeInfo>> {
    Ok(lookup_host(name).await?.map(|address| NodeInfo::new(address.to_string())).collect())
}

/// Nodes that are listed in a file, one in a line: an address, and after a space metadata such as `weight=7`. Lines that
/// begin with `#` say nothing. The file is looked at again and again for as long as this is kept.
#[derive(Debug)]
pub struct NodesFile {
    nodes: watch::Sender<Vec<NodeInfo>>,
    task: AbortHandle,
}

impl NodesFile {
    /// Reads the file now, and each `interval`. If it can't be read later on, the nodes of the last time stay.
    ///
    /// # Errors
    /// When it can't be read now.
    pub fn new(path: impl Into<PathBuf>, interval: Duration) -> std::io::Result<Self> {
        let path = path.into();
        let nodes = watch::Sender::new(read(&path)?);
        let own = nodes.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                match read(&path) {
                    Ok(found) => set(&own, found),
                    Err(e) => warn!("{}: {e}", path.display()),
                }
            }
        });
        Ok(Self { nodes, task: task.abort_handle() })
    }
}

pub(crate) fn read(path: &Path) -> std::io::Result<Vec<NodeInfo>> {
    Ok(std::fs::read_to_string(path)?.lines().filter_map(NodeInfo::from_line).collect())
}

/// Tells only what has changed.
pub(crate) fn set(nodes: &watch::Sender<Vec<NodeInfo>>, found: Vec<NodeInfo>) {
    nodes.send_if_modified(|nodes| {
        let changed = *nodes != found;
        *nodes = found;
        changed
    });
}

macro_rules! watched {
    ($($ty:ty)+) => {
        $(
            impl Discovery for $ty {
                fn nodes(&self) -> watch::Receiver<Vec<NodeInfo>> {
                    self.nodes.subscribe()
                }
            }

            impl Drop for $ty {
                fn drop(&mut self) {
                    self.task.abort();
                }
            }
        )+
    };
}

watched! { Dns NodesFile }
