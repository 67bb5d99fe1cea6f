//! The standard components of Hemi.
