//! RPC servers, services and clients on the Hemi engine, which understand those of rpcx, in Go, and of gRPC, and speak HRPC
//! among themselves.
//!
//! A service is an `impl` block with [`#[service]`](macro@service); what it is sent and sends back are structs with
//! [`#[message]`](macro@message). A [`RpcxServer`] serves any number of them; a [`Client`] calls
//! those that are served elsewhere. Services of gRPC are made by tonic-build of `.proto` files, and served by a
//! [`GrpcServer`], or in a webapp as [`GrpcServices`].
//!
//! ```
//! use hemi_rpc::{Fault, message, service};
//!
//! #[message]
//! struct Args {
//!     a: i64,
//!     b: i64,
//! }
//! #[message]
//! struct Reply {
//!     c: i64,
//! }
//!
//! struct Arith;
//!
//! #[service]
//! impl Arith {
//!     pub async fn mul(&self, args: Args) -> Result<Reply, Fault> {
//!         Ok(Reply { c: args.a * args.b })
//!     }
//! }
//! ```

#![forbid(unsafe_code)]

// The macros name this crate as its users do.
#[cfg(test)]
extern crate self as hemi_rpc;

mod call;
mod client;
mod cluster;
pub mod codec;
mod compression;
mod exchange;
mod fault;
mod grpc;
mod guard;
mod hrpc;
mod local;
mod registry;
mod rpc_error;
mod server;
mod service;
mod side;
mod tool;
mod zstd;

pub use call::{Call, PushError, Pusher};
pub use client::{Ask, BadEndpoint, Client, ClientConfig, Endpoint, Push, Remote, Via};
pub use cluster::{
    BreakerConfig, Choice, Cluster, ClusterAsk, ClusterConfig, Discovery, Dns, FailMode, NodeInfo,
    NodesFile, Place, Receipt, Select, Selector, Several,
};
pub use codec::{CodecError, Payload, Protobuf, RawPayload};
pub use compression::{Compressions, Compressor, DecompressError, Gzip, Snappy, Zstd};
pub use exchange::{Exchange, Outcome};
pub use fault::Fault;
pub use grpc::{
    AnswerBody, BadServiceConfig, GrpcChannel, GrpcChannelConfig, GrpcComponent, GrpcConfig,
    GrpcLimits, GrpcRegistry, GrpcServer, GrpcService, GrpcServices, GrpcServicesConfig,
    HealthReporter, Messages, Retry, ServiceConfig, Trailers, tonic,
};
pub use guard::{Asking, Guard, Refusal};
pub use hemi_derive::{message, service};
pub use hemi_proto::hrpc::Code;
pub use hemi_proto::rpcx::{CodecId, Metadata};
pub use registry::{
    AnnounceConfig, Announced, Announcement, DynNodeRegistry, NodeRegistry, NodeRegistryRegistry,
    Registered, RegistryError, RegistryKind, ServiceNode,
};
pub use rpc_error::{Failure, RpcError};
pub use serde;
pub use server::{RpcxConfig, RpcxLimits, RpcxServer};
pub use service::{DynService, Holds, Service, ServiceKind, ServiceParts, ServiceRegistry};
pub use side::{SideFile, SideMeta, SideStream};

use hemi_core::Registry;
use hemi_core::server::ServerRegistry;
use hemi_web::HandletRegistry;

/// Adds this crate's components.
pub fn register(registry: &mut Registry) {
    registry.server::<RpcxServer>().server::<GrpcServer>().handlet::<GrpcServices>();
    registry.tool("rpc", tool::run);
}
