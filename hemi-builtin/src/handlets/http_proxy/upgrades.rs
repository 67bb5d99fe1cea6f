//! In which other protocols a client's connection may go on to a node.
//!
//! Never in HTTP/2 (`h2c`): what the client would ask for next, no rule here would see.

use std::borrow::Cow;

use hemi_core::config::ConfigType;
use hemi_web::Request;
use http::header::{HeaderName, UPGRADE};
use serde::Deserialize;

/// The name of such a protocol, as the field `upgrade` has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Protocol(String);

/// A text that is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadProtocol {
    #[error("\"{0}\" is no name of a protocol: write one like \"websocket\"")]
    NoName(String),
    #[error(
        "no client may go on in HTTP/2 behind this server, for no rule would see what it asks for; have an \
         `http2Backend` for nodes that speak it"
    )]
    Http2,
}

impl TryFrom<String> for Protocol {
    type Error = BadProtocol;

    fn try_from(text: String) -> Result<Self, BadProtocol> {
        let is_token = |part: &str| HeaderName::from_bytes(part.as_bytes()).is_ok();
        match text.split('/').all(is_token) {
            _ if text.eq_ignore_ascii_case("h2c") => Err(BadProtocol::Http2),
            true => Ok(Self(text)),
            false => Err(BadProtocol::NoName(text)),
        }
    }
}

impl Protocol {
    /// WebSocket, and nothing else.
    pub(super) fn usual() -> Vec<Self> {
        vec![Self("websocket".into())]
    }

    /// The first of these that a request asks to go on in.
    pub(super) fn asked<'r>(these: &[Self], req: &'r Request) -> Option<&'r [u8]> {
        if !req.wants_upgrade() {
            return None;
        }
        let asked = req.field_values(&UPGRADE).flat_map(|list| list.split(|&b| b == b','));
        let is_one = |name: &&[u8]| these.iter().any(|p| name.eq_ignore_ascii_case(p.0.as_bytes()));
        asked.map(<[u8]>::trim_ascii).find(is_one)
    }
}

impl ConfigType for Protocol {
    fn kind() -> Cow<'static, str> {
        "protocol".into()
    }

    fn show(&self) -> String {
        self.0.show()
    }
}
