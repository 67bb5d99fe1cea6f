//! HTTP servers, webapps, rules and handlets on the Hemi engine.
//!
//! A [`HttpxServer`] accepts connections and finds the [`Webapp`] by the host asked for; the webapp's
//! [`Rule`]s find the [`Handlet`]s that answer.

#![forbid(unsafe_code)]

mod body;
mod conn;
mod error_page;
mod handlet;
mod hostname;
mod hstate;
mod http_config;
mod httpx;
mod notes;
mod record;
mod request;
mod response;
mod reviser;
mod routes;
mod rule;
mod session;
mod socklet;
mod upgrade;
mod vars;
mod webapp;

pub use body::{Body, BodyError, BoxError, Piece};
pub use handlet::{DynHandlet, Handlet, HandletKind, HandletRegistry, Reply};
pub use hostname::{Hostname, HostnameError};
pub use hstate::{DynHstate, Hstate, HstateKind, HstateRegistry};
pub use http_config::HttpConfig;
pub use httpx::{HttpxConfig, HttpxServer};
pub(crate) use notes::Interim;
pub use request::{BadTarget, Request, Scheme};
pub use response::{Prepared, Response};
pub use reviser::{Reviser, ReviserKind, ReviserRegistry};
pub use rule::{Rule, RuleConfig, RuleKind};
pub use session::{CookieName, CsrfError, Flash, Session, SessionConfig, SessionError};
pub use socklet::{DynSocklet, Socklet, SockletKind, SockletRegistry};
pub use upgrade::Upgraded;
pub use vars::WebVar;
pub use webapp::{Webapp, WebappConfig, WebappKind};

use hemi_core::Registry;
use hemi_core::server::ServerRegistry;

/// Adds this crate's components.
pub fn register(registry: &mut Registry) {
    registry
        .add::<WebappKind, Webapp>(|webapp| webapp)
        .add::<RuleKind, Rule>(|rule| rule)
        .server::<HttpxServer>();
}
