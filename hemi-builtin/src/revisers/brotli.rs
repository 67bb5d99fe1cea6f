//! The reviser `brotli`: compresses contents for clients that take brotli (RFC 7932).
//!
//! ```gorox
//! stage {
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		.webRoot = %topDir + "/site"
//! 		brotli { .level = 5 }
//! 		gzip {}
//! 		rule { static {} }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! It makes less bytes than gzip, and takes more time for them. See `gzip` for what they have in common.

use std::io::Write;

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use hemi_core::Explain;
use hemi_proto::accept_encoding::Coding;
use hemi_web::BoxError;
use serde::Deserialize;

use super::compression::{Codec, Compression, Encoder, Level, Then};

/// Compresses contents for clients that take brotli.
#[derive(Debug, Deserialize, Explain)]
pub struct BrotliConfig {
    /// From 1, the fastest, to 9, which makes the least bytes of what is fast enough for a server.
    #[serde(default = "four")]
    pub level: Level<9>,
}

fn four() -> Level<9> {
    Level::new(4)
}

/// The reviser.
pub type Brotli = Compression<BrotliCodec>;

/// What it works with.
pub struct BrotliCodec {
    level: Level<9>,
}

/// Looks back 256 KiB at most: an encoder takes some of that in memory.
const WINDOW_BITS: i32 = 18;

impl Codec for BrotliCodec {
    const SIGN: &'static str = "brotli";
    const CODING: Coding = Coding::Brotli;
    // They can't be used again.
    const KEPT: usize = 0;
    type Config = BrotliConfig;
    type Encoder = BrotliEncoder;

    fn new(config: BrotliConfig) -> Self {
        Self { level: config.level }
    }

    fn encoder(&self) -> BrotliEncoder {
        BrotliEncoder { level: self.level, writer: None }
    }
}

/// Compresses.
pub struct BrotliEncoder {
    level: Level<9>,
    writer: Option<CompressorWriter<Vec<u8>>>,
}

impl Encoder for BrotliEncoder {
    fn begin(&mut self, len: Option<u64>) -> Result<(), BoxError> {
        let params = BrotliEncoderParams {
            quality: self.level.number(),
            lgwin: WINDOW_BITS,
            size_hint: len.and_then(|len| len.try_into().ok()).unwrap_or_default(),
            ..Default::default()
        };
        self.writer = Some(CompressorWriter::with_params(Vec::new(), 16 << 10, &params));
        Ok(())
    }

    fn encode(&mut self, input: &[u8], then: Then, out: &mut Vec<u8>) -> Result<(), BoxError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.write_all(input)?;
        match then {
            Then::More => {}
            Then::Flush => writer.flush()?,
            Then::End => {
                if let Some(writer) = self.writer.take() {
                    out.extend_from_slice(&writer.into_inner());
                }
                return Ok(());
            }
        }
        out.append(writer.get_mut());
        Ok(())
    }
}
