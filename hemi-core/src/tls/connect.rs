//! The client's side of handshakes.

use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bytes::BytesMut;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore};
use serde::Deserialize;
use tracing::{info, warn};

use super::clients::{read_revocations, read_roots};
use super::handshake::{Step, poll_handshake};
use super::info::TlsInfo;
use super::{IdentityError, TlsStream, provider, read_identity};
use crate::clock::{self, Moment};
use crate::config::Several;
use crate::io::Socket;
use crate::watched::{self, Stamp};
use crate::{CreateCx, Error, Explain, Result};

/// Where systems keep the CAs that they trust, in PEM.
const SYSTEM: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Properties of components that ask servers over TLS. Files that change are read again.
#[derive(Clone, Debug, Default, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectorConfig {
    /// The file with the CAs whose certificates are believed of servers over TLS, in PEM, or several; none for those of
    /// the system.
    pub tls_trusted_ca: Several<PathBuf>,
    /// The file with the list of certificates that these CAs have revoked (RFC 5280, 5), in PEM, or several.
    pub tls_trusted_crl: Several<PathBuf>,
    /// The name that is asked for, and that the server's certificate must be for; none for that of the URL
    /// or address.
    pub tls_peer_name: Option<String>,
    /// The file with the certificate for servers that want to see one, in PEM.
    pub tls_identity: Option<PathBuf>,
    /// The file with its private key, in PEM.
    pub tls_identity_key: Option<PathBuf>,
}

/// Makes TLS connections to servers, whose certificates are verified.
pub struct Connector {
    config: ConnectorConfig,
    protocols: Vec<Vec<u8>>,
    /// Made of the files when it is first needed, and again when they have changed.
    made: RwLock<Option<Made>>,
}

struct Made {
    config: Arc<ClientConfig>,
    /// What the files were like.
    stamps: Vec<Stamp>,
    /// When they are to be looked at again.
    look: Moment,
}

impl Connector {
    /// By these properties, with `protocols` (RFC 7301) offered, most liked first.
    ///
    /// # Errors
    /// When there is a certificate without a key.
    pub fn new(mut config: ConnectorConfig, protocols: &[&str], cx: &CreateCx<'_>) -> Result<Self> {
        if config.tls_identity.is_some() != config.tls_identity_key.is_some() {
            let message = "`.tlsIdentity` and `.tlsIdentityKey` need each other";
            return Err(Error::config(cx.span(), message));
        }
        let lists = [&mut config.tls_trusted_ca.0, &mut config.tls_trusted_crl.0];
        let files = lists.into_iter().flatten();
        for file in files.chain(&mut config.tls_identity).chain(&mut config.tls_identity_key) {
            *file = cx.path(&*file);
        }
        Ok(Self::with_paths(config, protocols))
    }

    /// The same with paths that the process can open.
    #[must_use]
    pub fn with_paths(config: ConnectorConfig, protocols: &[&str]) -> Self {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { config, protocols, made: RwLock::default() }
    }

    /// Reads the files, if that was not done yet. Blocks.
    ///
    /// # Errors
    /// When one can't be read or used.
    pub fn prepare(&self) -> Result<()> {
        self.make().map(drop).map_err(|e| Error::other(e.to_string()))
    }

