//! The registry `etcdRegistry`: nodes of services in an etcd, by its API of version 3.
//!
//! ```gorox
//! stage {
//! 	echoService "Echo" {}
//! 	etcdRegistry "nodes" { .addresses = ("127.0.0.1:2379")  .basePath = "/shop" }
//! 	rpcxServer "main" {
//! 		.address = "127.0.0.1:8972"
//! 		.services = ("Echo")
//! 		.registries = ("nodes")
//! 		.nodeMetadata = "weight=7"
//! 	}
//! }
//! ```
//!
//! The keys of a node hang on a lease, which it renews: they go when it takes them back, or a while after it has crashed. Those
//! that somebody else removes come back.

mod proto;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use hemi_core::config::{Secret, Several};
use hemi_core::tls::{Connector, ConnectorConfig};
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Prepare, Result};
use hemi_rpc::tonic::client::Grpc;
use hemi_rpc::tonic::metadata::AsciiMetadataValue;
use hemi_rpc::tonic::{Request, Status, Streaming};
use hemi_rpc::{
    Announcement, Endpoint, GrpcChannel, GrpcChannelConfig, NodeInfo, NodeRegistry, RegistryError,
};
use http::uri::PathAndQuery;
use prost::Message;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic_prost::ProstCodec;

use super::{BASE_PATH, Keys, PATIENCE, TTL};

/// Keeps nodes of services in an etcd.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct EtcdRegistryConfig {
    /// Where its members are, such as `"10.0.0.1:2379"`, or a list.
    pub addresses: Several<Endpoint>,
    /// Whether it is spoken to over TLS.
    pub tls_mode: bool,
    /// What keys begin with.
    pub base_path: String,
    /// Whom to log in as; none for nobody.
    pub user: Option<String>,
    /// The user's password, which a user has to have.
    pub password: Option<Secret>,
    /// How long a node stays that has crashed: some seconds at least.
    pub ttl: Duration,
}

impl Default for EtcdRegistryConfig {
    fn default() -> Self {
        Self {
            addresses: Several(vec![Endpoint::Tcp("127.0.0.1:2379".to_owned())]),
            tls_mode: false,
            base_path: BASE_PATH.to_owned(),
            user: None,
            password: None,
            ttl: TTL,
        }
    }
}

/// Nodes in an etcd.
#[derive(Debug)]
pub struct EtcdRegistry {
    addresses: Vec<Endpoint>,
    connector: Option<Arc<Connector>>,
    keys: Keys,
    login: Option<(String, Option<Secret>)>,
    ttl: Duration,
}

/// What is spoken over TLS.
const PROTOCOLS: &[&str] = &["h2"];

impl Component for EtcdRegistry {
    const SIGN: &'static str = "etcdRegistry";
    type Config = (EtcdRegistryConfig, ConnectorConfig);

    fn create((config, tls): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        if config.user.is_some() != config.password.is_some() {
            let message = "`.user` and `.password` stand together";
            return Err(Error::config(cx.span(), message));
        }
        let connector = Arc::new(Connector::new(tls, PROTOCOLS, cx)?);
        Ok(Self::with_connector(config, connector))
    }
}

impl EtcdRegistry {
    /// By these properties; over TLS the CAs of the system are believed.
    #[must_use]
    pub fn new(config: EtcdRegistryConfig) -> Self {
        let connector = Connector::with_paths(ConnectorConfig::default(), PROTOCOLS);
        Self::with_connector(config, Arc::new(connector))
    }

    /// The same over TLS by this connector, which speaks `h2`.
    #[must_use]
    pub fn with_connector(config: EtcdRegistryConfig, connector: Arc<Connector>) -> Self {
        Self {
            addresses: config.addresses.0,
            connector: config.tls_mode.then_some(connector),
            keys: Keys::below(&config.base_path),
            login: config.user.map(|user| (user, config.password)),
            ttl: config.ttl,
        }
    }

    async fn open(&self) -> Result<Etcd, RegistryError> {
        let config = GrpcChannelConfig {
            tls: self.connector.clone(),
            // Watches say nothing as long as nothing happens.
            keepalive: (Duration::from_secs(20), Duration::from_secs(10)),
            ..GrpcChannelConfig::default()
        };
        let members = hemi_rpc::Several::at(self.addresses.iter().map(Endpoint::to_string));
        let mut etcd = Etcd { channel: GrpcChannel::over(&members, config), token: None };
        if let Some((name, password)) = &self.login {
            let question = proto::AuthenticateRequest {
                name: name.clone(),
                password: password.as_ref().map_or("", Secret::expose).to_owned(),
            };
            let answer: proto::AuthenticateResponse = etcd.ask(AUTHENTICATE, question).await?;
            etcd.token = Some(answer.token.parse().map_err(RegistryError::new)?);
        }
        Ok(etcd)
    }

