//! QUIC (RFC 9000) by quinn: an endpoint per core on one UDP address, which outlive stages.
//!
//! Ids of connections name their core. A datagram that the kernel gives to the socket of another core, as it
//! may once a client has moved, is passed on to the one that knows the connection. They name their process
//! too: one that drains gets what is for its connections from the one that has taken its place ([`Kin`]).
//! What a stage decides is who is served and how: a [`QuicGate`] accepts for it, and its connections stay
//! with it when another stage follows.
//!
//! As a client, a [`QuicConnector`] has endpoints of its own.

mod client;
mod config;
mod gate;
mod ids;
pub mod peek;
mod relay;
mod session;
mod steered;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aws_lc_rs::{hkdf, hmac};
use quinn::crypto::{HandshakeTokenKey, HmacKey};
use quinn::{Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use tokio::sync::mpsc::{Receiver, channel};
use tokio_util::sync::CancellationToken;

pub use client::QuicConnector;
pub use config::{QuicConfig, Sessions};
pub use gate::{QuicAccepted, QuicGate};
pub use quinn;
pub use relay::Kin;
pub use session::QuicCrypto;

use self::ids::{CoreIds, Home};
use self::steered::{Forwarded, Routes, Steered};
use crate::listen::{Address, Datagrams};

/// Datagrams on their way from one core to another, at most; what is too much is lost, as on any network.
const FORWARDED: usize = 512;

/// Bytes of datagrams that the kernel keeps for a core, each way.
const BUFFER: usize = 4 << 20;

/// The endpoints on one UDP address, one per core, and the keys that all of them share.
#[derive(Debug)]
pub struct Endpoints {
    datagrams: Arc<Datagrams>,
    address: SocketAddr,
    places: Box<[Place]>,
    /// By which each core reaches the others.
    routes: Arc<Routes>,
    keys: Keys,
    /// Gates that accept from them, or are about to.
    gates: AtomicUsize,
}

/// Keys that all cores, stages and processes share.
struct Keys {
    /// Of stateless resets (RFC 9000 section 10.3).
    reset: Arc<dyn HmacKey>,
    /// Of tokens by which clients prove their address (RFC 9000 section 8.1).
    token: Arc<dyn HandshakeTokenKey>,
}

impl Keys {
    fn of(secret: &[u8]) -> Self {
        let token = hkdf::Salt::new(hkdf::HKDF_SHA256, b"quic token").extract(secret);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let reset = hmac::sign(&secret, b"quic reset");
        let reset = hmac::Key::new(hmac::HMAC_SHA256, reset.as_ref());
        Self { reset: Arc::new(reset), token: Arc::new(token) }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// Where the endpoint of a core stands, once there is one.
#[derive(Debug)]
struct Place {
    endpoint: OnceLock<Endpoint>,
    /// Ends the accepting of the gate that came last.
    accepting: Mutex<CancellationToken>,
    forwarded: Mutex<Option<Receiver<Forwarded>>>,
}

impl Endpoints {
    pub(crate) fn new(datagrams: Arc<Datagrams>, cores: usize, kin: Arc<Kin>) -> io::Result<Self> {
        let Address::Tcp(address) = *datagrams.address() else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        // A socket that nobody reads would lose what comes to it.
        let (senders, places) = (0..cores.max(datagrams.count()))
            .map(|_| {
                let (sender, receiver) = channel(FORWARDED);
                let forwarded = Mutex::new(Some(receiver));
                (
                    sender,
                    Place { endpoint: OnceLock::new(), accepting: Mutex::default(), forwarded },
                )
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        let (keys, left) = (Keys::of(&kin.secret), AtomicBool::new(false));
        let routes = Routes { address, cores: senders.into(), kin, left };
        Ok(Self {
            datagrams,
            address,
            places: places.into(),
            routes: Arc::new(routes),
            keys,
            gates: AtomicUsize::new(0),
        })
    }

    /// Where they are: with the port that the kernel chose, if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint of a core, to be called there: made if there is none.
    fn on_core(&self, core: usize) -> io::Result<&Endpoint> {
        let place = &self.places[core % self.places.len()];
        if let Some(endpoint) = place.endpoint.get() {
            return Ok(endpoint);
        }
        let forwarded = place.forwarded.lock().unwrap_or_else(PoisonError::into_inner).take();
        let forwarded = forwarded.ok_or_else(|| io::Error::other("it could not be made before"))?;
        let socket = self.datagrams.std_socket(core)?;
        // As much as the system allows (`net.core.rmem_max`): what finds no room is lost.
        let buffers = socket2::SockRef::from(&socket);
        let _ = (buffers.set_recv_buffer_size(BUFFER), buffers.set_send_buffer_size(BUFFER));
        let socket = Steered::new(socket, core, forwarded, self.routes.clone())?;
        let mut config = EndpointConfig::new(self.keys.reset.clone());
        let home = Home { process: self.routes.kin.process, core: core as u16 };
        config.cid_generator(move || Box::new(CoreIds::new(home)));
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new_with_abstract_socket(config, None, Arc::new(socket), runtime)?;
        Ok(place.endpoint.get_or_init(|| endpoint))
    }

    /// The same, if there is one.
    fn made(&self, core: usize) -> Option<&Endpoint> {
        self.places[core % self.places.len()].endpoint.get()
    }

    /// How many there are.
    fn count(&self) -> usize {
        self.places.len()
    }

    /// Leaves the sockets to another process, which passes on what is for connections of this one.
    pub(crate) fn leave(&self) {
        self.routes.left.store(true, Ordering::Release);
    }

    fn token_key(&self) -> Arc<dyn HandshakeTokenKey> {
        self.keys.token.clone()
    }

    /// Has the endpoint of this core take connections by `config`, for the gate that calls: until the token
    /// is cancelled, which ends the accepting of the gate before it.
    fn open(
        &self,
        core: usize,
        config: &Arc<ServerConfig>,
    ) -> io::Result<(Endpoint, CancellationToken)> {
        let endpoint = self.on_core(core)?.clone();
        endpoint.set_server_config(Some((**config).clone()));
        let token = CancellationToken::new();
        let place = &self.places[core % self.places.len()];
        let mut accepting = place.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *accepting, token.clone()).cancel();
        Ok((endpoint, token))
    }
}

/// The endpoints as a gate has them, which accepts from them or is about to.
#[derive(Debug)]
struct Entered(Arc<Endpoints>);

impl Entered {
    fn new(endpoints: Arc<Endpoints>) -> Self {
        endpoints.gates.fetch_add(1, Ordering::AcqRel);
        Self(endpoints)
    }
}

impl Drop for Entered {
    /// Has new connections refused, if no other gate is there to accept them.
    fn drop(&mut self) {
        if self.0.gates.fetch_sub(1, Ordering::AcqRel) == 1 {
            for endpoint in self.0.places.iter().filter_map(|place| place.endpoint.get()) {
                endpoint.set_server_config(None);
            }
        }
    }
}
