//! The standard components of Hemi: one file for each, by kind and sign.

#![forbid(unsafe_code)]

mod access_list;
mod authority;
pub mod backends;
mod buckets;
pub mod checks;
mod clients;
pub mod cronjobs;
pub mod dealets;
mod destinations;
mod failover;
mod field_edits;
pub mod handlets;
pub mod hstates;
pub mod loggers;
mod outgoing;
mod realm;
mod redis;
mod replay;
mod reverse;
pub mod revisers;
pub mod servers;
pub mod services;
mod site_path;
pub mod socklets;
mod sticky;
mod tokens;
mod uri_template;
mod users;
mod vary;

use hemi_core::Registry;
use hemi_core::backend::CheckRegistry;
use hemi_core::cronjob::CronjobRegistry;
use hemi_core::logger::LoggerRegistry;
use hemi_core::server::ServerRegistry;
use hemi_net::DealetRegistry;
use hemi_rpc::ServiceRegistry;
use hemi_web::{
    GatewayRegistry, HandletRegistry, HstateRegistry, HttpBackendRegistry, ReviserRegistry,
    SockletRegistry,
};

/// Adds this crate's components.
pub fn register(registry: &mut Registry) {
    registry
        .dealet_of_all::<dealets::AccessDealet>()
        .dealet_of_all::<dealets::LimitDealet>()
        .dealet_of_both::<dealets::DnsProxy>()
        .dealet::<dealets::MysqlProxy>()
        .dealet::<dealets::PgsqlProxy>()
        .dealet::<dealets::RedisProxy>()
        .quix_dealet::<dealets::QuixProxy>()
        .dealet::<dealets::TcpxProxy>()
        .udpx_dealet::<dealets::UdpxProxy>()
        .http_backend::<backends::Http1Backend>()
        .http_backend::<backends::Http2Backend>()
        .http_backend::<backends::Http3Backend>()
        .gateway::<backends::FcgiBackend>()
        .gateway::<backends::ScgiBackend>()
        .gateway::<backends::UwsgiBackend>()
        .gateway::<backends::AjpBackend>()
        .check::<checks::GrpcCheck>()
        .check::<checks::HttpCheck>()
        .check::<checks::MysqlCheck>()
        .check::<checks::PgsqlCheck>()
        .check::<checks::RedisCheck>()
        .handlet::<handlets::Static>()
        .handlet::<handlets::Favicon>()
        .handlet::<handlets::Access>()
        .handlet::<handlets::AjpProxy>()
        .handlet::<handlets::BasicAuth>()
        .handlet::<handlets::Cgi>()
        .handlet::<handlets::Cors>()
        .handlet::<handlets::FcgiProxy>()
        .handlet::<handlets::ForwardAuth>()
        .handlet::<handlets::Headers>()
        .handlet::<handlets::Health>()
        .handlet::<handlets::HostnameChecker>()
        .handlet::<handlets::HttpProxy>()
        .handlet::<handlets::HttpsChecker>()
        .handlet::<handlets::JwtAuth>()
        .handlet::<handlets::Limit>()
        .handlet::<handlets::Maintenance>()
        .handlet::<handlets::Metrics>()
        .handlet::<handlets::Ready>()
        .handlet::<handlets::Redirect>()
        .handlet::<handlets::Referer>()
        .handlet::<handlets::RequestId>()
        .handlet::<handlets::Rewrite>()
        .handlet::<handlets::ScgiProxy>()
        .handlet::<handlets::UwsgiProxy>()
        .reviser::<revisers::Gunzip>()
        .reviser::<revisers::Ssi>()
        .reviser::<revisers::Wrap>()
        .reviser::<revisers::Replace>()
        .reviser::<revisers::Head>()
        .reviser::<revisers::Gzip>()
        .reviser::<revisers::Brotli>()
        .reviser::<revisers::Zstd>()
        .hstate::<hstates::MemoryHstate>()
        .hstate::<hstates::FilesysHstate>()
        .hstate::<hstates::RedisHstate>()
        .socklet::<socklets::EchoSocklet>()
        .socklet::<socklets::BroadcastSocklet>()
        .socklet::<socklets::ConnectProxy>()
        .socklet::<socklets::ReverseTunnel>()
        .socklet::<socklets::SockProxy>()
        .logger::<loggers::SimpleLogger>()
        .logger::<loggers::SyslogLogger>()
        .server::<servers::DiscardServer>()
        .server::<servers::EchoServer>()
        .service::<services::EchoService>()
        .server::<servers::ReverseServer>()
        .server::<servers::SocksServer>()
        .server::<servers::TunnelServer>()
        .cronjob::<cronjobs::CleanCronjob>()
        .cronjob::<cronjobs::StatCronjob>();
}
