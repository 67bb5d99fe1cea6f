//! Engines and their stages, from outside.

mod cronjobs;
mod ends;
