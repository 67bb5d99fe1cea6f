//! What the compressing revisers share: which answers they take up, and how content gets through an
//! encoder.

mod forms;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hemi_core::config::{ConfigType, Size};
use hemi_core::cores::PerCore;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_proto::accept_encoding::{AcceptEncoding, Coding};
use hemi_web::{Body, BoxError, Request, Response, Reviser};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tracing::error;

use super::filter::{Filter, Filtered, TURN, Unmade};
use super::{
    MediaRange, forbids_change, forget_bytes, is_changeable, is_plain, tag_as_asked, weaken_etag,
};
use crate::vary::vary_by;
use forms::Forms;

/// Properties of all that compress.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct CompressionConfig {
    /// Bytes of content from which it is compressed; content of unknown length is in any case.
    pub min_length: Size,
    /// The media types of content that is compressed: `"text/html"`, or `"text/*"` for all of a kind.
    pub on_content_types: Vec<MediaRange>,
    /// Bytes of contents that are kept in memory, such as small files, and of what they were compressed
    /// to, so that it is done once; over all cores. 0 to compress anew for each answer.
    pub cache_size: Size,
}

impl Default for CompressionConfig {
    fn default() -> Self {
        Self {
            min_length: Size(256),
            on_content_types: MediaRange::compressible(),
            cache_size: Size(8 << 20),
        }
    }
}

/// How hard to try: from 1, the fastest, to `MAX`, which makes the least bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Level<const MAX: u8>(u8);

/// A number that is no level.
#[derive(Debug, thiserror::Error)]
#[error("{level} is no level: write one from 1 to {max}")]
pub struct NoLevel {
    level: u64,
    max: u8,
}

impl<const MAX: u8> Level<MAX> {
    pub(super) const fn new(level: u8) -> Self {
        assert!(level >= 1 && level <= MAX, "levels are 1 to MAX");
        Self(level)
    }

    pub(super) fn number(self) -> i32 {
        i32::from(self.0)
    }
}

impl<const MAX: u8> TryFrom<u64> for Level<MAX> {
    type Error = NoLevel;

    fn try_from(level: u64) -> Result<Self, NoLevel> {
        let known = u8::try_from(level).ok().filter(|level| (1..=MAX).contains(level));
        known.map(Self).ok_or(NoLevel { level, max: MAX })
    }
}

impl<const MAX: u8> ConfigType for Level<MAX> {
    fn kind() -> Cow<'static, str> {
        format!("1 to {MAX}").into()
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// What tells one compressing reviser from another.
pub trait Codec: Send + Sync + 'static {
    /// The reviser's sign.
    const SIGN: &'static str;
    /// What it makes.
    const CODING: Coding;
    /// Encoders that a core keeps for the next contents, at most.
    const KEPT: usize;
    /// Its own properties.
    type Config: DeserializeOwned + Explain;
    /// What does the work.
    type Encoder: Encoder;

    /// Reads its properties.
    fn new(config: Self::Config) -> Self;

    /// Makes an encoder.
    fn encoder(&self) -> Self::Encoder;
}

/// Compresses one content after the other.
pub trait Encoder: Send + Unpin + 'static {
    /// Begins with another content, of this many bytes if that is known.
    ///
    /// # Errors
    /// When there is no memory.
    fn begin(&mut self, len: Option<u64>) -> Result<(), BoxError>;

    /// Compresses the next bytes, and adds what is made of them.
    ///
    /// # Errors
    /// When there is no memory.
    fn encode(&mut self, input: &[u8], then: Then, out: &mut Vec<u8>) -> Result<(), BoxError>;
}

/// What follows some bytes of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// More of them.
    More,
    /// Nothing for now: what is there has to be readable.
    Flush,
    /// The end.
    End,
}

/// A reviser that compresses.
pub struct Compression<C: Codec> {
    min_length: u64,
    types: Vec<MediaRange>,
    /// What can be had here, in the order of preference.
    offered: Vec<Coding>,
    works: Arc<Works<C>>,
    forms: Option<PerCore<Forms>>,
}

impl<C: Codec> Component for Compression<C> {
    const SIGN: &'static str = C::SIGN;
    type Config = (C::Config, CompressionConfig);

    fn create((own, config): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let codings = |sign| match sign {
            super::Gzip::SIGN => Some(Coding::Gzip),
            super::Brotli::SIGN => Some(Coding::Brotli),
            super::Zstd::SIGN => Some(Coding::Zstd),
            _ => None,
        };
        let cores = cx.cores();
        let share = config.cache_size.0 / cores.max(1) as u64;
        Ok(Self {
            min_length: config.min_length.0,
            types: config.on_content_types,
            offered: cx.beside().filter_map(codings).collect(),
            works: Arc::new(Works { codec: C::new(own), idle: PerCore::new(cores, Vec::new) }),
            forms: (share > 0).then(|| PerCore::new(cores, || Forms::new(share))),
        })
    }
}

