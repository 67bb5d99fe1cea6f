//! Stores for sessions.

mod filesys;
mod memory;

pub use filesys::{FilesysHstate, FilesysHstateConfig};
pub use memory::{MemoryHstate, MemoryHstateConfig};
