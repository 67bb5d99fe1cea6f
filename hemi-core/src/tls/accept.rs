//! The server's side of handshakes.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use ::aws_lc_rs::rand;
use bytes::{Buf as _, BytesMut};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{self, Accepted, ClientHello, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, Connection, Error, KeyLog, ServerConfig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

use super::handshake::{Step, poll_handshake, poll_receive};
use super::info::TlsInfo;
use super::key_log::KeyFile;
use super::names::Issuer;
use super::site::{Keys, Shown};
use super::{Failure, Site, Sites, Tickets, TlsConfig, TlsCounters, TlsStream};
use crate::Result;
use crate::clock::{self, Moment};
use crate::cores::PerCore;
use crate::deadline::Deadline;
use crate::gate::{Phase, Ticket};
use crate::io::{Io as _, Socket};
use crate::listen::Peer;

/// The protocol of who checks that a name is ours (RFC 8737).
const CHALLENGE: &[u8] = b"acme-tls/1";

/// Tells that nobody here has the name asked for (RFC 6066, 3), before there are keys.
const UNRECOGNIZED_NAME: &[u8] = &[0x15, 3, 3, 0, 2, 2, 112];

/// Bytes of a client's part of the handshake, at most.
const HELLO: usize = 64 << 10;

/// Makes TLS connections of what a server accepts.
pub struct Acceptor {
    config: TlsConfig,
    pub(super) provider: Arc<CryptoProvider>,
    protocols: Vec<Vec<u8>>,
    pub(super) sites: Arc<dyn Sites>,
    tickets: Arc<Tickets>,
    key_log: Option<Arc<dyn KeyLog>>,
    /// For clients that do not speak TLS.
    plain_answer: &'static [u8],
    /// What follows from what a site shows now, by the site's address.
    known: Mutex<HashMap<usize, Arc<Known>>>,
    turns: PerCore<Arc<Semaphore>>,
    counters: Arc<TlsCounters>,
}

struct Known {
    shown: Arc<Shown>,
    ours: Arc<ServerConfig>,
    /// The same, with cipher suites in the order that the client likes.
    theirs: Arc<ServerConfig>,
}

impl Acceptor {
    /// Speaks `protocols` (RFC 7301), most liked first, by the certificates of `sites`.
    ///
    /// # Errors
    /// When versions, cipher suites and groups leave nothing to be spoken, or the file for keys can't be opened.
    pub fn new(
        config: TlsConfig,
        protocols: &[&str],
        sites: Arc<dyn Sites>,
        tickets: Arc<Tickets>,
        counters: Arc<TlsCounters>,
        cores: usize,
    ) -> Result<Self> {
        let provider = CryptoProvider {
            cipher_suites: config.tls_ciphers.iter().map(|suite| suite.0).collect(),
            kx_groups: config.tls_groups.iter().map(|group| group.supported()).collect(),
            ..aws_lc_rs::default_provider()
        };
        let most = config.tls_max_handshakes.clamp(1, Semaphore::MAX_PERMITS);
        let key_log = config.tls_key_log.as_deref().map(KeyFile::open).transpose()?;
        // The first takes its time to gather entropy: no client has to wait for it.
        let _ = rand::fill(&mut [0]);
        let acceptor = Self {
            config,
            provider: Arc::new(provider),
            protocols: protocols.iter().map(|name| name.as_bytes().to_vec()).collect(),
            sites,
            tickets,
            key_log: key_log.map(|file| Arc::new(file) as _),
            plain_answer: b"",
            known: Mutex::default(),
            turns: PerCore::new(cores, || Arc::new(Semaphore::new(most))),
            counters,
        };
        let nothing =
            Shown { keys: Arc::new(Keys::only(Vec::new())), clients: None, context: [0; 32] };
        let tried = acceptor.config_of(&nothing);
        tried.map_err(|e| crate::Error::other(format!("this can't be spoken by TLS: {e}")))?;
        Ok(acceptor)
    }

    /// The same with an answer, in the clear, for clients that do not speak TLS but something like HTTP.
    #[must_use]
    pub fn plain_answer(mut self, answer: &'static [u8]) -> Self {
        self.plain_answer = answer;
        self
    }

    /// Shakes hands; none if that comes to nothing, which is counted, and told in the log.
    pub async fn accept(&self, socket: Socket, peer: &Peer, ticket: &Ticket) -> Option<TlsStream> {
        let until = clock::now().after(self.config.tls_handshake_timeout);
        let mut wait = Wait { until, deadline: None, ticket };
        match self.shake(socket, &mut wait).await {
            Ok(stream) => {
                let resumed = stream.info().resumed;
                if resumed { &self.counters.resumed } else { &self.counters.full }.add(1);
                // Who checked a name has seen what it came for (RFC 8737, 3).
                stream.info().site.is_some().then_some(stream)
            }
            Err(Cut { why, error }) => {
                self.counters.failures[why as usize].add(1);
                let error = error.map(|e| e.to_string()).unwrap_or_default();
                debug!(%peer, limit = why.name(), "handshake failed: {error}");
                None
            }
        }
    }

    async fn shake(&self, mut socket: Socket, wait: &mut Wait<'_>) -> Result<TlsStream, Cut> {
        let mut _turn = self.turn(wait).await?;
        let mut inbound = BytesMut::new();
        let accepted = hello(&mut socket, &mut inbound, wait).await;
        let accepted = accepted.inspect_err(|cut| {
            if cut.why == Failure::NotTls && inbound.first().is_some_and(u8::is_ascii_uppercase) {
                send(&mut socket, self.plain_answer);
            }
        })?;
        if let Some((issuer, name)) = self.lacks(&accepted.client_hello()) {
            // Others go on meanwhile.
            drop(_turn);
            let mut obtained = issuer.obtain(&name);
            wait.on(|cx| obtained.as_mut().poll(cx).map(Ok::<_, Failure>)).await?;
            _turn = self.turn(wait).await?;
        }
        let (site, config) = match self.choose(&accepted.client_hello()) {
            Ok(chosen) => chosen,
            Err(cut) => {
                if matches!(cut.why, Failure::UnknownName | Failure::NoCertificate) {
                    send(&mut socket, UNRECOGNIZED_NAME);
                }
                return Err(cut);
            }
        };
        let tls = match accepted.into_connection(config) {
            Ok(tls) => tls,
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                let _ = alert.write_all(&mut bytes);
                send(&mut socket, &bytes);
                return Err(error.into());
            }
        };
        let mut tls = Box::new(Connection::Server(tls));
        wait.on(|cx| poll_handshake(&mut socket, &mut tls, &mut inbound, cx)).await?;
        let info = TlsInfo::of(&tls, site);
        Ok(TlsStream::new(socket, tls, inbound, info))
    }

    /// Waits for the turn to shake hands.
    async fn turn(&self, wait: &mut Wait<'_>) -> Result<OwnedSemaphorePermit, Cut> {
        let turns = self.turns.mine().clone();
        if let Ok(turn) = turns.clone().try_acquire_owned() {
            return Ok(turn);
        }
        let mut turn = std::pin::pin!(turns.acquire_owned());
        wait.on(|cx| turn.as_mut().poll(cx).map_err(|_| Failure::Shut)).await
    }

    /// Who is to obtain a certificate for the name that a client asks for, if there is none.
    fn lacks(&self, hello: &ClientHello<'_>) -> Option<(Arc<dyn Issuer>, String)> {
        let name = hello.server_name()?.to_ascii_lowercase();
        if is_challenge(hello) {
            return None;
        }
        let issuer = self.sites.find(Some(&name))?.lacks(&name)?;
        Some((issuer, name))
    }

    /// Whose certificates a client is shown, and how.
    fn choose(
        &self,
        hello: &ClientHello<'_>,
    ) -> Result<(Option<Arc<Site>>, Arc<ServerConfig>), Cut> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        if is_challenge(hello) {
            let key = name.and_then(|name| self.sites.find(Some(&name))?.find_challenge(&name));
            let key = key.ok_or(Failure::UnknownName)?;
            return Ok((None, Arc::new(self.challenge(key)?)));
        }
        let site = self.sites.find(name.as_deref());
        let shown = site.as_ref().and_then(|site| Some((site.clone(), site.shown()?)));
        let (site, shown) = shown.ok_or(Failure::UnknownName)?;
        if let Some(name) = name.filter(|name| site.lacks(name).is_some()) {
            site.tell_missing(&name);
            return Err(Failure::NoCertificate.into());
        }
        if shown.keys.is_empty() {
            return Err(Failure::NoCertificate.into());
        }
        let known = self.know(&site, &shown)?;
        // Who likes ChaCha20 best has no hardware for AES.
        let theirs = hello.cipher_suites().iter().find(|suite| is_usual(**suite));
        let theirs = theirs == Some(&CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
        let config = if theirs { known.theirs.clone() } else { known.ours.clone() };
        Ok((Some(site), config))
    }

    fn know(&self, site: &Arc<Site>, shown: &Arc<Shown>) -> Result<Arc<Known>, Error> {
        let key = Arc::as_ptr(site) as usize;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&key).filter(|known| Arc::ptr_eq(&known.shown, shown)) {
            return Ok(known.clone());
        }
        let ours = self.config_of(shown)?;
        let mut theirs = ours.clone();
        theirs.ignore_client_order = false;
        let (ours, theirs) = (Arc::new(ours), Arc::new(theirs));
        let new = Arc::new(Known { shown: shown.clone(), ours, theirs });
        known.insert(key, new.clone());
        Ok(new)
    }

    fn config_of(&self, shown: &Shown) -> Result<ServerConfig, Error> {
        let versions: Vec<_> = self.config.tls_versions.iter().map(|v| v.supported()).collect();
        let builder = ServerConfig::builder_with_provider(self.provider.clone());
        let builder = builder.with_protocol_versions(&versions)?;
        let builder = match &shown.clients {
            Some(clients) => builder.with_client_cert_verifier(clients.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(shown.keys.clone());
        config.alpn_protocols = self.protocols.clone();
        self.complete(&mut config, shown.context);
        Ok(config)
    }

    pub(super) fn complete(&self, config: &mut ServerConfig, context: [u8; 32]) {
        config.ignore_client_order = true;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = self.tickets.of(context);
        // A client that uses one up is given another.
        config.send_tls13_tickets = 1;
        if let Some(key_log) = &self.key_log {
            config.key_log = key_log.clone();
        }
    }

    fn challenge(&self, key: Arc<CertifiedKey>) -> Result<ServerConfig, Error> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone());
        let mut config = builder
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Keys::only(Vec::from([key]))));
        config.alpn_protocols = Vec::from([CHALLENGE.to_vec()]);
        Ok(config)
    }
}

