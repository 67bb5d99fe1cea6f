//! Whether clients show certificates, and which are believed.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use serde::Deserialize;

use super::IdentityError;
use super::identity::{of_pem, read_certificates};
use crate::config::ConfigType;

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    Off,
    /// They are asked, and may do without. A certificate that is not believed ends the handshake.
    Optional,
    /// Without one there is no connection.
    Required,
}

impl TryFrom<String> for ClientAuth {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match &*text {
            "off" => Ok(Self::Off),
            "optional" => Ok(Self::Optional),
            "required" => Ok(Self::Required),
            _ => Err("write \"off\", \"optional\" or \"required\""),
        }
    }
}

impl ConfigType for ClientAuth {
    fn kind() -> Cow<'static, str> {
        "\"off\", \"optional\" or \"required\"".into()
    }

    fn show(&self) -> String {
        match self {
            Self::Off => "\"off\"".into(),
            Self::Optional => "\"optional\"".into(),
            Self::Required => "\"required\"".into(),
        }
    }
}

/// Reads the CAs whose certificates are believed, and their lists of what they have revoked; none if
/// clients are not asked. Blocks.
pub(super) fn read_verifier(
    auth: ClientAuth,
    cas: &[PathBuf],
    crls: &[PathBuf],
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, IdentityError> {
    if auth == ClientAuth::Off {
        return Ok(None);
    }
    let mut revoked = Vec::new();
    for path in crls {
        revoked.extend(read_revocations(path)?);
    }
    let roots = Arc::new(read_roots(cas)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
    // Of CAs without a list nothing is known, and their certificates are believed.
    let builder = builder.with_crls(revoked).allow_unknown_revocation_status();
    let builder = match auth {
        ClientAuth::Required => builder,
        _ => builder.allow_unauthenticated(),
    };
    let verifier = builder.build().map_err(|e| {
        let path = crls.first().or(cas.first()).cloned().unwrap_or_default();
        IdentityError::Trust { path, message: e.to_string() }
    })?;
    Ok(Some(verifier))
}

/// Reads CAs from files in PEM. Blocks.
pub(super) fn read_roots(paths: &[PathBuf]) -> Result<RootCertStore, IdentityError> {
    let mut roots = RootCertStore::empty();
    for path in paths {
        for certificate in read_certificates(path)? {
            roots
                .add(certificate)
                .map_err(|e| IdentityError::Trust { path: path.clone(), message: e.to_string() })?;
        }
    }
    Ok(roots)
}

/// Reads lists of what was revoked from a file in PEM. Blocks.
pub(super) fn read_revocations(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, IdentityError> {
    let read = |path| CertificateRevocationListDer::pem_file_iter(path)?.collect::<Result<_, _>>();
    read(path).map_err(|error| of_pem(path, error))
}
