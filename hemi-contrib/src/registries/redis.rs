//! The registry `redisRegistry`: nodes of services in a Redis.
//!
//! ```gorox
//! stage {
//! 	echoService "Echo" {}
//! 	redisRegistry "nodes" { .address = "127.0.0.1:6379"  .basePath = "shop" }
//! 	rpcxServer "main" { .address = "127.0.0.1:8972"  .services = ("Echo")  .registries = ("nodes") }
//! }
//! ```
//!
//! The keys of a node expire when it does not renew them any more. Changes are heard of by Redis' notifications about keys, which
//! are turned on if that is allowed; besides that nodes are looked for every ten seconds.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use hemi_core::config::Secret;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_rpc::{Announcement, Endpoint, NodeInfo, NodeRegistry, RegistryError};
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{
    AsyncCommands, AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, Script,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

use super::{BASE_PATH, Keys, PATIENCE, TTL};

/// Keeps nodes of services in a Redis.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct RedisRegistryConfig {
    /// Where it is: a host and port, or the path of a Unix socket.
    pub address: Endpoint,
    /// The number of the database.
    pub database: u16,
    /// Whom to log in as; none for the user that a password alone is for.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// What keys begin with. There is a slash in front of it anyway: two, if it has one itself.
    pub base_path: String,
    /// How long a node stays that has crashed: some seconds at least.
    pub ttl: Duration,
}

impl Default for RedisRegistryConfig {
    fn default() -> Self {
        Self {
            address: Endpoint::Tcp("127.0.0.1:6379".to_owned()),
            database: 0,
            user: None,
            password: None,
            base_path: BASE_PATH.to_owned(),
            ttl: TTL,
        }
    }
}

/// Nodes in a Redis.
#[derive(Debug)]
pub struct RedisRegistry {
    config: RedisRegistryConfig,
    keys: Keys,
}

impl Component for RedisRegistry {
    const SIGN: &'static str = "redisRegistry";
    type Config = RedisRegistryConfig;

    fn create(mut config: RedisRegistryConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        if let Endpoint::Unix(path) = &mut config.address {
            *path = cx.path(&*path);
        }
        Ok(Self::new(config))
    }
}

/// How often nodes are looked for, though nothing is told of changes.
const LOOK: Duration = Duration::from_secs(10);

/// What is kept of a key, as the library of stores has it that the plugins of rpcx are made with.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pair {
    key: String,
    /// In base64.
    value: String,
    last_index: u64,
}

/// Renews a key, or sets it if it is gone. What somebody else has set since stays.
const RENEW: &str = "if redis.call('PEXPIRE', KEYS[1], ARGV[2]) == 0 then \
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end";

/// Removes a key that is as it was set. Who has it since removes it himself.
const REMOVE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end";

impl RedisRegistry {
    /// By these properties.
    #[must_use]
    pub fn new(config: RedisRegistryConfig) -> Self {
        Self { keys: Keys::below(&config.base_path), config }
    }

    fn client(&self) -> Result<Client, RegistryError> {
        let RedisRegistryConfig { address, database, user, password, .. } = &self.config;
        let place = match address {
            Endpoint::Tcp(address) | Endpoint::Http(address) | Endpoint::Hrpc(address) => {
                let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
                let host = host.trim_matches(['[', ']']).to_owned();
                ConnectionAddr::Tcp(host, port.parse().unwrap_or(6379))
            }
            Endpoint::Unix(path) => ConnectionAddr::Unix(path.clone()),
        };
        let mut login = RedisConnectionInfo::default().set_db((*database).into());
        if let Some(user) = user {
            login = login.set_username(user);
        }
        if let Some(password) = password {
            login = login.set_password(password.expose());
        }
        let info = place.into_connection_info().map_err(failed)?.set_redis_settings(login);
        Client::open(info).map_err(failed)
    }

    async fn connect(&self, client: &Client) -> Result<MultiplexedConnection, RegistryError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        client.get_multiplexed_async_connection_with_config(&config).await.map_err(failed)
    }

    async fn watch(
        &self,
        service: &str,
        found: &watch::Sender<Vec<NodeInfo>>,
    ) -> Result<Infallible, RegistryError> {
        let client = self.client()?;
        let prefix = stored(&self.keys.prefix(service));
        let pattern = format!("{}*", literally(&prefix));
        let mut redis = self.connect(&client).await?;
        notify(&mut redis).await;
        // What happens from now on is heard of.
        let heard = timeout(PATIENCE, listen(&client, &format!("__keyspace@*__:{pattern}"))).await;
        let mut heard = heard.map_err(RegistryError::new)?.map_err(failed)?;
        let mut ticks = interval(LOOK);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                event = heard.next() => {
                    let Some(event) = event else {
                        return Err(RegistryError::new("the connection for notifications is lost"));
                    };
                    // That a key lasts longer is no news.
                    if event.get_payload().is_ok_and(|what: String| what == "expire") {
                        continue;
                    }
                }
            }
            found.send_replace(list(&mut redis, &prefix, &pattern).await.map_err(failed)?);
        }
    }
}

/// The key that Redis has for one of rpcx.
fn stored(key: &str) -> String {
    format!("/{key}")
}

