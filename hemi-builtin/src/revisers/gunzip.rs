//! The reviser `gunzip`: decompresses gzip (RFC 1952) for handlets, and for clients that do not take it.
//!
//! ```gorox
//! stage {
//! 	webapp "api" {
//! 		.hostnames = ("*")
//! 		gunzip { .maxSize = 4M  .maxRatio = 100 }
//! 		rule { .returnCode = 204 }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("api") }
//! }
//! ```
//!
//! A request's content that breaks a limit is answered 413, and one that is no gzip 400, once a handlet
//! has read that far; the handlet sees an error there. A response that is such is cut.

use std::sync::{Arc, OnceLock};

use hemi_core::config::Size;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_proto::accept_encoding::{AcceptEncoding, Coding};
use hemi_web::{Body, BodyError, BoxError, Request, Response, Reviser};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use http::{Method, StatusCode};
use serde::Deserialize;
use zlib_rs::{Inflate, InflateFlush, Status};

use super::filter::{Filter, Filtered, Unmade};
use super::{forbids_change, forget_bytes, tag_as_asked, weaken_etag};
use crate::vary::vary_by;

/// Decompresses gzip.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct GunzipConfig {
    /// Bytes that the content of a request may become, at most: 413 beyond.
    pub max_size: Size,
    /// Times that content may become longer than it came, once it is longer than 1 MiB. Text becomes
    /// some 3 to 20 times longer, what is made to fill memories 1000 times.
    pub max_ratio: u64,
}

impl Default for GunzipConfig {
    fn default() -> Self {
        Self { max_size: Size(16 << 20), max_ratio: 200 }
    }
}

/// Decompresses.
#[derive(Debug)]
pub struct Gunzip {
    max_size: u64,
    max_ratio: u64,
}

/// Content may become this long at any ratio.
const HARMLESS: u64 = 1 << 20;

/// The largest window of gzip, and the sign for its head and checksum.
const WINDOW_BITS: u8 = 15 + 16;

impl Component for Gunzip {
    const SIGN: &'static str = "gunzip";
    type Config = GunzipConfig;

    fn create(config: GunzipConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self { max_size: config.max_size.0, max_ratio: config.max_ratio })
    }
}

impl Lifecycle for Gunzip {}

impl Reviser for Gunzip {
    fn rank(&self) -> u8 {
        0
    }

    fn request(&self, req: &mut Request) {
        if !is_gzip(req.headers()) || req.body().is_empty() {
            return;
        }
        let fault = Fault::default();
        let gzipped = Gzipped { fault: Some(fault.clone()), ..self.gzipped(self.max_size) };
        let body = Filtered::new(req.take_body(), gzipped);
        req.set_body(Body::stream(body));
        let map = req.headers_mut();
        map.remove(CONTENT_ENCODING);
        map.remove(CONTENT_LENGTH);
        req.revise(move |response| {
            if let Some(status) = fault.get() {
                *response = Response::from(*status);
            }
        });
    }

    fn response(&self, req: &Request, response: &mut Response) {
        if response.status() == StatusCode::NOT_MODIFIED {
            tag_as_asked(req, response);
            return;
        }
        let (status, map) = (response.status(), response.headers());
        let without = status.is_informational() || matches!(status.as_u16(), 204..=206);
        if without || !is_gzip(map) || forbids_change(map) {
            return;
        }
        vary_by(response.headers_mut(), "accept-encoding");
        if AcceptEncoding::from_headers(req.headers()).takes(Coding::Gzip) {
            return;
        }
        let body = response.take_body();
        response.set_body(match *req.method() {
            Method::HEAD => Body::stream(Unmade),
            _ => Body::stream(Filtered::new(body, self.gzipped(u64::MAX))),
        });
        let map = response.headers_mut();
        map.remove(CONTENT_ENCODING);
        forget_bytes(map);
        weaken_etag(map);
    }
}

/// Whether the content is in gzip, and nothing else.
fn is_gzip(map: &HeaderMap) -> bool {
    let mut lines = map.get_all(CONTENT_ENCODING).iter();
    let only = lines.next().filter(|_| lines.next().is_none());
    only.and_then(|line| Coding::named(line.as_bytes().trim_ascii())) == Some(Coding::Gzip)
}

impl Gunzip {
    fn gzipped(&self, max_size: u64) -> Gzipped {
        let max_ratio = self.max_ratio;
        Gzipped { member: None, came: 0, made: 0, max_size, max_ratio, fault: None }
    }
}

/// What that means which ended a request's content.
type Fault = Arc<OnceLock<StatusCode>>;

/// Decompresses one content: a member, or several in a row (RFC 1952, 2.2).
struct Gzipped {
    /// The member under way.
    member: Option<Inflate>,
    came: u64,
    made: u64,
    max_size: u64,
    max_ratio: u64,
    fault: Option<Fault>,
}

/// Content that is no gzip, or not all of it.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("the content is no gzip: {0}")]
    Data(&'static str),
    #[error("the gzip content ended before its end")]
    Cut,
}

/// Bytes taken at once: few enough that what they become needs no bound of its own.
const SLICE: usize = 1 << 10;

/// Bytes given between two looks at the limits.
const ROOM: usize = 8 << 10;

impl Filter for Gzipped {
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, BoxError> {
        let input = &input[..input.len().min(SLICE)];
        let mut used = 0;
        loop {
            let member = self.member.get_or_insert_with(|| Inflate::new(true, WINDOW_BITS));
            let start = out.len();
            out.resize(start + ROOM, 0);
            let (came, made) = (member.total_in(), member.total_out());
            let left = input.get(used..).unwrap_or_default();
            let done = member.decompress(left, &mut out[start..], InflateFlush::NoFlush);
            let (came, made) = (member.total_in() - came, member.total_out() - made);
            out.truncate(start + made as usize);
            used += came as usize;
            self.came += came;
            self.made += made;
            match done {
                Err(e) => return Err(self.malformed(Malformed::Data(e.as_str()))),
                Ok(_) if self.made > self.most() => return Err(self.too_large()),
                Ok(Status::StreamEnd) => {
                    self.member = None;
                    return Ok(used);
                }
                // As long as there was room left, there is no more to be had.
                Ok(_) if (made as usize) < ROOM => return Ok(used),
                Ok(_) => {}
            }
        }
    }

    fn end(&mut self, _: &mut Vec<u8>) -> Result<(), BoxError> {
        match self.member {
            Some(_) => Err(self.malformed(Malformed::Cut)),
            None => Ok(()),
        }
    }
}

impl Gzipped {
    /// Bytes that may have been made of those that came.
    fn most(&self) -> u64 {
        self.came.saturating_mul(self.max_ratio).max(HARMLESS).min(self.max_size)
    }

    fn too_large(&self) -> BoxError {
        self.tell(StatusCode::PAYLOAD_TOO_LARGE);
        Box::new(BodyError::TooLarge(self.most()))
    }

    fn malformed(&self, e: Malformed) -> BoxError {
        self.tell(StatusCode::BAD_REQUEST);
        Box::new(BodyError::Coding(Box::new(e)))
    }

    fn tell(&self, status: StatusCode) {
        if let Some(fault) = &self.fault {
            // The first is the cause of all that follow.
            let _ = fault.set(status);
        }
    }
}