/// Whether a client only checks that a name is ours.
fn is_challenge(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut names| names.any(|name| name == CHALLENGE))
}

/// Suites that say what a client likes: not those which only tell that it is there (RFC 8701, RFC 5746).
fn is_usual(suite: CipherSuite) -> bool {
    suite.as_str().is_some() && suite != CipherSuite::TLS_EMPTY_RENEGOTIATION_INFO_SCSV
}

/// Until when a handshake is waited for.
struct Wait<'a> {
    until: Moment,
    deadline: Option<Deadline>,
    ticket: &'a Ticket,
}

impl Wait<'_> {
    /// Waits for this, as long as there is time.
    async fn on<T, E>(
        &mut self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<Result<T, E>>,
    ) -> Result<T, Cut>
    where
        Cut: From<E>,
    {
        poll_fn(|cx| match poll(cx) {
            Poll::Ready(done) => Poll::Ready(done.map_err(Cut::from)),
            Poll::Pending => {
                self.pending(cx)?;
                Poll::Pending
            }
        })
        .await
    }

    /// To be asked whenever the handshake has to wait; sees to it that its task is polled again in time.
    fn pending(&mut self, cx: &Context<'_>) -> Result<(), Cut> {
        if self.ticket.phase() == Phase::Ending {
            return Err(Failure::Shut.into());
        }
        if self.deadline.is_some() && clock::now() >= self.until {
            return Err(Failure::Timeout.into());
        }
        let group = self.ticket.group();
        self.deadline.get_or_insert_with(|| Deadline::new(group, cx.waker())).set(self.until);
        Ok(())
    }
}