    /// Shakes hands with the server of this host.
    ///
    /// # Errors
    /// When the connection breaks, the server's certificate is not believed (`InvalidData`), or files can't
    /// be read.
    pub async fn connect(self: &Arc<Self>, socket: Socket, host: &str) -> io::Result<TlsStream> {
        let config = self.config().await?;
        let name =
            ServerName::try_from(self.peer_name(host).to_owned()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let (mut socket, mut tls) = (socket, Box::new(Connection::Client(tls)));
        let mut inbound = BytesMut::new();
        poll_fn(|cx| poll_handshake(&mut socket, &mut tls, &mut inbound, cx)).await.map_err(
            |step| match step {
                Step::Io(e) => e,
                Step::Closed => io::ErrorKind::UnexpectedEof.into(),
                Step::Tls(e) => io::Error::new(io::ErrorKind::InvalidData, e),
            },
        )?;
        let info = TlsInfo::of(&tls, None);
        Ok(TlsStream::new(socket, tls, inbound, info))
    }

    /// What connections are made by, once the files are read.
    pub(crate) async fn config(self: &Arc<Self>) -> io::Result<Arc<ClientConfig>> {
        let made = {
            let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
            made.as_ref().map(|made| (made.config.clone(), made.look))
        };
        let this = self.clone();
        match made {
            Some((config, look)) => {
                if clock::now() >= look && self.files().next().is_some() {
                    // Nobody waits for that: who connects next has what is new.
                    tokio::task::spawn_blocking(move || this.look());
                }
                Ok(config)
            }
            None => {
                let made = tokio::task::spawn_blocking(move || this.make()).await;
                made.map_err(io::Error::other)?.map_err(io::Error::other)
            }
        }
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let ConnectorConfig { tls_trusted_ca, tls_trusted_crl, .. } = &self.config;
        let trusted = tls_trusted_ca.0.iter().chain(&tls_trusted_crl.0);
        trusted.chain(&self.config.tls_identity).chain(&self.config.tls_identity_key)
    }

    fn stamps(&self) -> Vec<Stamp> {
        self.files().map(|path| Stamp::of(path)).collect()
    }

    /// Looks whether the files have changed, and reads them again if they have. Blocks.
    fn look(&self) {
        let stamps = self.stamps();
        let write = || self.made.write().unwrap_or_else(PoisonError::into_inner);
        {
            let mut made = write();
            let Some(made) = made.as_mut().filter(|made| clock::now() >= made.look) else { return };
            made.look = clock::now().after(watched::EVERY);
            if made.stamps == stamps {
                return;
            }
            made.stamps = stamps;
        }
        let path = self.files().next().map(|path| path.display().to_string()).unwrap_or_default();
        match self.read() {
            Ok(config) => {
                info!(path, "read again");
                if let Some(made) = &mut *write() {
                    made.config = config;
                }
            }
            Err(e) => warn!("what the file said before holds: {e}"),
        }
    }

    /// The name that the certificate of this host must be for.
    pub(crate) fn peer_name<'a>(&'a self, host: &'a str) -> &'a str {
        self.config.tls_peer_name.as_deref().unwrap_or(host).trim_matches(['[', ']'])
    }

    fn make(&self) -> Result<Arc<ClientConfig>, IdentityError> {
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*made {
            return Ok(made.config.clone());
        }
        let stamps = self.stamps();
        let config = self.read()?;
        let look = clock::now().after(watched::EVERY);
        *made = Some(Made { config: config.clone(), stamps, look });
        Ok(config)
    }

    fn read(&self) -> Result<Arc<ClientConfig>, IdentityError> {
        let ConnectorConfig { tls_trusted_ca, tls_trusted_crl, .. } = &self.config;
        let roots = match &tls_trusted_ca.0[..] {
            [] => system_roots()?,
            files => Arc::new(read_roots(files)?),
        };
        let mut revoked = Vec::new();
        for path in &tls_trusted_crl.0 {
            revoked.extend(read_revocations(path)?);
        }
        let provider = provider();
        let unusable = |message: String| {
            let path = tls_trusted_crl.0.first().or(tls_trusted_ca.0.first());
            IdentityError::Trust { path: path.cloned().unwrap_or_default(), message }
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .with_crls(revoked)
            .allow_unknown_revocation_status()
            .build()
            .map_err(|e| unusable(e.to_string()))?;
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| unusable(e.to_string()))?
            .with_webpki_verifier(verifier);
        let mut config = match (&self.config.tls_identity, &self.config.tls_identity_key) {
            (Some(certificate), Some(key)) => {
                let key = Arc::new(read_identity(certificate, key, &provider)?);
                builder
                    .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.protocols.clone();
        Ok(Arc::new(config))
    }
}

/// The CAs that the system trusts, read once. Blocks.
fn system_roots() -> Result<Arc<RootCertStore>, IdentityError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(roots.clone());
    }
    let path = SYSTEM.iter().map(Path::new).find(|path| path.exists());
    let path =
        path.ok_or_else(|| IdentityError::NoCertificate("the system's directories".into()))?;
    let mut roots = RootCertStore::empty();
    // Some of them may be of a kind that is not known here.
    roots.add_parsable_certificates(super::identity::read_certificates(path)?);
    Ok(ROOTS.get_or_init(|| Arc::new(roots)).clone())
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("config", &self.config).finish_non_exhaustive()
    }
}