    async fn watch(
        &self,
        service: &str,
        found: &watch::Sender<Vec<NodeInfo>>,
    ) -> Result<Infallible, RegistryError> {
        let etcd = self.open().await?;
        let prefix = self.keys.prefix(service).into_bytes();
        let range_end = after(&prefix);
        let range = proto::RangeRequest { key: prefix.clone(), range_end: range_end.clone() };
        let list: proto::RangeResponse = etcd.ask(RANGE, range).await?;
        let node = |pair: proto::KeyValue| {
            let address = String::from_utf8(pair.key.get(prefix.len()..)?.to_vec()).ok()?;
            let metadata = String::from_utf8_lossy(&pair.value).into_owned();
            Some((pair.key, NodeInfo::new(address).with_metadata(&metadata)))
        };
        let revision = list.header.unwrap_or_default().revision;
        let mut nodes: BTreeMap<_, _> = list.kvs.into_iter().filter_map(node).collect();
        found.send_replace(nodes.values().cloned().collect());
        let create = proto::WatchCreateRequest {
            key: prefix.clone(),
            range_end,
            start_revision: revision.saturating_add(1),
        };
        let question = proto::WatchRequest { create_request: Some(create) };
        // It goes on for as long as more might be asked.
        let questions = stream::iter([question]).chain(stream::pending());
        let opened = timeout(PATIENCE, etcd.stream(WATCH, questions)).await;
        let mut answers: Streaming<proto::WatchResponse> = opened.map_err(RegistryError::new)??;
        while let Some(answer) = answers.message().await? {
            if answer.canceled {
                return Err(RegistryError::new(format_args!(
                    "etcd ends a watch: {}",
                    answer.cancel_reason
                )));
            }
            if answer.events.is_empty() {
                continue;
            }
            for proto::Event { removed, kv } in answer.events {
                let Some(pair) = kv else { continue };
                if removed == 0 {
                    nodes.extend(node(pair));
                } else {
                    nodes.remove(&pair.key);
                }
            }
            if nodes.len() > MOST {
                return Err(RegistryError::new("there are too many nodes"));
            }
            found.send_replace(nodes.values().cloned().collect());
        }
        Err(RegistryError::new("etcd has ended a watch"))
    }
}

/// Nodes of a service, at most.
const MOST: usize = 100_000;

/// Where the keys that begin so end.
fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    // The last is a slash.
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}

impl Lifecycle for EtcdRegistry {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        self.connector.as_ref().map_or(Ok(()), |connector| connector.prepare())
    }
}

impl NodeRegistry for EtcdRegistry {
    async fn follow(&self, service: &str, found: &watch::Sender<Vec<NodeInfo>>) -> RegistryError {
        let Err(why) = self.watch(service, found).await;
        why
    }

    async fn announce(&self, announcement: &Announcement) -> Result<(), RegistryError> {
        let etcd = self.open().await?;
        let asked = i64::try_from(self.ttl.as_secs().max(1)).unwrap_or(i64::MAX);
        let question = proto::LeaseGrantRequest { ttl: asked };
        let lease: proto::LeaseGrantResponse = etcd.ask(GRANT, question).await?;
        for (key, value) in self.keys.above(announcement.nodes()) {
            etcd.put(key, value, lease.id).await?;
        }
        for node in announcement.nodes() {
            etcd.put(self.keys.node(node), &node.metadata, lease.id).await?;
        }
        announcement.note_written();
        let every = Duration::from_secs(u64::try_from(lease.ttl).unwrap_or(1).max(1)) / 3;
        loop {
            tokio::select! {
                () = announcement.left() => {
                    let end = proto::LeaseRevokeRequest { id: lease.id };
                    let _: proto::LeaseRevokeResponse = etcd.ask(REVOKE, end).await?;
                    return Ok(());
                }
                () = sleep(every) => {}
            }
            etcd.renew(lease.id).await?;
            for node in announcement.nodes() {
                let key = self.keys.node(node);
                let range = proto::RangeRequest { key: key.clone().into(), range_end: Vec::new() };
                let there: proto::RangeResponse = etcd.ask(RANGE, range).await?;
                if there.kvs.is_empty() {
                    etcd.put(key, &node.metadata, lease.id).await?;
                }
            }
        }
    }
}

/// The way to an etcd.
struct Etcd {
    channel: GrpcChannel,
    token: Option<AsciiMetadataValue>,
}

const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";
const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";
const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
const RENEW: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const WATCH: &str = "/etcdserverpb.Watch/Watch";

impl Etcd {
    async fn ask<Q, A>(&self, path: &'static str, question: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut request = self.request(question);
        request.set_timeout(PATIENCE);
        let codec = ProstCodec::<Q, A>::default();
        let asked = Grpc::new(self.channel.clone())
            .unary(request, PathAndQuery::from_static(path), codec)
            .await;
        asked.map(|answer| answer.into_inner())
    }

    async fn stream<Q, A>(
        &self,
        path: &'static str,
        questions: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut request = self.request(questions);
        // A member that is cut off from the others says so, and another is asked.
        request.metadata_mut().insert("hasleader", AsciiMetadataValue::from_static("true"));
        let codec = ProstCodec::<Q, A>::default();
        let asked = Grpc::new(self.channel.clone())
            .streaming(request, PathAndQuery::from_static(path), codec)
            .await;
        asked.map(|answer| answer.into_inner())
    }

    fn request<Q>(&self, question: Q) -> Request<Q> {
        let mut request = Request::new(question);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    async fn put(&self, key: String, value: &str, lease: i64) -> Result<(), Status> {
        let put = proto::PutRequest { key: key.into(), value: value.into(), lease };
        let _: proto::PutResponse = self.ask(PUT, put).await?;
        Ok(())
    }

    async fn renew(&self, lease: i64) -> Result<(), RegistryError> {
        let renewed = async {
            let question = proto::LeaseKeepAliveRequest { id: lease };
            let mut answers = self.stream(RENEW, stream::iter([question])).await?;
            answers.message().await
        };
        let answer: Option<proto::LeaseKeepAliveResponse> =
            timeout(PATIENCE, renewed).await.map_err(RegistryError::new)??;
        match answer {
            Some(answer) if answer.ttl > 0 => Ok(()),
            _ => Err(RegistryError::new("the lease of nodes is over")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_others_begin() {
        assert_eq!(after(b"/rpcx/Arith/"), b"/rpcx/Arith0");
        let end = after(b"/rpcx/Arith/");
        assert!(b"/rpcx/Arith/\xff\xff"[..] < end[..]);
        assert!(b"/rpcx/Arithmetic/a"[..] > end[..]);
    }
}
