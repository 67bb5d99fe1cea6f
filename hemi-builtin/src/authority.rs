//! Hosts that configs name, with or without a port.

use std::borrow::Cow;

use bytes::Bytes;
use hemi_core::config::ConfigType;
use hemi_proto::authority::Authority;
use serde::Deserialize;

/// A host, maybe with a port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct SiteAuthority(Authority);

/// A host without a port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct SiteHost(Authority);

/// A text that names no host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadHost {
    #[error("\"{0}\" is not a host: write \"site.test\" or \"site.test:8443\", without a scheme")]
    Authority(String),
    #[error("\"{0}\" is not a host: write \"site.test\", without scheme or port")]
    Host(String),
}

impl SiteAuthority {
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl SiteHost {
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

fn parse(text: &str) -> Option<Authority> {
    let authority = Authority::parse(Bytes::copy_from_slice(text.as_bytes())).ok()?;
    (!authority.is_empty()).then_some(authority)
}

impl TryFrom<String> for SiteAuthority {
    type Error = BadHost;

    fn try_from(text: String) -> Result<Self, BadHost> {
        parse(&text).map(Self).ok_or(BadHost::Authority(text))
    }
}

impl TryFrom<String> for SiteHost {
    type Error = BadHost;

    fn try_from(text: String) -> Result<Self, BadHost> {
        let host = parse(&text).filter(|authority| authority.port().is_none());
        host.map(Self).ok_or(BadHost::Host(text))
    }
}

impl ConfigType for SiteAuthority {
    fn kind() -> Cow<'static, str> {
        "host with port".into()
    }

    fn show(&self) -> String {
        self.as_str().to_owned().show()
    }
}

impl ConfigType for SiteHost {
    fn kind() -> Cow<'static, str> {
        "host".into()
    }

    fn show(&self) -> String {
        self.as_str().to_owned().show()
    }
}
