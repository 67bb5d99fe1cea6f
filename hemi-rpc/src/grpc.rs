//! gRPC: services that tonic-build has made of `.proto` files, on our own HTTP/2.
//!
//! A service is a [`GrpcService`]. A [`GrpcServer`] serves any number of them at a port of their own; as
//! [`GrpcServices`] they stand in a rule of a webapp, beside what else there is. They can be called by gRPC-Web and
//! Connect as well. A [`GrpcChannel`] is the way to services elsewhere.

mod called;
mod channel;
mod coding;
mod connect;
mod dispatch;
mod form;
mod get;
mod hrpc;
mod json;
mod local;
mod messages;
mod replies;
mod reported;
mod rest;
mod server;
mod service;
mod services;

pub use channel::{
    AnswerBody, BadServiceConfig, GrpcChannel, GrpcChannelConfig, Retry, ServiceConfig,
};
pub(crate) use hrpc::StreamedCall;
pub(crate) use json::{read_json, write_json};
pub(crate) use local::{guarded, within};
pub use messages::Messages;
pub use replies::Trailers;
pub use server::{GrpcConfig, GrpcServer};
pub(crate) use service::mount;
pub use service::{GrpcComponent, GrpcRegistry, GrpcService};
pub use services::{GrpcLimits, GrpcServices, GrpcServicesConfig};
pub use tonic;
pub use tonic_health::server::HealthReporter;
