//! HTTP servers, webapps, rules and handlets on the Hemi engine.
//!
//! A [`HttpxServer`] accepts connections and finds the [`Webapp`] by the host asked for; the webapp's
//! [`Rule`]s find the [`Handlet`]s that answer. A program that is a webapp itself begins with a [`Mapper`].

#![forbid(unsafe_code)]

mod backend;
mod body;
mod conn;
mod cookie;
mod datagrams;
mod error_page;
mod extract;
mod form;
mod gateway;
mod handlet;
mod hostname;
mod hstate;
mod http3;
mod http_config;
mod httpx;
mod json;
mod mapper;
mod meter;
mod multipart;
mod notes;
mod record;
mod request;
mod respond;
mod response;
mod reviser;
mod routes;
mod rule;
mod session;
mod socklet;
mod sse;
pub mod testing;
mod tower;
mod trace;
mod upgrade;
mod vars;
mod web_error;
mod webapp;
mod websocket;

pub use backend::{
    DynHttpBackend, HttpBackend, HttpBackendKind, HttpBackendRegistry, Outgoing, SendError,
    Undelivered,
};
pub use body::{Body, BodyError, BodySender, BoxError, Buffering, Passed, Piece, Unread};
pub use cookie::{CookieError, CookieKey, SameSite, SetCookie, ShortKey};
pub use datagrams::Datagrams;
pub use extract::{Cookies, Extract, Field, Form, Header, Matched, Path, Query, State};
pub use form::{FormError, FormLimits, FormPairs};
pub use gateway::{Call, DynGateway, Gateway, GatewayKind, GatewayRegistry, Variables};
pub use handlet::{DynHandlet, Handlet, HandletKind, HandletRegistry, Reply};
pub use hostname::{Hostname, HostnameError};
pub use hstate::{DynHstate, Hstate, HstateKind, HstateRegistry};
pub use http_config::HttpConfig;
pub use http3::{Http3Config, Http3Server};
pub use httpx::{HttpxConfig, HttpxServer};
pub use json::Json;
pub use mapper::{AtOnce, Handle, Mapper, Waits};
pub use multipart::{Multipart, MultipartConfig, Part, Upfile};
pub use notes::{Interim, ShownId};
pub use request::{BadTarget, Request, Scheme};
pub use respond::{Html, Redirect, Respond};
pub use response::{Prepared, Response, nominated};
pub use reviser::{Reviser, ReviserKind, ReviserRegistry};
pub use rule::{Rule, RuleConfig, RuleKind};
pub use session::{CookieName, CsrfError, Flash, Session, SessionConfig, SessionError};
pub use socklet::{DynSocklet, Socklet, SockletKind, SockletRegistry};
pub use sse::{Event, EventSender, Sse};
pub use tower::Tower;
pub use upgrade::Upgraded;
pub use vars::WebVar;
pub use web_error::WebError;
pub use webapp::{StatusPattern, Webapp, WebappConfig, WebappKind};
pub use websocket::{
    Broadcast, Close, CloseCode, Compression, CompressionWindow, JsonSocket, Member, Message,
    Outcome, Slow, SocketError, SocketReceiver, SocketSender, WebSocket, WebSocketConfig,
    WebSocketUpgrade,
};

use hemi_core::Registry;
use hemi_core::server::ServerRegistry;

/// Adds this crate's components.
pub fn register(registry: &mut Registry) {
    registry
        .add::<WebappKind, Webapp>(|webapp| webapp)
        .add::<RuleKind, Rule>(|rule| rule)
        .server::<HttpxServer>()
        .server::<Http3Server>();
}
