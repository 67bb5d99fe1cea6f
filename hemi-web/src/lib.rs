//! HTTP servers, webapps, rules and handlets on the Hemi engine.
#![forbid(unsafe_code)]
