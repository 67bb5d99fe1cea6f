//! What forward proxies of all kinds have in common: who may use them, where that leads, what passes, and what is counted.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hemi_core::config::Size;
use hemi_core::cores::Counter;
use hemi_core::io::{Ends, Io, Relay, Relayed, Socket};
use hemi_core::metrics::Measures;
use hemi_core::{CreateCx, Explain, Prepare, Result, Run};
use hemi_proto::socks::Host;
use http::header::HeaderValue;
use serde::Deserialize;

use crate::access_list::{AccessConfig, AccessList};
use crate::destinations::{Destinations, DestinationsConfig, NoWay};
use crate::realm::{Realm, credentials};
use crate::tokens::{TokenList, TokensConfig};
use crate::users::{Busy, Credentials, UserList, UsersConfig};

/// All groups of properties that forward proxies have.
pub type ProxyConfig = (ProxyingConfig, AccessConfig, UsersConfig, DestinationsConfig);

/// How much may pass through a forward proxy.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyingConfig {
    /// How long nothing may pass either way.
    pub idle_timeout: Duration,
    /// Bytes that may pass in a second, each way of each connection, such as `1M`; any number by default.
    pub bandwidth: Option<Size>,
}

impl Default for ProxyingConfig {
    fn default() -> Self {
        Self { idle_timeout: Duration::from_secs(600), bandwidth: None }
    }
}

/// What a forward proxy is made of, whatever it speaks.
#[derive(Debug)]
pub(crate) struct Proxying {
    idle: Duration,
    rate: Option<NonZeroU64>,
    clients: AccessList,
    users: Option<UserList>,
    tokens: Option<TokenList>,
    destinations: Destinations,
    counters: Arc<Counters>,
}

/// Why a client is not served that has to say who it is.
pub(crate) enum Unknown {
    /// It has not, or nobody is known by that.
    Refused,
    /// Too many others are being looked at.
    Busy,
}

impl Proxying {
    /// Where there is nobody to be known, only clients on this machine are served, unless it is said whom else.
    pub(crate) fn create(
        (proxying, access, users, destinations): ProxyConfig,
        tokens: TokensConfig,
        cx: &mut CreateCx<'_>,
    ) -> Result<Self> {
        let cores = cx.cores();
        let anonymous = users.is_empty() && tokens.is_empty();
        let access = if anonymous { access.or_local() } else { access };
        let has_users = !users.is_empty();
        Ok(Self {
            idle: proxying.idle_timeout,
            rate: proxying.bandwidth.and_then(|bytes| NonZeroU64::new(bytes.0)),
            clients: AccessList::create(access, cx)?,
            users: has_users.then(|| UserList::create(users, cx)).transpose()?,
            tokens: TokenList::create(tokens, cx)?,
            destinations: Destinations::create(destinations, cx)?,
            counters: cx.keep(|| Counters::new(cores)),
        })
    }

