//! Handlets.

mod favicon;
mod static_files;

pub use favicon::Favicon;
pub use static_files::{Static, StaticConfig};
