//! The registry `consulRegistry`: nodes of services in the store of a Consul.
//!
//! ```gorox
//! stage {
//! 	echoService "Echo" {}
//! 	consulRegistry "nodes" { .url = "http://127.0.0.1:8500"  .basePath = "shop" }
//! 	rpcxServer "main" { .address = "127.0.0.1:8972"  .services = ("Echo")  .registries = ("nodes") }
//! }
//! ```
//!
//! The key of a node is locked by a session, which the node renews, and goes with it.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hemi_core::client::{Answer, Client, ClientLimits};
use hemi_core::config::Secret;
use hemi_core::tls::ConnectorConfig;
use hemi_core::{Component, CreateCx, Explain, HttpUrl, Lifecycle, Prepare, Result};
use hemi_proto::path::push_encoded;
use hemi_rpc::{Announcement, NodeInfo, NodeRegistry, RegistryError, ServiceNode};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{BASE_PATH, Keys, PATIENCE, TTL};

/// Keeps nodes of services in a Consul.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsulRegistryConfig {
    /// Where its agent is, such as `"http://127.0.0.1:8500"`.
    pub url: HttpUrl,
    /// The token that it wants to see (of its access control); none for nobody's.
    pub token: Option<Secret>,
    /// What keys begin with.
    pub base_path: String,
    /// How long a node stays that has crashed, about: Consul takes no less than 10 seconds.
    pub ttl: Duration,
}

impl Default for ConsulRegistryConfig {
    fn default() -> Self {
        let url = "http://127.0.0.1:8500".parse();
        Self {
            url: url.expect("it is a URL"),
            token: None,
            base_path: BASE_PATH.to_owned(),
            ttl: TTL,
        }
    }
}

/// Nodes in a Consul.
pub struct ConsulRegistry {
    client: Client,
    token: Option<Secret>,
    keys: Keys,
    ttl: Duration,
}

impl fmt::Debug for ConsulRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsulRegistry").field("url", self.client.url()).finish_non_exhaustive()
    }
}

/// How long Consul waits for a change before it answers; give or take a sixteenth.
const WAIT: Duration = Duration::from_secs(60);

/// How long it may take to answer who waits for a change.
const LONG: Duration = Duration::from_secs(WAIT.as_secs() + 10);

const LIMITS: ClientLimits =
    ClientLimits { connect: PATIENCE, total: LONG, content: 16 << 20, kept: 0 };

/// The number by which its own tools know that a key is a lock, as the plugins of rpcx have it.
const FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;

/// A pair as it is listed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pair {
    key: String,
    /// In base64; none if it is empty.
    value: Option<String>,
}

/// A session that was created.
#[derive(Deserialize)]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

impl Component for ConsulRegistry {
    const SIGN: &'static str = "consulRegistry";
    type Config = (ConsulRegistryConfig, ConnectorConfig);

    fn create((config, tls): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let client = Client::new(config.url.clone(), LIMITS, tls, cx)?;
        Ok(Self::with_client(config, client))
    }
}

impl ConsulRegistry {
    /// By these properties.
    #[must_use]
    pub fn new(config: ConsulRegistryConfig) -> Self {
        let client = Client::alone(config.url.clone(), LIMITS);
        Self::with_client(config, client)
    }

    fn with_client(config: ConsulRegistryConfig, client: Client) -> Self {
        let base = config.base_path.trim_start_matches('/');
        Self { client, token: config.token, keys: Keys::below(base), ttl: config.ttl }
    }

