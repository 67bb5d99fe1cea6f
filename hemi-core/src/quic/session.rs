//! Handshakes whose configuration depends on whom the client asks for: what it says first is looked at before one is
//! chosen.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use hemi_proto::client_hello::{self, ClientHello};
use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::crypto::{
    ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
    UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError};
use rustls::HandshakeType;
use tracing::debug;

use crate::tls::Acceptor;

/// The cryptography of a server that speaks QUIC.
#[derive(Clone)]
pub struct QuicCrypto(Arc<Crypto>);

struct Crypto {
    /// For those who ask for sites that demand nothing of clients.
    open: Arc<QuicServerConfig>,
    protocols: Vec<Vec<u8>>,
    tls: Arc<Acceptor>,
}

impl QuicCrypto {
    pub(super) fn new(open: QuicServerConfig, protocols: &[&str], tls: Arc<Acceptor>) -> Self {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self(Arc::new(Crypto { open: Arc::new(open), protocols, tls }))
    }

    pub(super) fn server_config(&self) -> Arc<dyn ServerConfig> {
        self.0.clone()
    }

    /// Whether a client is asked for a certificate, who has asked for this.
    pub(super) fn asks(&self, data: Box<dyn Any>) -> bool {
        let data = data.downcast::<HandshakeData>();
        data.is_ok_and(|data| self.0.tls.asks_clients(data.server_name.as_deref()))
    }
}

impl fmt::Debug for QuicCrypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QuicCrypto")
    }
}

impl Crypto {
    /// What serves a client that says this first.
    fn choose(&self, hello: &ClientHello) -> Arc<QuicServerConfig> {
        match self.tls.quic_asking(hello.server_name.as_deref(), &self.protocols) {
            Ok(None) => self.open.clone(),
            // The suites are those of the other.
            Ok(Some(config)) => {
                QuicServerConfig::try_from(config).map_or_else(|_| self.open.clone(), Arc::new)
            }
            // The other shows nothing to those who ask for such a site.
            Err(e) => {
                debug!("clients can't be asked for certificates by QUIC: {e}");
                self.open.clone()
            }
        }
    }
}

impl ServerConfig for Crypto {
    fn initial_keys(&self, version: u32, id: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.open.initial_keys(version, id)
    }

    fn retry_tag(&self, version: u32, id: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.open.retry_tag(version, id, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn Session> {
        let hello = Vec::new();
        Box::new(Deferred { crypto: self, version, params: *params, hello, session: None })
    }
}

/// A handshake of which the first message has not come whole; then what serves the client.
struct Deferred {
    crypto: Arc<Crypto>,
    version: u32,
    params: TransportParameters,
    /// What has come of that message.
    hello: Vec<u8>,
    session: Option<Box<dyn Session>>,
}

impl Deferred {
    /// What has come of the first message, if that is all of it; of what can't be read it is found out later.
    fn hello(&self) -> Option<ClientHello> {
        let (kind, rest) = self.hello.split_first()?;
        let (len, rest) = rest.split_first_chunk::<3>()?;
        let len = len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
        if *kind != u8::from(HandshakeType::ClientHello) || len > client_hello::MAX {
            return Some(ClientHello::default());
        }
        Some(ClientHello::parse(rest.get(..len)?).unwrap_or_default())
    }
}

impl Session for Deferred {
    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        if let Some(session) = &mut self.session {
            return session.read_handshake(buf);
        }
        self.hello.extend_from_slice(buf);
        let Some(hello) = self.hello() else { return Ok(false) };
        let config = self.crypto.choose(&hello);
        let mut session = config.start_session(self.version, &self.params);
        let read = session.read_handshake(&std::mem::take(&mut self.hello));
        self.session = Some(session);
        read
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.session.as_mut()?.write_handshake(buf)
    }

    fn is_handshaking(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.is_handshaking())
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.session.as_ref()?.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.session.as_ref()?.peer_identity()
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.session.as_ref().map_or(Ok(None), |session| session.transport_parameters())
    }

    fn initial_keys(&self, id: &ConnectionId, side: Side) -> Keys {
        match &self.session {
            Some(session) => session.initial_keys(id, side),
            // Of a version that is spoken, as this is, there always are some.
            None => match self.crypto.open.initial_keys(self.version, id) {
                Ok(keys) => keys,
                Err(_) => {
                    let open = self.crypto.open.clone();
                    open.start_session(self.version, &self.params).initial_keys(id, side)
                }
            },
        }
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.session.as_ref()?.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.session.as_ref()?.early_data_accepted()
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.session.as_mut()?.next_1rtt_keys()
    }

    fn is_valid_retry(&self, id: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        // Servers are sent none.
        self.session.as_ref().is_some_and(|session| session.is_valid_retry(id, header, payload))
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        let session = self.session.as_ref().ok_or(ExportKeyingMaterialError)?;
        session.export_keying_material(output, label, context)
    }
}
