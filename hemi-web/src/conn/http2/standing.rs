//! The fields that all answers of a server have, encoded once a second on each core.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use hemi_core::clock::{self, Moment};
use hemi_proto::date::format_date;
use hemi_proto::http2::hpack::Standing;
use http::HeaderValue;
use http::header::{ALT_SVC, DATE, SERVER};

use crate::httpx::Shared;

/// Those of the server that was asked last.
struct Kept {
    server: u64,
    /// When the date is no longer right.
    until: Moment,
    /// How often they were encoded.
    count: u64,
    standing: Standing,
}

impl Default for Kept {
    fn default() -> Self {
        let standing = Standing::default();
        Self { server: u64::MAX, until: Moment::NEVER, count: 0, standing }
    }
}

/// Lends the fields to `put`.
pub(super) fn with_standing<T>(
    server: &Shared,
    now: Moment,
    put: impl FnOnce(&Standing) -> T,
) -> T {
    thread_local! {
        static KEPT: RefCell<Kept> = RefCell::default();
    }
    KEPT.with_borrow_mut(|kept| {
        if now >= kept.until || kept.server != server.id() {
            let time = clock::calendar();
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let left = Duration::from_secs(1) - Duration::from_nanos(since.subsec_nanos().into());
            let count = kept.count + 1;
            let standing = encode(server, count, &format_date(time));
            *kept = Kept { server: server.id(), until: now.after(left), count, standing };
        }
        put(&kept.standing)
    })
}

fn encode(server: &Shared, id: u64, date: &[u8]) -> Standing {
    let name = server.config.server_field.0.as_ref().map(|name| (SERVER, name.as_bytes()));
    let alternative = server.alt_svc().map(|service| (ALT_SVC, service.as_bytes()));
    Standing::new(id, name.into_iter().chain(alternative).chain([(DATE, date)]))
}

/// The value of the field `date`.
pub(super) fn date() -> HeaderValue {
    let date = HeaderValue::from_bytes(&format_date(clock::calendar()));
    date.unwrap_or_else(|_| HeaderValue::from_static(""))
}
