//! The reviser `zstd`: compresses contents for clients that take zstd (RFC 8878).
//!
//! ```gorox
//! stage {
//! 	webapp "site" {
//! 		.hostnames = ("*")
//! 		.webRoot = %topDir + "/site"
//! 		zstd {}
//! 		gzip {}
//! 		rule { static {} }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! It is the fastest. See `gzip` for what they have in common.

use hemi_core::Explain;
use hemi_proto::accept_encoding::Coding;
use hemi_web::BoxError;
use serde::Deserialize;
use zstd_safe::zstd_sys::ZSTD_EndDirective as Directive;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, get_error_name};

use super::compression::{Codec, Compression, Encoder, Level, Then};

/// Compresses contents for clients that take zstd.
#[derive(Debug, Deserialize, Explain)]
pub struct ZstdConfig {
    /// From 1, the fastest, to 12, which makes the least bytes of what is fast enough for a server.
    #[serde(default = "three")]
    pub level: Level<12>,
}

fn three() -> Level<12> {
    Level::new(3)
}

/// The reviser.
pub type Zstd = Compression<ZstdCodec>;

/// What it works with.
pub struct ZstdCodec {
    level: Level<12>,
}

/// Looks back 256 KiB at most: an encoder takes some of that in memory. Clients need not be able to
/// look back further than 8 MiB (RFC 9659).
const WINDOW_LOG: u32 = 18;

impl Codec for ZstdCodec {
    const SIGN: &'static str = "zstd";
    const CODING: Coding = Coding::Zstd;
    const KEPT: usize = 4;
    type Config = ZstdConfig;
    type Encoder = ZstdEncoder;

    fn new(config: ZstdConfig) -> Self {
        Self { level: config.level }
    }

    fn encoder(&self) -> ZstdEncoder {
        ZstdEncoder { level: self.level, context: None }
    }
}

/// Compresses.
pub struct ZstdEncoder {
    level: Level<12>,
    context: Option<CCtx<'static>>,
}

impl Encoder for ZstdEncoder {
    fn begin(&mut self, len: Option<u64>) -> Result<(), BoxError> {
        if self.context.is_none() {
            let mut context = CCtx::try_create().ok_or("there is no memory")?;
            for parameter in [
                CParameter::CompressionLevel(self.level.number()),
                CParameter::WindowLog(WINDOW_LOG),
            ] {
                context.set_parameter(parameter).map_err(get_error_name)?;
            }
            self.context = Some(context);
        }
        if let Some(context) = &mut self.context {
            context.reset(ResetDirective::SessionOnly).map_err(get_error_name)?;
            context.set_pledged_src_size(len).map_err(get_error_name)?;
        }
        Ok(())
    }

    fn encode(&mut self, input: &[u8], then: Then, out: &mut Vec<u8>) -> Result<(), BoxError> {
        let Some(context) = &mut self.context else { return Ok(()) };
        let directive = match then {
            Then::More => Directive::ZSTD_e_continue,
            Then::Flush => Directive::ZSTD_e_flush,
            Then::End => Directive::ZSTD_e_end,
        };
        let mut input = InBuffer::around(input);
        loop {
            out.reserve(input.src.len() / 2 + 64);
            let start = out.len();
            let mut output = OutBuffer::around_pos(out, start);
            let left = context.compress_stream2(&mut output, &mut input, directive);
            let left = left.map_err(get_error_name)?;
            let done = if then == Then::More { input.pos == input.src.len() } else { left == 0 };
            if done {
                return Ok(());
            }
        }
    }
}
