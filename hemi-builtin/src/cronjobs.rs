//! Cronjobs.

mod clean;
mod stat;

pub use clean::{CleanConfig, CleanCronjob, Pattern};
pub use stat::{StatConfig, StatCronjob};
