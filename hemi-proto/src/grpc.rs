//! gRPC, and what browsers and curl speak in its place: messages in frames, how long a call may take, and texts in
//! fields.
//!
//! A frame is a byte of flags, four of the length, and the message.

mod frames;
mod text;
mod timeout;

#[cfg(test)]
mod tests;

pub use frames::{FLAG_COMPRESSED, Frame, FrameError, Frames, HEAD_LEN, Scan, frame_head};
pub use text::{decode_message, encode_message};
pub use timeout::{parse_timeout, show_timeout};
