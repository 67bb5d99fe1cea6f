//! How a server speaks QUIC.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::HandshakeTokenKey;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{AckFrequencyConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use serde::Deserialize;

use super::QuicCrypto;
use crate::config::Size;
use crate::tls::Acceptor;
use crate::{Error, Explain, Result};

/// Properties of a server that speaks QUIC.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct QuicConfig {
    /// Streams that a client may have open at once in each connection.
    pub quic_streams: u32,
    /// Streams in its direction only that a client may have open at once in each connection: HTTP/3 needs three, and
    /// greases.
    pub quic_uni_streams: u32,
    /// Bytes of one stream that a client may send ahead of what is read.
    pub quic_stream_window: Size,
    /// Bytes of all streams of a connection that a client may send ahead of what is read.
    pub quic_conn_window: Size,
    /// Bytes of a connection that are kept until the client has acknowledged them, at most.
    pub quic_send_window: Size,
    /// How long a connection is kept of which nothing is heard; a client may ask for less.
    pub quic_idle_timeout: Duration,
    /// How long a handshake may take.
    pub quic_handshake_timeout: Duration,
    /// Handshakes under way from which on a client has to prove its address first (RFC 9000 section 8.1.2),
    /// so that floods cost no memory.
    pub quic_retry_above: usize,
    /// Whether clients that come again may send requests with their first packets (0-RTT): saves a round
    /// trip, but such a request can be replayed by others (RFC 8470). Only safe methods are answered so.
    pub quic_early_data: bool,
}

impl Default for QuicConfig {
    fn default() -> Self {
        Self {
            quic_streams: 128,
            quic_uni_streams: 16,
            quic_stream_window: Size(1 << 20),
            quic_conn_window: Size(4 << 20),
            quic_send_window: Size(4 << 20),
            quic_idle_timeout: Duration::from_secs(30),
            quic_handshake_timeout: Duration::from_secs(10),
            quic_retry_above: 256,
            quic_early_data: false,
        }
    }
}

/// Packets that clients need not acknowledge at once, if they can be told so (draft-ietf-quic-ack-frequency):
/// most of what downloads cost a server besides sending are acknowledgements.
const ACK_AFTER: u32 = 9;

/// Bytes of datagrams (RFC 9221) of a connection that wait, each way, at most; what is more is lost.
const DATAGRAMS: usize = 256 << 10;

/// Connections whose first packets wait to be accepted, for each core, and the bytes of those, at most.
const INCOMING: usize = 1024;
const INCOMING_BYTES: u64 = 64 << 10;
const INCOMING_TOTAL: u64 = 4 << 20;

/// Sessions of clients that may send early data when they come again, each once: so what they send is not
/// a replay, unless it comes before they have seen an answer.
#[derive(Debug)]
pub struct Sessions(Arc<dyn StoresServerSessions>);

/// Sessions that are remembered, at most; older ones are forgotten, and cost a full handshake.
const SESSIONS: usize = 16 << 10;

impl Default for Sessions {
    fn default() -> Self {
        Self(ServerSessionMemoryCache::new(SESSIONS))
    }
}

impl QuicConfig {
    /// The cryptography of a server that speaks these protocols (RFC 7301).
    ///
    /// # Errors
    /// When what was configured for TLS leaves nothing to be spoken by QUIC.
    pub fn crypto(
        &self,
        tls: &Arc<Acceptor>,
        protocols: &[&str],
        sessions: &Arc<Sessions>,
    ) -> Result<QuicCrypto> {
        let sessions = self.quic_early_data.then(|| sessions.0.clone());
        let config = tls.quic(protocols, sessions);
        let config = config.map_err(|e| Error::other(format!("QUIC can't be spoken: {e}")))?;
        let crypto = QuicServerConfig::try_from(config).map_err(|e| {
            Error::other(format!("QUIC needs the cipher suite TLS_AES_128_GCM_SHA256: {e}"))
        })?;
        Ok(QuicCrypto::new(crypto, protocols, tls.clone()))
    }

    pub(super) fn server_config(
        &self,
        crypto: &QuicCrypto,
        token_key: Arc<dyn HandshakeTokenKey>,
    ) -> ServerConfig {
        let mut transport = TransportConfig::default();
        let idle = IdleTimeout::try_from(self.quic_idle_timeout);
        let mut acks = AckFrequencyConfig::default();
        acks.ack_eliciting_threshold(ACK_AFTER.into());
        transport
            .max_concurrent_bidi_streams(self.quic_streams.into())
            .max_concurrent_uni_streams(self.quic_uni_streams.into())
            .stream_receive_window(var_int(self.quic_stream_window))
            .receive_window(var_int(self.quic_conn_window))
            .send_window(self.quic_send_window.0)
            .max_idle_timeout(idle.ok())
            .ack_frequency_config(Some(acks))
            .datagram_receive_buffer_size(Some(DATAGRAMS))
            .datagram_send_buffer_size(DATAGRAMS);
        let mut config = ServerConfig::new(crypto.server_config(), token_key);
        config
            .transport_config(Arc::new(transport))
            .max_incoming(INCOMING)
            .incoming_buffer_size(INCOMING_BYTES)
            .incoming_buffer_size_total(INCOMING_TOTAL);
        config
    }
}

fn var_int(size: Size) -> VarInt {
    VarInt::from_u64(size.0).unwrap_or(VarInt::MAX)
}
