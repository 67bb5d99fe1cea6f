//! What a server tells of its services: whether they serve (`grpc.health.v1.Health`), and what can be asked of them
//! (`grpc.reflection.v1` and `v1alpha`).

use futures_util::FutureExt;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};
use tonic_reflection::server::Builder;

use super::GrpcService;

/// The service that tells whether others serve, and who it is told by.
pub(super) fn health() -> (HealthReporter, GrpcService) {
    let (reporter, server) = health_reporter();
    (reporter, GrpcService::new(server).described_by(tonic_health::pb::FILE_DESCRIPTOR_SET))
}

/// Says of a service whether it serves. Nobody holds the table for longer than a moment.
pub(super) async fn report(reporter: &HealthReporter, name: &str, serves: bool) {
    let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
    reporter.set_service_status(name, status).await;
}

/// The same before anybody else knows of the table.
pub(super) fn report_first(reporter: &HealthReporter, name: &str) {
    let _ = report(reporter, name, true).now_or_never();
}

/// The services that tell what can be asked of these; none of which nothing is known.
///
/// # Errors
/// When what is known of them is no set of descriptors, or contradicts itself.
pub(super) fn reflection<'a>(
    services: impl Iterator<Item = &'a GrpcService>,
) -> Result<[GrpcService; 2], tonic_reflection::server::Error> {
    let (mut sets, mut names) = (Vec::<&'static [u8]>::new(), Vec::new());
    for service in services {
        names.push(service.name());
        let set = service.descriptors();
        if !set.is_empty() && !sets.iter().any(|known| std::ptr::eq(*known, set)) {
            sets.push(set);
        }
    }
    let builder = || {
        let builder = sets.iter().fold(Builder::configure(), |builder, set| {
            builder.register_encoded_file_descriptor_set(set)
        });
        let own =
            ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
        names.iter().copied().chain(own).fold(builder, Builder::with_service_name)
    };
    let (v1, v1alpha) = (builder().build_v1()?, builder().build_v1alpha()?);
    Ok([GrpcService::new(v1), GrpcService::new(v1alpha)])
}