/// A pattern that matches just this text.
fn literally(text: &str) -> String {
    let mut pattern = String::new();
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// Has Redis tell of what happens to keys, if it lets us; what it told of before stays.
async fn notify(redis: &mut MultiplexedConnection) {
    const SETTING: &str = "notify-keyspace-events";
    let mut asked = redis::cmd("CONFIG");
    let now: Result<(String, String), _> = asked.arg("GET").arg(SETTING).query_async(redis).await;
    let Ok((_, now)) = now else { return };
    let all = now.contains('A');
    let lacks = |flag: &char| !now.contains(*flag) && (*flag == 'K' || !all);
    let lacking: String = ['K', 'g', '$', 'x'].iter().filter(|flag| lacks(flag)).collect();
    if !lacking.is_empty() {
        let mut set = redis::cmd("CONFIG");
        let set = set.arg("SET").arg(SETTING).arg(now + &lacking);
        let done: Result<(), RedisError> = set.query_async(redis).await;
        if let Err(e) = done {
            tracing::debug!("Redis does not tell of changes: {e}");
        }
    }
}

async fn listen(client: &Client, pattern: &str) -> Result<PubSubStream, RedisError> {
    let mut listening = client.get_async_pubsub().await?;
    listening.psubscribe(pattern).await?;
    Ok(listening.into_on_message())
}

async fn list(
    redis: &mut MultiplexedConnection,
    prefix: &str,
    pattern: &str,
) -> Result<Vec<NodeInfo>, RedisError> {
    // Some may come twice.
    let mut keys = HashSet::new();
    let mut at = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(at).arg("MATCH").arg(pattern).arg("COUNT").arg(1000);
        let (next, some): (u64, Vec<String>) = scan.query_async(redis).await?;
        keys.extend(some);
        at = next;
        if at == 0 {
            break;
        }
    }
    let keys: Vec<String> = keys.into_iter().collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let values: Vec<Option<Vec<u8>>> = redis.mget(&keys).await?;
    let nodes = keys.iter().zip(values).filter_map(|(key, value)| {
        let address = key.strip_prefix(prefix)?;
        let metadata = metadata(&value?)?;
        Some(NodeInfo::new(address).with_metadata(&metadata))
    });
    Ok(nodes.collect())
}

/// What is said of a node.
fn metadata(value: &[u8]) -> Option<String> {
    let pair: Pair = serde_json::from_slice(value).ok()?;
    let metadata = STANDARD.decode(pair.value).ok()?;
    Some(String::from_utf8_lossy(&metadata).into_owned())
}

fn written(key: &str, value: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let last_index = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let pair = Pair { key: key.to_owned(), value: STANDARD.encode(value), last_index };
    // Texts and a number: that does not fail.
    serde_json::to_string(&pair).unwrap_or_default()
}

fn failed(e: RedisError) -> RegistryError {
    RegistryError::new(e)
}

impl Lifecycle for RedisRegistry {}

impl NodeRegistry for RedisRegistry {
    async fn follow(&self, service: &str, found: &watch::Sender<Vec<NodeInfo>>) -> RegistryError {
        let Err(why) = self.watch(service, found).await;
        why
    }

    async fn announce(&self, announcement: &Announcement) -> Result<(), RegistryError> {
        let mut redis = self.connect(&self.client()?).await?;
        let above: Vec<_> = self.keys.above(announcement.nodes()).collect();
        let above = above.into_iter().map(|(key, value)| (stored(&key), written(&key, value)));
        let nodes = announcement.nodes().iter().map(|node| {
            let key = self.keys.node(node);
            (stored(&key), written(&key, &node.metadata))
        });
        let nodes: Vec<(String, String)> = nodes.collect();
        let ttl = u64::try_from(self.config.ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        for (key, value) in above {
            let _: () = redis.set(key, value).await.map_err(failed)?;
        }
        for (key, value) in &nodes {
            let _: () = redis.pset_ex(key, value, ttl).await.map_err(failed)?;
        }
        announcement.note_written();
        let (renew, remove) = (Script::new(RENEW), Script::new(REMOVE));
        loop {
            let leaves = tokio::select! {
                () = announcement.left() => true,
                () = sleep((self.config.ttl / 3).max(Duration::from_secs(1))) => false,
            };
            for (key, value) in &nodes {
                let script = if leaves { &remove } else { &renew };
                let mut asked = script.key(key);
                asked.arg(value).arg(ttl);
                let _: () = asked.invoke_async(&mut redis).await.map_err(failed)?;
            }
            if leaves {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_plugins() {
        let value = r#"{"Key":"rpcx2/Arith/tcp@127.0.0.1:8981","Value":"d2VpZ2h0PTc=","LastIndex":1795776000000000000}"#;
        assert_eq!(metadata(value.as_bytes()).as_deref(), Some("weight=7"));
        let own = written("a/b", "weight=7");
        assert!(own.starts_with(r#"{"Key":"a/b","Value":"d2VpZ2h0PTc=","LastIndex":"#), "{own}");
        assert_eq!(metadata(own.as_bytes()).as_deref(), Some("weight=7"));
        assert_eq!(metadata(b"weight=7"), None);
        assert_eq!(literally("/a*[b]/"), r"/a\*\[b\]/");
    }
}
