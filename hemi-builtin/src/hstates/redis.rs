//! The hstate `redisHstate`: sessions in a Redis, for all instances that use it.
//!
//! ```gorox
//! stage {
//! 	redisHstate "sessions" { .url = "redis://127.0.0.1:6379/0"  .prefix = "shop:" }
//! 	webapp "shop" { .hostnames = ("*")  .withHstate = "sessions"  rule { .returnCode = 200 } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("shop") }
//! }
//! ```
//!
//! Redis forgets a session when its time is over. While it can't be reached, requests that need their
//! session are answered 503, and all others as ever.

use std::time::Duration;

use bytes::Bytes;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{BoxError, Hstate};
use redis::{AsyncCommands, ExistenceCheck, SetExpiry, SetOptions};
use serde::Deserialize;

use crate::redis::{Redis, RedisUrl};

/// Keeps sessions in a Redis.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct RedisHstateConfig {
    /// Where it is: `"redis://user:password@127.0.0.1:6379/0"`, or `"unix:///run/redis.sock?db=0"`.
    pub(crate) url: RedisUrl,
    /// What its keys begin with.
    #[serde(default = "sessions")]
    pub(crate) prefix: String,
    /// How long it may take to answer.
    #[serde(default = "one_second")]
    pub(crate) timeout: Duration,
}

fn sessions() -> String {
    "session:".to_owned()
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

/// Sessions in a Redis.
#[derive(Debug)]
pub struct RedisHstate {
    redis: Redis,
    prefix: String,
}

impl Component for RedisHstate {
    const SIGN: &'static str = "redisHstate";
    type Config = RedisHstateConfig;

    fn create(config: RedisHstateConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let redis = Redis::new(&config.url, config.timeout, cx.cores());
        Ok(Self { redis, prefix: config.prefix })
    }
}

impl Lifecycle for RedisHstate {}

impl Hstate for RedisHstate {
    async fn load(&self, key: &str) -> Result<Option<Bytes>, BoxError> {
        let key = self.key(key);
        let state: Option<Vec<u8>> =
            self.redis.ask(|mut redis| async move { redis.get(key).await }).await?;
        Ok(state.map(Bytes::from))
    }

    async fn save(&self, key: &str, state: Bytes, keep: Duration) -> Result<(), BoxError> {
        let (key, seconds) = (self.key(key), keep.as_secs().max(1));
        let saved = |mut redis: redis::aio::MultiplexedConnection| async move {
            redis.set_ex(key, &state[..], seconds).await
        };
        Ok(self.redis.ask(saved).await?)
    }

    async fn update(&self, key: &str, state: Bytes, keep: Duration) -> Result<bool, BoxError> {
        let (key, seconds) = (self.key(key), keep.as_secs().max(1));
        let options = SetOptions::default()
            .conditional_set(ExistenceCheck::XX)
            .with_expiration(SetExpiry::EX(seconds));
        let updated = |mut redis: redis::aio::MultiplexedConnection| async move {
            redis.set_options(key, &state[..], options).await
        };
        let updated: Option<String> = self.redis.ask(updated).await?;
        Ok(updated.is_some())
    }

    async fn remove(&self, key: &str) -> Result<(), BoxError> {
        let key = self.key(key);
        Ok(self.redis.ask(|mut redis| async move { redis.del(key).await }).await?)
    }
}

impl RedisHstate {
    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}