    /// Asks for something; an answer that says no is one.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &str,
        content: &[u8],
    ) -> Result<Answer, RegistryError> {
        let asked = timeout(PATIENCE, self.wait(method, path, query, content)).await;
        asked.unwrap_or_else(|_| Err(RegistryError::new("Consul takes too long to answer")))
    }

    /// The same of what may take as long as a change does to come.
    async fn wait(
        &self,
        method: Method,
        path: &str,
        query: &str,
        content: &[u8],
    ) -> Result<Answer, RegistryError> {
        let mut target = String::from("/v1/");
        push_encoded(&mut target, path);
        target += query;
        let url = self.client.url().with_target(&target).map_err(RegistryError::new)?;
        let mut fields = HeaderMap::new();
        if let Some(token) = &self.token {
            let token = HeaderValue::try_from(token.expose()).map_err(RegistryError::new)?;
            fields.insert("x-consul-token", token);
        }
        let client = self.client.at(url);
        client.send(&method, fields, content).await.map_err(RegistryError::new)
    }

    async fn watch(
        &self,
        service: &str,
        found: &watch::Sender<Vec<NodeInfo>>,
    ) -> Result<Infallible, RegistryError> {
        let prefix = self.keys.prefix(service);
        let path = format!("kv/{prefix}");
        let mut index = 0_u64;
        loop {
            let query = format!("?recurse=true&index={index}&wait={}s", WAIT.as_secs());
            let answer = self.wait(Method::GET, &path, &query, b"").await?;
            let nodes = match answer.status {
                StatusCode::NOT_FOUND => Vec::new(),
                _ => nodes(&good(&answer)?.content, &prefix)?,
            };
            let told = answer.headers.get("x-consul-index").and_then(|value| value.to_str().ok());
            let told: Option<u64> = told.and_then(|text| text.parse().ok());
            let told = told.ok_or_else(|| RegistryError::new("Consul gives no index"))?;
            // One that goes back begins anew, and 0 would not wait.
            index = if told < index { 0 } else { told.max(1) };
            found.send_replace(nodes);
        }
    }

    async fn put(&self, key: &str, query: &str, value: &str) -> Result<bool, RegistryError> {
        let query = format!("?flags={FLAGS}{query}");
        let answer = self.ask(Method::PUT, &format!("kv/{key}"), &query, value.as_bytes()).await?;
        Ok(good(&answer)?.content.trim_ascii() == b"true")
    }

    /// Writes a node's key, which goes with the session.
    async fn write(&self, node: &ServiceNode, session: &str) -> Result<(), RegistryError> {
        let key = self.keys.node(node);
        let acquire = format!("&acquire={session}");
        for _ in 0..3 {
            if self.put(&key, &acquire, &node.metadata).await? {
                return Ok(());
            }
            // A session before this one has it still.
            good(&self.ask(Method::DELETE, &format!("kv/{key}"), "", b"").await?)?;
        }
        Err(RegistryError::new("somebody else has the same node"))
    }
}

/// An answer that says yes.
fn good(answer: &Answer) -> Result<&Answer, RegistryError> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let why = String::from_utf8_lossy(&answer.content);
    Err(RegistryError::new(format_args!("Consul answers {}: {}", answer.status, why.trim())))
}

fn nodes(content: &[u8], prefix: &str) -> Result<Vec<NodeInfo>, RegistryError> {
    let pairs: Vec<Pair> = serde_json::from_slice(content).map_err(RegistryError::new)?;
    let nodes = pairs.into_iter().filter_map(|pair| {
        let address = pair.key.strip_prefix(prefix).filter(|address| !address.is_empty())?;
        let metadata = STANDARD.decode(pair.value.unwrap_or_default()).ok()?;
        Some(NodeInfo::new(address).with_metadata(&String::from_utf8_lossy(&metadata)))
    });
    Ok(nodes.collect())
}

impl Lifecycle for ConsulRegistry {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        self.client.prepare()
    }
}

impl NodeRegistry for ConsulRegistry {
    async fn follow(&self, service: &str, found: &watch::Sender<Vec<NodeInfo>>) -> RegistryError {
        let Err(why) = self.watch(service, found).await;
        why
    }

    async fn announce(&self, announcement: &Announcement) -> Result<(), RegistryError> {
        // It lasts up to twice as long as it says.
        let ttl = (self.ttl / 2).as_secs().max(10);
        let wanted = format!(r#"{{"Behavior":"delete","TTL":"{ttl}s","LockDelay":"1ms"}}"#);
        let created = self.ask(Method::PUT, "session/create", "", wanted.as_bytes()).await?;
        let created: Created =
            serde_json::from_slice(&good(&created)?.content).map_err(RegistryError::new)?;
        let session = created.id;
        for (key, value) in self.keys.above(announcement.nodes()) {
            self.put(&key, "", value).await?;
        }
        for node in announcement.nodes() {
            self.write(node, &session).await?;
        }
        announcement.note_written();
        loop {
            tokio::select! {
                () = announcement.left() => {
                    let path = format!("session/destroy/{session}");
                    return good(&self.ask(Method::PUT, &path, "", b"").await?).map(drop);
                }
                () = sleep(Duration::from_secs(ttl) / 3) => {}
            }
            let path = format!("session/renew/{session}");
            good(&self.ask(Method::PUT, &path, "", b"").await?)?;
            for node in announcement.nodes() {
                let path = format!("kv/{}", self.keys.node(node));
                let there = self.ask(Method::GET, &path, "", b"").await?;
                if there.status == StatusCode::NOT_FOUND {
                    self.write(node, &session).await?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_nodes() {
        let content = br#"[{"LockIndex":0,"Key":"rpcx/Arith/","Flags":0,"Value":null},
            {"Key":"rpcx/Arith/tcp@a:1","Value":"d2VpZ2h0PTc=","Session":"x"},
            {"Key":"rpcx/Arith/tcp@b:1","Value":null}]"#;
        let found = nodes(content, "rpcx/Arith/").unwrap();
        let expected =
            ["tcp@a:1 weight=7", "tcp@b:1"].map(|line| NodeInfo::from_line(line).unwrap());
        assert_eq!(found, expected);
        assert!(nodes(b"[{", "").is_err());
    }
}
