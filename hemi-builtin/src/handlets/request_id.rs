//! The handlet `requestId`: gives requests an id that goes along with them.
//!
//! ```gorox
//! stage {
//! 	webapp "api" {
//! 		.hostnames = ("*")
//! 		rule { requestId { .trust = true } }
//! 		rule { .returnCode = 200  .returnText = $requestId }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("api") }
//! }
//! ```
//!
//! The id is a UUID of version 7 (RFC 9562), or the one the request came with. It is in a field of the
//! request, for those that handle it, in one of the answer, and in `$requestId` and the log.

use std::time::UNIX_EPOCH;

use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result, clock};
use hemi_web::{Handlet, Reply, Request};
use http::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::field_edits::FieldName;

/// Gives requests an id.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct RequestIdConfig {
    /// The field it is in.
    #[serde(default = "x_request_id")]
    field: FieldName,
    /// Whether a request may bring its own: up to 128 letters, digits and `-._~+/=:@`. For those that
    /// come from a proxy of one's own; others could deceive who reads the log.
    #[serde(default)]
    trust: bool,
}

fn x_request_id() -> FieldName {
    FieldName(HeaderName::from_static("x-request-id"))
}

/// Bytes of an id that a request brings, at most.
const LONGEST: usize = 128;

/// Gives requests an id.
#[derive(Debug)]
pub struct RequestId(RequestIdConfig);

impl Component for RequestId {
    const SIGN: &'static str = "requestId";
    type Config = RequestIdConfig;

    fn create(config: RequestIdConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self(config))
    }
}

impl Lifecycle for RequestId {}

impl Handlet for RequestId {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.identify(req)
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        Some(self.identify(req))
    }
}

impl RequestId {
    fn identify(&self, req: &mut Request) -> Reply {
        if !req.is_new_to(self) {
            return Reply::Next;
        }
        let FieldName(name) = &self.0.field;
        let brought = if self.0.trust { self.brought(req) } else { None };
        let id = brought.unwrap_or_else(make);
        if let Ok(value) = HeaderValue::try_from(&id) {
            req.headers_mut().insert(name, value.clone());
            let name = name.clone();
            req.revise(move |response| {
                response.headers_mut().insert(name, value);
            });
        }
        req.set_id(id);
        Reply::Next
    }

    fn brought(&self, req: &Request) -> Option<String> {
        let mut lines = req.headers().get_all(&self.0.field.0).iter();
        let id = lines.next().filter(|_| lines.next().is_none())?.as_bytes();
        let fits = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+/=:@".contains(b);
        let good = (1..=LONGEST).contains(&id.len()) && id.iter().all(fits);
        good.then(|| String::from_utf8_lossy(id).into_owned())
    }
}

/// A new UUID: milliseconds since 1970, then random bits.
fn make() -> String {
    let since = clock::calendar().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut random = [0; 16];
    #[expect(clippy::expect_used, reason = "without randomness nothing here is safe")]
    getrandom::fill(&mut random).expect("the system has random bytes");
    let id = u128::from_be_bytes(random) >> 48 | (since.as_millis() << 80);
    let id = id & !(0xf << 76) & !(0b11 << 62) | 0x7 << 76 | 0b10 << 62;
    let [a, b, c, d, e] = [id >> 96, id >> 80, id >> 64, id >> 48, id].map(|part| part as u64);
    let (b, c, d, e) = (b & 0xffff, c & 0xffff, d & 0xffff, e & 0xffff_ffff_ffff);
    format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
}
