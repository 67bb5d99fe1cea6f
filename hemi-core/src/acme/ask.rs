//! Asks whether a host may have a certificate on demand.

use std::time::Duration;

use http::HeaderMap;
use tokio::sync::Semaphore;

use super::error::{Failure, Why};
use crate::client::{Client, ClientLimits};

/// Who says which hosts may have certificates on demand, and how many there may be.
pub(super) struct Ask {
    pub(super) client: Client,
    /// Hosts, at most.
    pub(super) names: usize,
    /// Orders in an hour, at most.
    pub(super) per_hour: usize,
    pub(super) turns: Semaphore,
}

/// What a question may cost.
pub(super) const LIMITS: ClientLimits = ClientLimits {
    connect: Duration::from_secs(5),
    total: Duration::from_secs(5),
    content: 64 << 10,
    kept: 0,
};

/// Questions at once, at most.
pub(super) const AT_ONCE: usize = 16;

impl Ask {
    /// Whether this host may have one.
    pub(super) async fn allows(&self, host: &str) -> Result<(), Failure> {
        let Ok(_turn) = self.turns.try_acquire() else { return Err(Why::TooMany.into()) };
        let url = self.client.url();
        let asked = self.client.at(url.with_query(&format!("domain={host}")));
        let answer = asked.get(HeaderMap::new()).await;
        let url = url.as_str().to_owned();
        match answer {
            Err(error) => Err(Why::Client { url, error }.into()),
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err(Why::NotAllowed { url, status: answer.status.as_u16() }.into()),
        }
    }
}
