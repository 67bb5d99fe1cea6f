//! What only tests need: raw clients, peers, temporary sites.
#![forbid(unsafe_code)]
