//! Engines and their stages, from outside.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod cronjobs;
mod datagrams;
mod ends;