    /// Reads files.
    pub(crate) fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.clients.prepare(cx)?;
        self.users.as_ref().map_or(Ok(()), |users| users.prepare(cx))?;
        self.tokens.as_ref().map_or(Ok(()), |tokens| tokens.prepare(cx))
    }

    /// Follows them, until the stage ends.
    pub(crate) async fn run(&self, cx: &Run) {
        let users = async {
            if let Some(users) = &self.users {
                users.run(cx).await;
            }
        };
        let tokens = async {
            if let Some(tokens) = &self.tokens {
                tokens.run(cx).await;
            }
        };
        tokio::join!(self.clients.run(cx), users, tokens);
    }

    /// What is counted.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How long nothing may pass.
    pub(crate) fn idle(&self) -> Duration {
        self.idle
    }

    /// Whether clients from there are served.
    pub(crate) fn serves(&self, ip: Option<IpAddr>) -> bool {
        let serves = self.clients.allows(ip);
        self.counters.denied.add(u64::from(!serves));
        serves
    }

    /// Whether clients have to say a name and a password.
    pub(crate) fn has_users(&self) -> bool {
        self.users.is_some()
    }

    /// Whether a password is the name's.
    pub(crate) async fn knows(&self, said: &Credentials) -> Result<bool, Busy> {
        let Some(users) = &self.users else { return Ok(false) };
        match users.check_now(said) {
            Some(good) => Ok(good),
            None => users.check(said).await,
        }
    }

    /// Who a client of HTTP is, by its field Proxy-Authorization; none where nobody has to be known.
    pub(crate) async fn authorize(&self, field: Option<&[u8]>) -> Result<Option<String>, Unknown> {
        if self.users.is_none() && self.tokens.is_none() {
            return Ok(None);
        }
        let field = field.unwrap_or_default();
        if let (Some(tokens), Some(token)) = (&self.tokens, credentials(field, "bearer"))
            && let Some(name) = tokens.name_of(token)
        {
            return Ok(Some(name));
        }
        if let Some(said) = Credentials::of_basic(field)
            && self.knows(&said).await.map_err(|Busy| Unknown::Busy)?
        {
            return Ok(Some(said.name));
        }
        self.counters.denied.add(1);
        Err(Unknown::Refused)
    }

    /// The challenges to a client of HTTP that is not known.
    pub(crate) fn challenges(&self, realm: &Realm) -> Vec<HeaderValue> {
        let basic = self.users.as_ref().map(|_| realm.challenge("Basic", ", charset=\"UTF-8\""));
        let bearer = self.tokens.as_ref().map(|_| realm.challenge("Bearer", ""));
        basic.into_iter().chain(bearer).collect()
    }

    /// The addresses of a host that this user may go to.
    pub(crate) async fn find(
        &self,
        host: &Host,
        port: u16,
        user: Option<&str>,
    ) -> Result<Vec<std::net::SocketAddr>, NoWay> {
        let found = self.destinations.find(host, port, user).await;
        found.inspect_err(|why| self.note(why))
    }

    /// Connects to a host, if this user may go there.
    pub(crate) async fn dial(
        &self,
        host: &Host,
        port: u16,
        user: Option<&str>,
    ) -> Result<Socket, NoWay> {
        let dialed = self.destinations.dial(host, port, user).await;
        dialed.inspect_err(|why| self.note(why))
    }

    fn note(&self, why: &NoWay) {
        self.counters.denied.add(u64::from(matches!(why, NoWay::Denied)));
    }

    /// Passes on what a client and a host say, first what the client has said already, until both have ended, or the one
    /// that is said to.
    ///
    /// # Errors
    /// When one of them breaks, or both are silent for too long: then both see that it is no end.
    pub(crate) async fn relay(
        &self,
        client: &mut impl Io,
        host: &mut impl Io,
        early: Bytes,
        ends: Ends,
    ) -> io::Result<()> {
        let relay = Relay { rate: self.rate, ends, ..Relay::new(self.idle) };
        let mut passed = Relayed::default();
        let end = relay.run(client, host, early, &mut passed).await;
        self.counters.passed(passed);
        if end.is_err() {
            client.reset();
            host.reset();
        }
        end
    }
}

/// Numbers of a forward proxy.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Ways to other hosts that were opened.
    pub(crate) opened: Counter,
    /// Clients and requests that were refused.
    pub(crate) denied: Counter,
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
    /// Datagrams that were not passed on.
    pub(crate) dropped: Counter,
}

impl Counters {
    pub(crate) fn new(cores: usize) -> Self {
        let counter = || Counter::new(cores);
        Self {
            opened: counter(),
            denied: counter(),
            received: counter(),
            sent: counter(),
            dropped: counter(),
        }
    }

    /// Counts a way that was open, and is not any more.
    pub(crate) fn passed(&self, passed: Relayed) {
        self.opened.add(1);
        self.received.add(passed.there);
        self.sent.add(passed.back);
    }

    pub(crate) fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("ways_opened", self.opened.sum()),
            ("denied", self.denied.sum()),
            ("bytes_received", self.received.sum()),
            ("bytes_sent", self.sent.sum()),
            ("datagrams_dropped", self.dropped.sum()),
        ]
    }

    pub(crate) fn measure(&self, out: &mut Measures) {
        for (name, help, counter) in [
            ("hemi_proxy_ways_opened", "Ways to other hosts that were opened.", &self.opened),
            ("hemi_proxy_denied", "Clients and requests that were refused.", &self.denied),
            ("hemi_proxy_bytes_received", "Bytes that clients sent to hosts.", &self.received),
            ("hemi_proxy_bytes_sent", "Bytes that hosts sent to clients.", &self.sent),
            ("hemi_proxy_datagrams_dropped", "Datagrams not passed on.", &self.dropped),
        ] {
            out.counter(name, help, &[], counter.sum());
        }
    }
}
