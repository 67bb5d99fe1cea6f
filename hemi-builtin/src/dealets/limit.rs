//! The dealet `limitDealet`: how many connections there may be, and how many new ones in a time.
//!
//! ```gorox
//! stage {
//! 	tcpxBackend "smtp" { node { .address = "127.0.0.1:2525" } }
//! 	tcpxRouter "smtp" {
//! 		.address = "127.0.0.1:3025"
//! 		case {
//! 			limitDealet { .concurrent = 10  .total = 5000  .rate = 20  .per = 1s }
//! 			tcpxProxy { .toBackend = "smtp" }
//! 		}
//! 	}
//! }
//! ```
//!
//! Connections are counted by the client's address, in IPv6 by the network of 64 bits around it; those by
//! Unix sockets count for `total` alone. What is too much is closed at once. In a `udpxRouter` it is sessions that
//! are counted, and for `dnsProxy` questions: what is too much is dropped. The counts outlive reloads for as
//! long as the dealet stays as it is.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hemi_core::config::Diagnostic;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_net::{Deal, Dealet, QuixConn, QuixDealet, TcpxConn, UdpxDealet, UdpxFlow};
use serde::Deserialize;

use crate::buckets::{Buckets, Quota, Taken, UnderWay, network_of};

/// Limits how many connections there are.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct LimitDealetConfig {
    /// Connections of a client at once, at most; any number by default.
    concurrent: Option<NonZeroU32>,
    /// Connections of all clients at once, at most; any number by default.
    total: Option<NonZeroUsize>,
    /// New connections of a client in `per`; any number by default.
    rate: Option<NonZeroU32>,
    /// See `rate`.
    per: Duration,
    /// New connections of a client at once; as many as `rate` by default. It takes as long as the rate
    /// says until there is room for more.
    burst: Option<NonZeroU32>,
    /// Clients remembered at once, at most; further ones take the places of those last seen long ago.
    max_keys: NonZeroUsize,
}

impl Default for LimitDealetConfig {
    fn default() -> Self {
        Self {
            concurrent: None,
            total: None,
            rate: None,
            per: Duration::from_secs(1),
            burst: None,
            max_keys: NonZeroUsize::new(100_000).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// Limits connections.
#[derive(Debug)]
pub struct LimitDealet {
    concurrent: Option<NonZeroU32>,
    total: Option<NonZeroUsize>,
    quota: Option<Quota>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct Counts {
    buckets: Arc<Buckets>,
    all: Arc<AtomicUsize>,
}

/// A connection among all, until this is dropped.
struct One(Arc<AtomicUsize>);

/// What is counted, until this is dropped.
struct Admitted {
    among_all: Option<One>,
    of_client: Option<UnderWay>,
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Component for LimitDealet {
    const SIGN: &'static str = "limitDealet";
    type Config = LimitDealetConfig;

    fn create(config: LimitDealetConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let mistake =
            |message: &str, help: &str| Err(Diagnostic::new(cx.span(), message).help(help).into());
        let LimitDealetConfig { concurrent, total, rate, per, burst, max_keys } = config;
        if concurrent.is_none() && total.is_none() && rate.is_none() {
            let help = "add `.concurrent = …`, `.total = …` or `.rate = …`";
            return mistake("`limitDealet` limits nothing", help);
        }
        let quota = match rate {
            None => None,
            Some(rate) => match Quota::new(rate.get(), per, burst.unwrap_or(rate).get()) {
                Some(quota) => Some(quota),
                None => {
                    let message = "`.rate`, `.per` and `.burst` make no sense together";
                    return mistake(message, "write something like `.rate = 10  .per = 1s`");
                }
            },
        };
        let counts = cx.carry(|| Counts {
            buckets: Arc::new(Buckets::new(max_keys.get())),
            all: Arc::default(),
        });
        Ok(Self { concurrent, total, quota, counts })
    }
}

impl Lifecycle for LimitDealet {}

impl Dealet for LimitDealet {
    async fn deal(&self, conn: &mut TcpxConn) -> Deal {
        self.check(conn)
    }

    fn deal_now(&self, conn: &mut TcpxConn) -> Option<Deal> {
        Some(self.check(conn))
    }
}

impl UdpxDealet for LimitDealet {
    fn deal_flow(&self, flow: &mut UdpxFlow<'_>) -> Deal {
        match self.admit(flow.ip()) {
            Some(admitted) => {
                flow.hold(admitted);
                Deal::Next
            }
            None => {
                flow.end_as("limited");
                Deal::Done
            }
        }
    }
}

impl QuixDealet for LimitDealet {
    async fn deal_quix(&self, conn: &mut QuixConn) -> Deal {
        match self.admit(conn.ip()) {
            Some(admitted) => {
                conn.hold(admitted);
                Deal::Next
            }
            None => {
                conn.end_as("limited");
                Deal::Done
            }
        }
    }
}

impl LimitDealet {
    fn check(&self, conn: &mut TcpxConn) -> Deal {
        if let Some(admitted) = self.admit(conn.ip()) {
            // Where only the rate is limited, there is nothing to hold.
            if admitted.among_all.is_some() || admitted.of_client.is_some() {
                conn.hold(admitted);
            }
            return Deal::Next;
        }
        conn.end_as("limited");
        conn.reset();
        Deal::Done
    }

    /// Counts one of a client in; none if there are too many.
    fn admit(&self, source: Option<IpAddr>) -> Option<Admitted> {
        let Counts { buckets, all } = &*self.counts;
        let mut admitted = Admitted { among_all: None, of_client: None };
        if let Some(most) = self.total {
            let before = all.fetch_add(1, Ordering::Relaxed);
            admitted.among_all = Some(One(all.clone()));
            (before < most.get()).then_some(())?;
        }
        let Some(source) = source else { return Some(admitted) };
        let key = buckets.hash(network_of(source));
        if let Some(quota) = &self.quota
            && let Taken::Over { .. } = buckets.take(key, quota, Duration::ZERO)
        {
            return None;
        }
        if let Some(most) = self.concurrent {
            admitted.of_client = Some(buckets.enter(key, most.get())?);
        }
        Some(admitted)
    }
}
