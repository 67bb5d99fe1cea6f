//! TLS (RFC 8446, RFC 5246) for servers and clients: rustls on aws-lc-rs.
//!
//! A server has an [`Acceptor`], which makes [`TlsStream`]s of accepted sockets. Whose certificates a
//! client is shown is the business of [`Sites`]: of a [`Site`] by the name that the client asks for.
//! What a site shows can be changed while it is shown: connections see it from their next handshake on.
//! A client has a [`Connector`].

mod accept;
mod clients;
mod config;
mod connect;
mod counters;
mod handshake;
mod identity;
mod info;
mod key_log;
mod link;
mod names;
mod ocsp;
mod quic;
mod site;
mod stream;
mod tickets;

use std::sync::Arc;

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};

pub use accept::Acceptor;
pub use clients::ClientAuth;
pub use config::{Group, Suite, TlsConfig, TlsVersion, UnknownName};
pub use connect::{Connector, ConnectorConfig};
pub use counters::{Failure, TlsCounters};
pub use identity::{IdentityError, read_identity};
pub use info::TlsInfo;
pub use link::Link;
pub use names::Issuer;
pub(crate) use site::covers;
pub use site::{Site, SiteConfig, SiteFiles, Sites};
pub use stream::TlsStream;
pub use tickets::Tickets;

/// Those that are used unless the config says otherwise, the cheapest first.
const SUITES: [SupportedCipherSuite; 9] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The same of key exchanges: what a quantum computer can't undo goes first.
const GROUPS: [&dyn SupportedKxGroup; 4] =
    [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];

/// The cryptography that is used where no config chooses.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: SUITES.to_vec(),
        kx_groups: GROUPS.to_vec(),
        ..aws_lc_rs::default_provider()
    })
}
