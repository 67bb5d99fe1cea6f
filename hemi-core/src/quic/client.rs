//! Connections to servers by QUIC: an endpoint per core, made when it is first needed.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, IdleTimeout, TransportConfig, VarInt};

use crate::Result;
use crate::cores::PerCore;
use crate::tls::Connector;

/// Streams that a server may open in its direction only: HTTP/3 needs three, and greases.
const UNI_STREAMS: u32 = 16;

/// How long a connection is kept of which nothing is heard, and how often something is said so that it is not for
/// want of something to say.
const IDLE: Duration = Duration::from_secs(30);
const ALIVE: Duration = Duration::from_secs(10);

/// Bytes of one stream that a server may send ahead of what is read. There is no limit on those of a connection, so that
/// streams that nobody reads hold up no others: how many there are is whoever opens them to say.
const STREAM_WINDOW: u32 = 256 << 10;

/// Makes connections by QUIC to servers, whose certificates are verified.
pub struct QuicConnector {
    tls: Arc<Connector>,
    transport: Arc<TransportConfig>,
    /// For IPv4, and for IPv6.
    endpoints: PerCore<[Option<Endpoint>; 2]>,
}

impl QuicConnector {
    /// By the certificates and protocols of `tls`, for HTTP/3.
    #[must_use]
    pub fn new(tls: Arc<Connector>, cores: usize) -> Self {
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(0_u32.into())
            .max_concurrent_uni_streams(UNI_STREAMS.into())
            .stream_receive_window(STREAM_WINDOW.into())
            .receive_window(VarInt::MAX)
            .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
            .keep_alive_interval(Some(ALIVE))
            // Nobody here takes them.
            .datagram_receive_buffer_size(None);
        Self::with(tls, cores, transport)
    }

    /// The same for what else is spoken by QUIC.
    #[must_use]
    pub fn with(tls: Arc<Connector>, cores: usize, transport: TransportConfig) -> Self {
        let endpoints = PerCore::new(cores, Default::default);
        Self { tls, transport: Arc::new(transport), endpoints }
    }

    /// Reads the files that TLS needs. Blocks.
    ///
    /// # Errors
    /// When one can't be read or used.
    pub fn prepare(&self) -> Result<()> {
        self.tls.prepare()
    }

    /// Connects to a server of this name; to be called on a core.
    ///
    /// # Errors
    /// When it does not answer, can't be believed, or speaks none of the protocols.
    pub async fn connect(&self, address: SocketAddr, host: &str) -> io::Result<Connection> {
        let tls = self.tls.config().await?;
        self.connect_by(tls, address, host).await
    }

    /// The same to speak this protocol and no other, whatever those of `tls` are.
    ///
    /// # Errors
    /// The same.
    pub async fn connect_to_speak(
        &self,
        protocol: &[u8],
        address: SocketAddr,
        host: &str,
    ) -> io::Result<Connection> {
        let mut tls = (*self.tls.config().await?).clone();
        tls.alpn_protocols = Vec::from([protocol.to_vec()]);
        self.connect_by(Arc::new(tls), address, host).await
    }

    async fn connect_by(
        &self,
        tls: Arc<rustls::ClientConfig>,
        address: SocketAddr,
        host: &str,
    ) -> io::Result<Connection> {
        let name = self.tls.peer_name(host);
        let crypto = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(self.transport.clone());
        let connecting = self.endpoint(address)?.connect_with(config, address, name);
        Ok(connecting.map_err(io::Error::other)?.await?)
    }

    fn endpoint(&self, address: SocketAddr) -> io::Result<Endpoint> {
        let mut endpoints = self.endpoints.mine();
        let (at, any) = match address {
            SocketAddr::V4(_) => (0, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            SocketAddr::V6(_) => (1, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        };
        let place = &mut endpoints[at];
        match place {
            Some(endpoint) => Ok(endpoint.clone()),
            None => Ok(place.insert(Endpoint::client(any)?).clone()),
        }
    }
}

impl fmt::Debug for QuicConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicConnector").field("tls", &self.tls).finish_non_exhaustive()
    }
}
