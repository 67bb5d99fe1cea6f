//! Registries: where nodes of services say that they are there, and clients find them, by the keys and values that the plugins
//! of rpcx have, so that both may be in Go.

#[cfg(feature = "consul")]
mod consul;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "zookeeper")]
mod zookeeper;

#[cfg(feature = "redis")]
pub use self::redis::{RedisRegistry, RedisRegistryConfig};
#[cfg(feature = "consul")]
pub use consul::{ConsulRegistry, ConsulRegistryConfig};
#[cfg(feature = "etcd")]
pub use etcd::{EtcdRegistry, EtcdRegistryConfig};
#[cfg(feature = "zookeeper")]
pub use zookeeper::{ZookeeperRegistry, ZookeeperRegistryConfig};

/// What keys begin with if nothing else is said.
const BASE_PATH: &str = "/rpcx";

/// How long nodes stay that say no more that they are there, if nothing else is said; as with the plugins of rpcx.
const TTL: std::time::Duration = std::time::Duration::from_secs(30);

/// How long a registry may take to do what it is asked.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// The keys of rpcx: for a base path, for each service below it, and for each node below that.
#[derive(Clone, Debug)]
struct Keys(Box<str>);

impl Keys {
    /// Below this path.
    fn below(base: &str) -> Self {
        Self(base.trim_end_matches('/').into())
    }

    /// What the keys of a service's nodes begin with.
    fn prefix(&self, service: &str) -> String {
        format!("{}/{service}/", self.0)
    }

    /// The key of a node.
    fn node(&self, node: &hemi_rpc::ServiceNode) -> String {
        self.prefix(&node.service) + &node.address
    }

    /// The keys that are above those of nodes, with what they say.
    fn above<'a>(
        &'a self,
        nodes: &'a [hemi_rpc::ServiceNode],
    ) -> impl Iterator<Item = (String, &'a str)> {
        let services = nodes.iter().map(|node| &*node.service);
        let services = services.map(|service| (format!("{}/{service}", self.0), service));
        let base = (!self.0.is_empty()).then(|| (self.0.to_string(), "rpcx_path"));
        base.into_iter().chain(services)
    }
}
