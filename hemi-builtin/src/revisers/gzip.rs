//! The reviser `gzip`: compresses contents for clients that take gzip (RFC 1952).
//!
//! ```gorox
//! stage {
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		.webRoot = %topDir + "/site"
//! 		gzip { .level = 4  .minLength = 1K  .onContentTypes = ("text/*", "application/json") }
//! 		rule { static {} }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Where several of `gzip`, `brotli` and `zstd` stand side by side, the client gets the coding it
//! likes best; of those that it likes as much, the one that is written first. Set the properties that
//! they share in the webapp, so that they agree on what to compress. What is compressed already stays
//! as it is, and so do parts (206) and what Cache-Control says `no-transform` of.
//!
//! A page that holds both a secret and what others can put into it should not be compressed: its
//! length tells them of the secret (the attack is called BREACH).

use hemi_core::Explain;
use hemi_proto::accept_encoding::Coding;
use hemi_web::BoxError;
use serde::Deserialize;
use zlib_rs::{Deflate, DeflateFlush};

use super::compression::{Codec, Compression, Encoder, Level, Then};

/// Compresses contents for clients that take gzip.
#[derive(Debug, Deserialize, Explain)]
pub struct GzipConfig {
    /// From 1, the fastest, to 9, which makes the least bytes.
    #[serde(default = "two")]
    pub level: Level<9>,
}

fn two() -> Level<9> {
    Level::new(2)
}

/// The reviser.
pub type Gzip = Compression<GzipCodec>;

/// What it works with.
pub struct GzipCodec {
    level: Level<9>,
}

/// The largest window of gzip, and the sign for its head and checksum.
const WINDOW_BITS: u8 = 15 + 16;

impl Codec for GzipCodec {
    const SIGN: &'static str = "gzip";
    const CODING: Coding = Coding::Gzip;
    // Each takes about 300 KiB.
    const KEPT: usize = 4;
    type Config = GzipConfig;
    type Encoder = GzipEncoder;

    fn new(config: GzipConfig) -> Self {
        Self { level: config.level }
    }

    fn encoder(&self) -> GzipEncoder {
        GzipEncoder::new(self.level)
    }
}

/// Compresses.
pub struct GzipEncoder(Deflate);

impl GzipEncoder {
    /// One for what nobody waits for.
    pub(crate) fn thorough() -> Self {
        Self::new(Level::new(6))
    }

    fn new(level: Level<9>) -> Self {
        Self(Deflate::new(level.number(), true, WINDOW_BITS))
    }
}

impl Encoder for GzipEncoder {
    fn begin(&mut self, _: Option<u64>) -> Result<(), BoxError> {
        self.0.reset();
        Ok(())
    }

    fn encode(&mut self, mut input: &[u8], then: Then, out: &mut Vec<u8>) -> Result<(), BoxError> {
        let flush = match then {
            Then::More => DeflateFlush::NoFlush,
            Then::Flush => DeflateFlush::SyncFlush,
            Then::End => DeflateFlush::Finish,
        };
        loop {
            let start = out.len();
            let room = input.len() / 2 + 64;
            out.resize(start + room, 0);
            let (taken, given) = (self.0.total_in(), self.0.total_out());
            let done = self.0.compress(input, &mut out[start..], flush);
            let taken = (self.0.total_in() - taken) as usize;
            let given = (self.0.total_out() - given) as usize;
            out.truncate(start + given);
            input = input.get(taken..).unwrap_or_default();
            done.map_err(|e| e.as_str())?;
            // As long as there was room left, all was done that was to be done.
            if given < room {
                return Ok(());
            }
        }
    }
}
