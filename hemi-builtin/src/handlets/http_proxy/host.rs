//! Which host a node is asked for.

use std::borrow::Cow;

use bytes::Bytes;
use hemi_core::config::{ConfigType, Template};
use hemi_proto::authority::Authority;
use hemi_web::{Request, WebVar};
use http::StatusCode;
use serde::Deserialize;

/// The property `host`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "Template<WebVar>")]
pub(super) enum HostPolicy {
    /// The one that the client asks for.
    #[default]
    Client,
    /// The node's own address, as the config has it.
    Node,
    /// This one,
    Fixed(Authority),
    /// and this one, once its variables have values.
    Template(Template<WebVar>),
}

/// A text that names no host.
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{0}\" is no host: write \"client\", \"node\", or a name with or without a port, like \"app.internal:8080\""
)]
pub(super) struct NoHost(String);

impl TryFrom<Template<WebVar>> for HostPolicy {
    type Error = NoHost;

    fn try_from(template: Template<WebVar>) -> Result<Self, NoHost> {
        Ok(match template.literal() {
            Some("client") => Self::Client,
            Some("node") => Self::Node,
            Some(text) => Self::Fixed(named(text.as_bytes()).ok_or_else(|| NoHost(text.into()))?),
            None => Self::Template(template),
        })
    }
}

impl HostPolicy {
    /// The host to ask for, unless it is the node's own.
    ///
    /// # Errors
    /// 400, if the variables make it none.
    pub(super) fn of<'a>(&'a self, req: &'a Request) -> Result<Option<Cow<'a, [u8]>>, StatusCode> {
        Ok(match self {
            Self::Client => req.authority().map(|host| host.as_str().as_bytes().into()),
            Self::Node => None,
            Self::Fixed(host) => Some(host.as_str().as_bytes().into()),
            Self::Template(template) => {
                let host = named(&template.render(req)).ok_or(StatusCode::BAD_REQUEST)?;
                Some(host.bytes().to_vec().into())
            }
        })
    }
}

fn named(text: &[u8]) -> Option<Authority> {
    Authority::parse(Bytes::copy_from_slice(text)).ok().filter(|host| !host.is_empty())
}

impl ConfigType for HostPolicy {
    fn kind() -> Cow<'static, str> {
        "\"client\", \"node\" or host, perhaps with variables".into()
    }

    fn show(&self) -> String {
        match self {
            Self::Client => "client".to_owned().show(),
            Self::Node => "node".to_owned().show(),
            Self::Fixed(host) => host.as_str().to_owned().show(),
            Self::Template(template) => template.show(),
        }
    }
}
