//! Redis, for components that keep something there.
//!
//! Each core has a connection of its own, made when it is first needed, over which many requests of
//! the core talk at once. What takes too long fails; after a failure Redis is left alone for a second,
//! for requests not to wait one after the other for what does not answer.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hemi_core::clock::{self, Moment};
use hemi_core::config::ConfigType;
use hemi_core::cores::PerCore;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError, RedisResult};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Where a Redis is: `redis://user:password@host:port/db`, or `unix:///path?db=1`.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct RedisUrl {
    info: redis::ConnectionInfo,
    /// Without user and password.
    shown: String,
}

/// A text that is no such place.
#[derive(Debug, thiserror::Error)]
#[error(
    "this is not where a Redis is: write \"redis://127.0.0.1:6379/0\" or \"unix:///run/redis.sock\""
)]
pub(crate) struct BadRedisUrl;

impl TryFrom<String> for RedisUrl {
    type Error = BadRedisUrl;

    fn try_from(text: String) -> Result<Self, BadRedisUrl> {
        let info = (&*text).into_connection_info().map_err(|_| BadRedisUrl)?;
        let mut shown = text;
        if let (Some((scheme, _)), Some((_, host))) =
            (shown.split_once("://"), shown.rsplit_once('@'))
        {
            shown = format!("{scheme}://{host}");
        }
        if let Some((place, query)) = shown.split_once('?')
            && query.contains("pass")
        {
            shown = place.to_owned();
        }
        Ok(Self { info, shown })
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl ConfigType for RedisUrl {
    fn kind() -> Cow<'static, str> {
        "URL of a Redis".into()
    }

    fn show(&self) -> String {
        self.shown.show()
    }
}

/// How long a Redis that failed is left alone.
const REST: Duration = Duration::from_secs(1);

/// A Redis.
pub(crate) struct Redis {
    url: RedisUrl,
    timeout: Duration,
    links: PerCore<Arc<Mutex<Link>>>,
}

/// How a core stands with it.
enum Link {
    /// It was not needed yet.
    Unused,
    Up(MultiplexedConnection),
    /// It failed, and is left alone until then.
    Down(Moment),
}

/// Why Redis was of no use.
#[derive(Debug)]
pub(crate) struct RedisFault {
    what: What,
    shown: String,
}

#[derive(Debug)]
enum What {
    Error(RedisError),
    Timeout,
    /// There was a fault just now.
    Rests,
}

impl RedisFault {
    /// Whether it was found out just now, and is worth a line in the log.
    pub(crate) fn is_new(&self) -> bool {
        !matches!(self.what, What::Rests)
    }
}

impl fmt::Display for RedisFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.shown)?;
        match &self.what {
            What::Error(e) => e.fmt(f),
            What::Timeout => f.write_str("no answer in time"),
            What::Rests => f.write_str("it failed just now"),
        }
    }
}

impl std::error::Error for RedisFault {}

impl Redis {
    /// One that is asked on this many cores, and is to answer within `timeout`.
    pub(crate) fn new(url: &RedisUrl, timeout: Duration, cores: usize) -> Self {
        let links = PerCore::new(cores, || Arc::new(Mutex::new(Link::Unused)));
        Self { url: url.clone(), timeout, links }
    }

    /// Asks something, over a connection that others use at the same time: nothing that blocks it, nor
    /// changes what it is for others.
    ///
    /// # Errors
    /// When it can't be reached, does not answer in time, or answers with an error.
    pub(crate) async fn ask<T, F>(
        &self,
        question: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, RedisFault>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let link = self.links.mine().clone();
        let asked = async {
            let connection = self.connect(&link).await?;
            question(connection).await.map_err(What::Error)
        };
        let what = match timeout(self.timeout, asked).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(what)) => what,
            Err(_) => What::Timeout,
        };
        let lasts = match &what {
            // An answer that is an error is an answer.
            What::Error(e) => e.is_io_error() || e.is_unrecoverable_error() || e.is_timeout(),
            What::Timeout => true,
            What::Rests => false,
        };
        if lasts {
            *link.lock().await = Link::Down(clock::now().after(REST));
        }
        Err(RedisFault { what, shown: self.url.shown.clone() })
    }

    async fn connect(&self, link: &Mutex<Link>) -> Result<MultiplexedConnection, What> {
        // Others of this core wait here for the connection that one of them makes.
        let mut link = link.lock().await;
        match &*link {
            Link::Up(connection) => return Ok(connection.clone()),
            Link::Down(until) if clock::now() < *until => return Err(What::Rests),
            Link::Down(_) | Link::Unused => {}
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let client = Client::open(self.url.info.clone()).map_err(What::Error)?;
        let connected = client.get_multiplexed_async_connection_with_config(&config).await;
        let connection = connected.map_err(What::Error)?;
        *link = Link::Up(connection.clone());
        Ok(connection)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("url", &self.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_what_is_secret() {
        for (text, shown) in [
            ("redis://127.0.0.1:6379/1", "redis://127.0.0.1:6379/1"),
            ("redis://me:secret@redis.test/0", "redis://redis.test/0"),
            ("redis://:sec%40ret@redis.test", "redis://redis.test"),
            ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
            ("unix:///run/redis.sock?pass=secret&db=1", "unix:///run/redis.sock"),
        ] {
            let url = RedisUrl::try_from(text.to_owned()).unwrap();
            assert_eq!(format!("{url:?}"), shown);
            assert_eq!(url.show(), format!("\"{shown}\""));
        }
        for text in ["", "127.0.0.1", "http://127.0.0.1", "redis://", "redis://a b"] {
            assert!(RedisUrl::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
