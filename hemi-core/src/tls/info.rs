//! What was agreed on in a handshake.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, Connection, HandshakeKind, ProtocolVersion};

use super::{Site, Sites};

/// What is known of a TLS connection.
#[derive(Clone, Debug)]
pub struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`
    pub version: &'static str,
    /// The cipher suite, by its name in the registry of IANA.
    pub cipher: &'static str,
    /// The name that the client asked for (RFC 6066, 3), in lower case.
    pub server_name: Option<Box<str>>,
    /// The protocol agreed on (RFC 7301), such as `h2`.
    pub alpn: Option<Box<[u8]>>,
    /// Whether the keys of an earlier connection were the start.
    pub resumed: bool,
    /// The certificate of a client, which was verified.
    pub client: Option<CertificateDer<'static>>,
    /// On the server, whose certificate it is.
    pub site: Option<Arc<Site>>,
}

impl TlsInfo {
    pub(super) fn of(tls: &Connection, site: Option<Arc<Site>>) -> Self {
        let server_name = match tls {
            Connection::Server(server) => server.server_name().map(Box::from),
            Connection::Client(_) => None,
        };
        let client = match tls {
            Connection::Server(server) => server.peer_certificates().and_then(<[_]>::first),
            Connection::Client(_) => None,
        };
        Self {
            version: match tls.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            cipher: tls.negotiated_cipher_suite().map_or("", |suite| cipher_name(suite.suite())),
            server_name,
            alpn: tls.alpn_protocol().map(Box::from),
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            client: client.map(|der| der.clone().into_owned()),
            site,
        }
    }

    /// That of a connection of QUIC, once the client has said what it wants; and has shown its certificate, if
    /// one was asked for.
    #[must_use]
    pub fn of_quic(conn: &quinn::Connection, sites: &dyn Sites) -> Self {
        let data = conn.handshake_data();
        let data =
            data.and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok());
        let (alpn, name) = data.map_or((None, None), |data| (data.protocol, data.server_name));
        let name = name.map(|name| name.to_ascii_lowercase());
        let client = conn.peer_identity();
        let client = client.and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
        Self {
            version: "TLSv1.3",
            cipher: "",
            site: sites.find(name.as_deref()),
            server_name: name.map(Box::from),
            alpn: alpn.map(Box::from),
            resumed: false,
            client: client.and_then(|chain| chain.into_iter().next()),
        }
    }
}

/// The name of IANA.
pub(super) fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or_default(),
    }
}