impl<C: Codec> Lifecycle for Compression<C> {}

impl<C: Codec> Reviser for Compression<C> {
    fn rank(&self) -> u8 {
        31
    }

    fn response(&self, req: &Request, response: &mut Response) {
        if response.status() == StatusCode::NOT_MODIFIED {
            tag_as_asked(req, response);
            return;
        }
        if !self.takes_up(req, response) {
            return;
        }
        vary_by(response.headers_mut(), "accept-encoding");
        if AcceptEncoding::from_headers(req.headers()).choose(&self.offered) != Some(C::CODING) {
            return;
        }
        match self.compress(req, response.take_body()) {
            Ok(body) => {
                response.set_body(body);
                let map = response.headers_mut();
                forget_bytes(map);
                weaken_etag(map);
                map.insert(CONTENT_ENCODING, HeaderValue::from_static(C::CODING.token()));
            }
            Err(body) => response.set_body(body),
        }
    }
}

impl<C: Codec> Compression<C> {
    /// Whether the answer is one that is compressed for those who like it.
    fn takes_up(&self, req: &Request, response: &Response) -> bool {
        is_changeable(response, &self.types)
            && is_plain(response)
            && !forbids_change(response.headers())
            && full_len(req, response).is_none_or(|len| len >= self.min_length)
    }

    /// The content compressed; as it was, if that would make it no shorter.
    fn compress(&self, req: &Request, body: Body) -> Result<Body, Body> {
        if req.method() == Method::HEAD {
            return Ok(Body::stream(Unmade));
        }
        let made = match body.in_memory().filter(|bytes| bytes.len() <= TURN) {
            Some(bytes) => self.form(bytes).map(|form| (form.len() < bytes.len()).then_some(form)),
            None => match self.works.begin(body.len()) {
                Ok(lease) => return Ok(Body::stream(Filtered::new(body, lease))),
                Err(e) => Err(e),
            },
        };
        match made {
            Ok(Some(form)) => Ok(form.into()),
            Ok(None) => Err(body),
            Err(e) => {
                error!("{} cannot compress: {e}", C::SIGN);
                Err(body)
            }
        }
    }

    /// Bytes that are all there compressed in one go, or as they were the last time.
    fn form(&self, bytes: &Bytes) -> Result<Bytes, BoxError> {
        // What nobody else holds is not going to be sent again.
        let forms = self.forms.as_ref().filter(|_| !bytes.is_unique());
        if let Some(form) = forms.and_then(|forms| forms.mine().find(bytes)) {
            return Ok(form);
        }
        let mut out = Vec::new();
        self.works.begin(Some(bytes.len() as u64))?.encode(bytes, Then::End, &mut out)?;
        if forms.is_some() {
            // It may be kept for long.
            out.shrink_to_fit();
        }
        let form = Bytes::from(out);
        if let Some(forms) = forms {
            forms.mine().keep(bytes.clone(), form.clone());
        }
        Ok(form)
    }
}

/// Encoders of one reviser, at work and waiting for it.
struct Works<C: Codec> {
    codec: C,
    idle: PerCore<Vec<C::Encoder>>,
}

/// An encoder at work on one content.
struct Lease<C: Codec> {
    works: Arc<Works<C>>,
    encoder: Option<C::Encoder>,
}

impl<C: Codec> Works<C> {
    fn begin(self: &Arc<Self>, len: Option<u64>) -> Result<Lease<C>, BoxError> {
        let idle = self.idle.mine().pop();
        let mut encoder = idle.unwrap_or_else(|| self.codec.encoder());
        encoder.begin(len)?;
        Ok(Lease { works: self.clone(), encoder: Some(encoder) })
    }
}

impl<C: Codec> Lease<C> {
    fn encode(&mut self, input: &[u8], then: Then, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.encoder.as_mut().map_or(Ok(()), |encoder| encoder.encode(input, then, out))
    }
}

impl<C: Codec> Drop for Lease<C> {
    fn drop(&mut self) {
        let mut idle = self.works.idle.mine();
        if idle.len() < C::KEPT {
            idle.extend(self.encoder.take());
        }
    }
}

impl<C: Codec> Filter for Lease<C> {
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, BoxError> {
        self.encode(input, Then::More, out)?;
        Ok(input.len())
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.encode(&[], Then::Flush, out)
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.encode(&[], Then::End, out)
    }
}

/// Bytes of the content that a GET would be answered with, if their number is known.
fn full_len(req: &Request, response: &Response) -> Option<u64> {
    let len = response.content_len();
    let told = || response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    if req.method() == Method::HEAD && len == Some(0) { told().or(len) } else { len }
}
