//! The registry `zookeeperRegistry`: nodes of services in a ZooKeeper.
//!
//! ```gorox
//! stage {
//! 	echoService "Echo" {}
//! 	zookeeperRegistry "nodes" { .addresses = ("127.0.0.1:2181")  .basePath = "/shop" }
//! 	rpcxServer "main" { .address = "127.0.0.1:8972"  .services = ("Echo")  .registries = ("nodes") }
//! }
//! ```
//!
//! A node is there for as long as its session with ZooKeeper, which goes on by another connection when one is lost. Changes of
//! what nodes say of themselves are watched too. Addresses of Unix sockets can't be told, for slashes are in them.

mod session;

use std::convert::Infallible;
use std::time::Duration;

use hemi_core::config::Several;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_proto::zookeeper::{Answer, Request, code, read_children, read_data};
use hemi_rpc::{Announcement, Endpoint, NodeInfo, NodeRegistry, RegistryError};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use self::session::Session;
use super::{BASE_PATH, Keys, TTL};

/// Keeps nodes of services in a ZooKeeper.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct ZookeeperRegistryConfig {
    /// Where its members are, such as `"10.0.0.1:2181"`, or a list.
    pub addresses: Several<Endpoint>,
    /// The path that nodes are below.
    pub base_path: String,
    /// How long a node stays that has crashed: the timeout of its session, for which ZooKeeper has bounds.
    pub ttl: Duration,
}

impl Default for ZookeeperRegistryConfig {
    fn default() -> Self {
        Self {
            addresses: Several(vec![Endpoint::Tcp("127.0.0.1:2181".to_owned())]),
            base_path: BASE_PATH.to_owned(),
            ttl: TTL,
        }
    }
}

/// Nodes in a ZooKeeper.
#[derive(Debug)]
pub struct ZookeeperRegistry {
    addresses: Vec<Endpoint>,
    keys: Keys,
    ttl: Duration,
}

impl Component for ZookeeperRegistry {
    const SIGN: &'static str = "zookeeperRegistry";
    type Config = ZookeeperRegistryConfig;

    fn create(config: ZookeeperRegistryConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self::new(config))
    }
}

impl ZookeeperRegistry {
    /// By these properties.
    #[must_use]
    pub fn new(config: ZookeeperRegistryConfig) -> Self {
        let base = format!("/{}", config.base_path.trim_start_matches('/'));
        Self { addresses: config.addresses.0, keys: Keys::below(&base), ttl: config.ttl }
    }

    async fn open(&self) -> Result<Session, RegistryError> {
        Session::begin(&self.addresses, self.ttl).await
    }

    async fn watch(
        &self,
        service: &str,
        found: &watch::Sender<Vec<NodeInfo>>,
    ) -> Result<Infallible, RegistryError> {
        let mut session = self.open().await?;
        let prefix = self.keys.prefix(service);
        let directory = prefix.trim_end_matches('/');
        loop {
            session.changed = false;
            found.send_replace(list(&mut session, directory).await?);
            session.until_changed().await?;
        }
    }

    /// Has a node for each of the announcement, by this session.
    async fn write(
        &self,
        session: &mut Session,
        announcement: &Announcement,
    ) -> Result<(), RegistryError> {
        let mut made = Vec::new();
        for (path, data) in self.keys.above(announcement.nodes()) {
            // What is above it is of no interest to anybody.
            let slashes = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
            made.extend(slashes.map(|at| (path[..at].to_owned(), "")));
            made.push((path, data));
        }
        let paths: Vec<String> =
            announcement.nodes().iter().map(|node| self.keys.node(node)).collect();
        let mut requests: Vec<_> = made
            .iter()
            .map(|(path, data)| Request::Create { path, data: data.as_bytes(), ephemeral: false })
            .collect();
        for (path, node) in paths.iter().zip(announcement.nodes()) {
            // One of a session before this one may be there still.
            requests.push(Request::Delete(path));
            let data = node.metadata.as_bytes();
            requests.push(Request::Create { path, data, ephemeral: true });
        }
        let answers = session.ask(&requests).await?;
        for (request, answer) in requests.iter().zip(answers) {
            let fine = match request {
                Request::Create { ephemeral: false, .. } => answer.error == code::NODE_EXISTS,
                Request::Delete(_) => answer.error == code::NO_NODE,
                _ => false,
            };
            if answer.error != 0 && !fine {
                return Err(refused(answer.error));
            }
        }
        Ok(())
    }

