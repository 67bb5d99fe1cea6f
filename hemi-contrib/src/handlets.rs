//! Handlets.

#[cfg(feature = "webdav")]
mod webdav;

#[cfg(feature = "webdav")]
pub use webdav::{Webdav, WebdavConfig};
