//! Components of Hemi for special needs, each behind a feature of its name.

#![forbid(unsafe_code)]

pub mod handlets;
#[cfg(feature = "registries")]
pub mod registries;
pub mod tracers;

use hemi_core::Registry;
#[cfg(feature = "otlp")]
use hemi_core::tracer::TracerRegistry;
#[cfg(feature = "registries")]
use hemi_rpc::NodeRegistryRegistry;
#[cfg(feature = "webdav")]
use hemi_web::HandletRegistry;

/// Adds this crate's components: those of the features that it was built with.
pub fn register(registry: &mut Registry) {
    #[cfg(feature = "webdav")]
    registry.handlet::<handlets::Webdav>();
    #[cfg(feature = "otlp")]
    registry.tracer::<tracers::OtlpTracer>();
    #[cfg(feature = "consul")]
    registry.node_registry::<registries::ConsulRegistry>();
    #[cfg(feature = "etcd")]
    registry.node_registry::<registries::EtcdRegistry>();
    #[cfg(feature = "redis")]
    registry.node_registry::<registries::RedisRegistry>();
    #[cfg(feature = "zookeeper")]
    registry.node_registry::<registries::ZookeeperRegistry>();
    let _ = registry;
}
