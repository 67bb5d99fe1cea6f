//! The standard components of Hemi.
#![forbid(unsafe_code)]
