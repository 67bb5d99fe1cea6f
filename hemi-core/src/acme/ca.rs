//! The component `ca`: a CA that certificates are obtained from.

use std::sync::Arc;
use std::time::Duration;

use hemi_proto::acme::jose::unbase64url;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::account::Account;
use crate::client::{Client, ClientLimits};
use crate::config::{KindName, Secret};
use crate::tls::ConnectorConfig;
use crate::{
    Component, CreateCx, Error, Explain, HttpUrl, Kind, Lifecycle, Place, Prepare, Rank, Result,
};

/// The kind of the one component [`Ca`].
#[derive(Debug)]
pub struct CaKind;

impl KindName for CaKind {
    const NAME: &'static str = "ca";
}

impl Kind for CaKind {
    type Object = Ca;
    const RANK: Rank = Rank::STORE;
    const PLACE: Place = Place::Inside;
}

/// A CA of an `acme` component. Several are tried in the order written.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct CaConfig {
    /// The URL of its directory (RFC 8555, 7.1.1), as its documentation tells.
    directory: HttpUrl,
    /// The id of the key by which the account is bound to one that the CA knows otherwise (RFC 8555, 7.3.4).
    #[serde(default)]
    eab_key_id: Option<String>,
    /// That key, in base64url.
    #[serde(default)]
    eab_key: Option<Secret>,
    /// The kind of certificates that is wanted, of those that the CA offers, such as `"shortlived"`.
    #[serde(default)]
    profile: Option<String>,
    /// The common name of the issuer that the chain should end with, where the CA has several chains; the one it
    /// likes best if it has none such.
    #[serde(default)]
    preferred_chain: Option<String>,
}

/// The directory that is asked unless the config names one.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// What requests may cost.
const LIMITS: ClientLimits = ClientLimits {
    connect: Duration::from_secs(10),
    total: Duration::from_secs(30),
    content: 256 << 10,
    kept: 0,
};

/// A CA.
pub struct Ca {
    pub(super) directory: HttpUrl,
    pub(super) client: Client,
    pub(super) binding: Option<Binding>,
    pub(super) profile: Option<String>,
    pub(super) preferred_chain: Option<String>,
    /// Known once it was asked for.
    pub(super) account: Mutex<Option<Arc<Account>>>,
}

/// By what an account is bound to one that the CA knows otherwise.
pub(super) struct Binding {
    pub(super) id: String,
    pub(super) key: Vec<u8>,
}

impl Component for Ca {
    const SIGN: &'static str = "ca";
    type Config = (CaConfig, ConnectorConfig);

    fn create((config, tls): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let binding = match (config.eab_key_id, config.eab_key) {
            (None, None) => None,
            (Some(id), Some(key)) => match unbase64url(key.expose()) {
                Some(key) => Some(Binding { id, key }),
                None => return Err(Error::config(cx.span(), "`.eabKey` is not base64url")),
            },
            _ => {
                let message = "`.eabKeyId` and `.eabKey` need each other";
                return Err(Error::config(cx.span(), message));
            }
        };
        let client = Client::new(config.directory.clone(), LIMITS, tls, cx)?;
        let (profile, preferred_chain) = (config.profile, config.preferred_chain);
        Ok(Self { binding, profile, preferred_chain, ..Self::at(config.directory, client) })
    }
}

impl Lifecycle for Ca {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        self.client.prepare()
    }
}

impl Ca {
    /// The one that is asked unless the config names one.
    pub(super) fn lets_encrypt(cx: &mut CreateCx<'_>) -> Result<Self> {
        let directory: HttpUrl =
            LETS_ENCRYPT.parse().map_err(|e| Error::other(format!("{LETS_ENCRYPT}: {e}")))?;
        let client = Client::new(directory.clone(), LIMITS, ConnectorConfig::default(), cx)?;
        Ok(Self::at(directory, client))
    }

    fn at(directory: HttpUrl, client: Client) -> Self {
        let account = Mutex::default();
        Self { directory, client, binding: None, profile: None, preferred_chain: None, account }
    }

    /// Its name in logs and files: the URL of its directory.
    pub(super) fn name(&self) -> &str {
        self.directory.as_str()
    }
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca").field("directory", &self.directory).finish_non_exhaustive()
    }
}
