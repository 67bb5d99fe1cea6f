//! Limits and deadlines of connections. Their defaults stop slow and greedy callers.

use std::time::Duration;

use hemi_core::Explain;
use hemi_core::config::Size;
use hemi_proto::hrpc;
use hemi_proto::rpcx::Limits;
use serde::Deserialize;

/// Properties of a server that speaks rpcx.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct RpcxLimits {
    /// Bytes of a message that follow its head, at most. One that is longer is answered with an error, and its
    /// connection closed.
    pub max_message_size: Size,
    /// Bytes of metadata in it, at most; the same happens beyond. By HRPC it is never more than 64K, and ends the call alone.
    pub max_metadata_size: Size,
    /// Bytes that a compressed payload may become, at most; answered with an error beyond.
    pub max_decompressed_size: Size,
    /// Calls of one connection that are worked on at once, at most; what comes then waits in the
    /// connection, or is refused by HRPC.
    pub max_calls_per_conn: usize,
    /// Calls and signs of life per second that are taken from one connection, at most, on average; twice as many may
    /// come at once. What is beyond is answered with an error. 0 for no such limit.
    pub max_call_rate: u32,
    /// Bytes of answers that wait for a caller to take them, at most; no more of its calls are looked at before.
    pub max_unsent: Size,
    /// How long a method may take: an error is answered then, and its work is dropped. Callers may say less.
    /// 0s for no such limit.
    pub call_timeout: Duration,
    /// How long the rest of a message may take, once its first byte is there.
    pub message_timeout: Duration,
    /// How long a caller may take to make room for more of its answers.
    pub send_timeout: Duration,
    /// How long a connection may be silent while nothing is worked on for it.
    pub idle_timeout: Duration,
    /// How long a caller by HRPC may be silent while something is worked on for it, before it is asked for a sign of life;
    /// one that gives none in the same time again is gone. 0s for never.
    pub ping_interval: Duration,
    /// What callers are told of a method that panicked, in the place of what the panic said.
    pub panic_text: Option<String>,
}

impl Default for RpcxLimits {
    fn default() -> Self {
        Self {
            max_message_size: Size(4 << 20),
            max_metadata_size: Size(64 << 10),
            max_decompressed_size: Size(16 << 20),
            max_calls_per_conn: 1024,
            max_call_rate: 0,
            max_unsent: Size(1 << 20),
            call_timeout: Duration::from_secs(60),
            message_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(600),
            ping_interval: Duration::from_secs(30),
            panic_text: None,
        }
    }
}

impl RpcxLimits {
    pub(super) fn frames(&self) -> Limits {
        Limits { message: bytes(self.max_message_size), metadata: bytes(self.max_metadata_size) }
    }

    /// Those of HRPC.
    pub(super) fn messages(&self) -> hrpc::Limits {
        let Limits { message, metadata } = self.frames();
        hrpc::Limits { message, metadata }
    }

    pub(super) fn decompressed(&self) -> usize {
        bytes(self.max_decompressed_size)
    }

    pub(super) fn unsent(&self) -> usize {
        bytes(self.max_unsent)
    }
}

/// A frame can't say more than 32 bits.
fn bytes(size: Size) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX).min(u32::MAX as usize)
}