    /// Renews the session until the nodes leave, and writes anew what somebody else has removed.
    async fn keep(
        &self,
        session: &mut Session,
        announcement: &Announcement,
    ) -> Result<(), RegistryError> {
        let paths: Vec<String> =
            announcement.nodes().iter().map(|node| self.keys.node(node)).collect();
        let requests: Vec<_> = paths.iter().map(|path| Request::Exists(path)).collect();
        loop {
            tokio::select! {
                () = sleep(session.timeout() / 3) => {}
                () = announcement.left() => return Ok(()),
            }
            let answers = session.ask(&requests).await?;
            if answers.iter().any(|answer| answer.error == code::NO_NODE) {
                self.write(session, announcement).await?;
            }
        }
    }

    /// Goes on with a session by another connection, unless it is over before there is one.
    async fn resume(
        &self,
        session: Session,
        announcement: &Announcement,
    ) -> Result<Session, RegistryError> {
        let until = Instant::now() + session.timeout();
        loop {
            match session.resume(&self.addresses).await {
                Ok(Some(resumed)) => return Ok(resumed),
                Ok(None) => return Err(RegistryError::new("the session is over")),
                Err(why) if Instant::now() >= until => return Err(why),
                Err(_) => {}
            }
            tokio::select! {
                () = sleep(session.timeout() / 20) => {}
                () = announcement.left() => {
                    return Err(RegistryError::new("there is no connection"));
                }
            }
        }
    }
}

fn refused(error: i32) -> RegistryError {
    RegistryError::new(format_args!("ZooKeeper refuses it: error {error}"))
}

async fn one(session: &mut Session, request: Request<'_>) -> Result<Answer, RegistryError> {
    let answer = session.ask(&[request]).await?.pop();
    answer.ok_or_else(|| RegistryError::new("ZooKeeper does not answer"))
}

async fn list(session: &mut Session, directory: &str) -> Result<Vec<NodeInfo>, RegistryError> {
    let answer = loop {
        let answer = one(session, Request::Children(directory)).await?;
        if answer.error != code::NO_NODE {
            break answer;
        }
        // It tells when there is one, unless there is by now.
        if one(session, Request::Exists(directory)).await?.error == code::NO_NODE {
            return Ok(Vec::new());
        }
    };
    if answer.error != 0 {
        return Err(refused(answer.error));
    }
    let names = read_children(answer.content).map_err(RegistryError::new)?;
    let paths: Vec<String> = names.iter().map(|name| format!("{directory}/{name}")).collect();
    let requests: Vec<_> = paths.iter().map(|path| Request::Data(path)).collect();
    let answers = session.ask(&requests).await?;
    let mut nodes = Vec::new();
    for (name, answer) in names.iter().zip(answers) {
        // It may have gone meanwhile.
        if answer.error == 0 {
            let data = read_data(answer.content).map_err(RegistryError::new)?;
            nodes.push(NodeInfo::new(name).with_metadata(&String::from_utf8_lossy(&data)));
        }
    }
    Ok(nodes)
}

impl Lifecycle for ZookeeperRegistry {}

impl NodeRegistry for ZookeeperRegistry {
    async fn follow(&self, service: &str, found: &watch::Sender<Vec<NodeInfo>>) -> RegistryError {
        let Err(why) = self.watch(service, found).await;
        why
    }

    async fn announce(&self, announcement: &Announcement) -> Result<(), RegistryError> {
        if announcement.nodes().iter().any(|node| node.address.contains('/')) {
            return Err(RegistryError::new("ZooKeeper takes no address with a slash in it"));
        }
        let mut session = self.open().await?;
        self.write(&mut session, announcement).await?;
        announcement.note_written();
        while let Err(why) = self.keep(&mut session, announcement).await {
            tracing::debug!("a session with ZooKeeper goes on by another connection: {why}");
            session = self.resume(session, announcement).await?;
        }
        session.close().await
    }
}
