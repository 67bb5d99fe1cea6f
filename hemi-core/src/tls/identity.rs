//! A certificate and its key, as they come from files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

/// Why there is no certificate with its key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file can't be read.
    #[error("cannot read {}: {error}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file is not in the form of PEM.
    #[error("{} is not PEM: {error}", .path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: pem::Error,
    },
    /// A file of certificates has none.
    #[error("there is no certificate in {}", .0.display())]
    NoCertificate(PathBuf),
    /// A file of a key has none.
    #[error("there is no private key in {}", .0.display())]
    NoKey(PathBuf),
    /// The key is not that of the certificate.
    #[error("the key in {} is not that of the certificate", .0.display())]
    OtherKey(PathBuf),
    /// A key of a kind that is not known, or malformed.
    #[error("the key in {} can't be used: {error}", .path.display())]
    BadKey {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: Error,
    },
    /// Trust or revocation can't be built of the files.
    #[error("{} can't be used: {message}", .path.display())]
    Trust {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl IdentityError {
    /// The file that it is about.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::NoCertificate(path) | Self::NoKey(path) | Self::OtherKey(path) => path,
            Self::Read { path, .. }
            | Self::Pem { path, .. }
            | Self::BadKey { path, .. }
            | Self::Trust { path, .. } => path,
        }
    }
}

/// Reads a certificate, followed by those between it and its CA, and its key, from files in PEM. Blocks.
///
/// # Errors
/// When a file can't be read, has not what it should, or the two do not fit.
pub fn read_identity(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, IdentityError> {
    let chain = read_certificates(certificate)?;
    let of_key = |error| match error {
        pem::Error::NoItemsFound => IdentityError::NoKey(key.to_owned()),
        error => of_pem(key, error),
    };
    let der = PrivateKeyDer::from_pem_file(key).map_err(of_key)?;
    CertifiedKey::from_der(chain, der, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            IdentityError::OtherKey(key.to_owned())
        }
        error => IdentityError::BadKey { path: key.to_owned(), error },
    })
}

/// Reads all certificates of a file in PEM, of which there must be one at least. Blocks.
pub(super) fn read_certificates(
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let read = |path| CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let all = read(path).map_err(|error| of_pem(path, error))?;
    if all.is_empty() { Err(IdentityError::NoCertificate(path.to_owned())) } else { Ok(all) }
}

pub(super) fn of_pem(path: &Path, error: pem::Error) -> IdentityError {
    let path = path.to_owned();
    match error {
        pem::Error::Io(error) => IdentityError::Read { path, error },
        error => IdentityError::Pem { path, error },
    }
}

/// Reads a file whole. Blocks.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|error| IdentityError::Read { path: path.to_owned(), error })
}

/// Sorts so that the cheapest to use comes first: clients get the first they can verify.
pub(super) fn by_cost(keys: &mut [Arc<CertifiedKey>]) {
    keys.sort_by_key(|key| key.key.algorithm() == rustls::SignatureAlgorithm::RSA);
}
