//! What WebDAV (RFC 4918) says beyond plain HTTP: XML contents and the If field.

pub mod if_field;
pub mod xml;
