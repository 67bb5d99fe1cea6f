//! Counts of requests that several instances share, in Redis.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redis::Script;
use sha2::{Digest, Sha256};

use crate::buckets::{Quota, Taken};
use crate::redis::{Redis, RedisFault, RedisUrl};

/// Takes one of the quota of a key, all at once, by the clock of Redis: the algorithm of
/// [`Quota`](crate::buckets::Quota), in microseconds. Keys vanish when they would be forgotten.
const TAKE: &str = r"
local interval, window, patience = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local arrival = tonumber(redis.call('GET', KEYS[1]) or 0)
local next = math.max(arrival, now) + interval
local used = next - now
local wait = math.max(used - window, 0)
if wait > patience then
    return {0, math.ceil(used), math.ceil(wait)}
end
redis.call('SET', KEYS[1], string.format('%.3f', next), 'PX', math.ceil(used / 1000) + 1)
return {1, math.ceil(used), math.ceil(wait)}
";

/// Bytes of a key that are kept as they are.
const KEY_SIZE: usize = 200;

/// Counts in Redis.
#[derive(Debug)]
pub(super) struct Shared {
    redis: Redis,
    prefix: String,
    take: Script,
}

impl Shared {
    /// Those of limits of this name.
    pub(super) fn new(url: &RedisUrl, timeout: Duration, cores: usize, name: &str) -> Self {
        let redis = Redis::new(url, timeout, cores);
        Self { redis, prefix: format!("hemi:limit:{name}:"), take: Script::new(TAKE) }
    }

    /// Takes one of the key's quota for a request that may wait so long.
    ///
    /// # Errors
    /// When Redis does not say.
    pub(super) async fn take(
        &self,
        key: &[u8],
        quota: &Quota,
        patience: Duration,
    ) -> Result<Taken, RedisFault> {
        let micros = |time: Duration| time.as_nanos() as f64 / 1000.0;
        let mut take = self.take.key(self.name_of(key));
        take.arg(micros(quota.interval()));
        take.arg(micros(quota.window()));
        take.arg(micros(patience));
        let asked = self.redis.ask(async |mut connection| take.invoke_async(&mut connection).await);
        let (passed, used, wait): (u8, u64, u64) = asked.await?;
        let wait = Duration::from_micros(wait);
        Ok(match passed {
            0 => Taken::Over { wait },
            _ => Taken::Passed { wait, left: quota.left(Duration::from_micros(used)) },
        })
    }

    /// The name of a key in Redis, of bounded length.
    fn name_of(&self, key: &[u8]) -> Vec<u8> {
        let start = key.get(..KEY_SIZE).unwrap_or(key);
        let mut name = [self.prefix.as_bytes(), start].concat();
        if start.len() < key.len() {
            // One that nobody finds another key for, and all versions of this program have.
            name.extend_from_slice(
                format!("..{}", STANDARD.encode(Sha256::digest(key))).as_bytes(),
            );
        }
        name
    }
}
