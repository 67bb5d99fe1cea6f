//! The Hemi engine: a config language, typed components, stages that follow each other without losing a
//! request, and a thread per core to run them on.
//!
//! A program makes a [`Registry`] of the components it knows and gives it to an [`Engine`], which turns
//! configs into stages. A [`Component`] is a type with a sign, typed properties and a life; a [`Kind`]
//! is what components of one purpose have in common.

// The derive macros name this crate as its users do.
extern crate self as hemi_core;

pub mod acme;
pub mod backend;
pub mod client;
pub mod clock;
mod component;
pub mod config;
pub mod cores;
pub mod cronjob;
pub mod datagrams;
pub mod deadline;
mod engine;
mod error;
pub mod fcache;
pub mod gate;
pub mod io;
pub mod listen;
pub mod logger;
pub mod metrics;
pub mod panics;
pub mod quic;
mod registry;
pub mod resolv;
pub mod server;
mod stage;
pub mod status;
mod sys;
pub mod tls;
pub mod tracer;
pub mod watched;

pub use component::{BoxFuture, Component, CreateCx, DynLifecycle, Kind, Lifecycle, Place, Rank};
pub use config::{Explain, HttpUrl};
pub use engine::{Engine, GRACE, Pulse, check, needs, serve, serve_parts};
pub use error::{Error, Result};
pub use hemi_derive::Component;
pub use registry::{Entry, Registry, Tool};
pub use stage::{Needs, Parts, Prepare, Run, Shut, Stage};
pub use status::Status;

/// Adds the fixtures that every stage has, what backends are made of, and where certificates come from.
fn register(registry: &mut Registry) {
    use backend::CheckRegistry;
    registry
        .check::<backend::TcpCheck>()
        .add::<acme::AcmeKind, acme::Acme>(|acme| acme)
        .add::<acme::CaKind, acme::Ca>(|ca| ca)
        .add::<backend::NodeKind, backend::Node>(|node| node)
        .add::<fcache::FcacheKind, fcache::Fcache>(|fcache| fcache)
        .add::<resolv::ResolvKind, resolv::Resolv>(|resolv| resolv);
}
