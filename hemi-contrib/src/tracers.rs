//! Tracers.

#[cfg(feature = "otlp")]
mod otlp;

#[cfg(feature = "otlp")]
pub use otlp::{OtlpTracer, OtlpTracerConfig};
