//! gRPC, by clients of others: those of its authors in Go and Python.

mod channel;
mod peers;
mod rest;
mod web;

pub(crate) use rest::LibraryService;

use std::sync::Arc;

use hemi_rpc::{GrpcComponent, GrpcLimits, GrpcServer, GrpcService, GrpcServices};
use rpc_interop::Interop;
use rpc_interop::proto::DESCRIPTORS;
use rpc_interop::proto::test_service_server::TestServiceServer;

use crate::server::{Running, serve_config, serve_parts};

/// The service of the interop tests.
pub(crate) fn interop() -> GrpcService {
    GrpcService::new(TestServiceServer::new(Interop)).described_by(DESCRIPTORS)
}

pub(crate) fn serve_grpc(limits: GrpcLimits) -> Running {
    let services = GrpcServices::with_limits(limits).service(interop());
    let server = GrpcServer::new("127.0.0.1:0".parse().unwrap(), services);
    serve_parts(|parts| drop(server.install("main", parts).unwrap()))
}

/// The same as a component.
#[derive(hemi_rpc::serde::Deserialize, hemi_core::Explain, hemi_core::Component)]
#[serde(crate = "hemi_rpc::serde")]
pub(crate) struct InteropService {}

impl GrpcComponent for InteropService {
    fn service(self: Arc<Self>) -> GrpcService {
        interop()
    }
}

pub(crate) fn serve_by_config(more: &str) -> Running {
    serve_config(&format!(
        "stage {{ interopService \"interop\" {{}}
            echoes \"Echoes\" {{}}
            grpcServer \"main\" {{
                .address = \"127.0.0.1:0\"
                .services = (\"interop\", \"Echoes\")
                {more}
            }} }}"
    ))
}
