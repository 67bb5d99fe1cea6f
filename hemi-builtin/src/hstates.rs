//! Stores for sessions.

mod filesys;
mod memory;
mod redis;

pub use filesys::{FilesysHstate, FilesysHstateConfig};
pub use memory::{MemoryHstate, MemoryHstateConfig};
pub use redis::{RedisHstate, RedisHstateConfig};