/// How a handshake ended before its time.
struct Cut {
    why: Failure,
    error: Option<Error>,
}

impl From<Failure> for Cut {
    fn from(why: Failure) -> Self {
        Self { why, error: None }
    }
}

impl From<Error> for Cut {
    fn from(error: Error) -> Self {
        Self { why: Failure::of(&error), error: Some(error) }
    }
}

impl From<Step> for Cut {
    fn from(step: Step) -> Self {
        match step {
            Step::Io(_) | Step::Closed => Failure::Closed.into(),
            Step::Tls(error) => error.into(),
        }
    }
}

impl From<io::Error> for Cut {
    fn from(_: io::Error) -> Self {
        Failure::Closed.into()
    }
}

/// Receives what the client says first.
async fn hello(
    socket: &mut Socket,
    inbound: &mut BytesMut,
    wait: &mut Wait<'_>,
) -> Result<Accepted, Cut> {
    let mut acceptor = server::Acceptor::default();
    let mut read = 0;
    loop {
        if inbound.is_empty() && wait.on(|cx| poll_receive(socket, inbound, cx)).await? == 0 {
            return Err(Failure::Closed.into());
        }
        if read == 0 && !inbound.starts_with(&[0x16]) {
            return Err(Failure::NotTls.into());
        }
        let taken = acceptor.read_tls(&mut &inbound[..])?;
        inbound.advance(taken);
        read += taken;
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) if read > HELLO => return Err(Failure::Malformed.into()),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                let _ = alert.write_all(&mut bytes);
                send(socket, &bytes);
                return Err(error.into());
            }
        }
    }
}

/// Sends a last word, if there is room for it.
fn send(socket: &mut Socket, bytes: &[u8]) {
    if !bytes.is_empty() {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = socket.poll_send_slices(&mut cx, &[io::IoSlice::new(bytes)]);
        // Else a reset, for what came and was not read, may overtake it.
        let _ = socket.shutdown();
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("config", &self.config).finish_non_exhaustive()
    }
}
