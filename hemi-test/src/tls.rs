//! Certificates made for a test, and what clients over TLS need.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, PublicKeyData, RevocationReason, RevokedCertParams, RsaKeySize, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::client::WantsClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, SupportedCipherSuite, SupportedProtocolVersion,
};

use crate::TempDir;

/// A certificate authority that no one else knows, with a directory for its files.
pub struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate in PEM.
    pub certificate: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
    /// By which the certificate is known to its authority.
    pub serial: SerialNumber,
}

/// What kind of key a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    Ecdsa,
    /// RSA of 2048 bits.
    Rsa,
}

impl Authority {
    /// Makes one of this name.
    ///
    /// # Panics
    /// When no files can be written.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign].to_vec();
        let key = KeyPair::generate().expect("there is randomness");
        let pem = key.serialize_pem();
        let issuer = CertifiedIssuer::self_signed(params, key).expect("the parameters are good");
        let dir = TempDir::new().expect("there is a temporary directory");
        dir.write("ca.key", pem).expect("it can be written to");
        dir.write("ca.pem", issuer.pem()).expect("it can be written to");
        Self { dir, issuer }
    }

    /// The file of its certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Where its files are.
    #[must_use]
    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// A server's certificate for these names.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn server(&self, names: &[&str], kind: KeyKind) -> Identity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let file = names.join("+").replace('*', "_");
        let mut params = CertificateParams::new(names).expect("these are names");
        params.extended_key_usages = [ExtendedKeyUsagePurpose::ServerAuth].to_vec();
        self.issue(&file, params, kind)
    }

    /// The same, with the URL where it is told whether it was revoked (OCSP), and followed by the certificate of the
    /// authority.
    ///
    /// # Panics
    /// When it can't be made, or the URL is long.
    #[must_use]
    pub fn server_asked_at(&self, name: &str, url: &str) -> Identity {
        let mut access = [0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 0x86, url.len() as u8].to_vec();
        access.extend_from_slice(url.as_bytes());
        let len = u8::try_from(access.len()).ok().filter(|len| *len < 0x7e).expect("it is short");
        let access = [&[0x30, len + 2, 0x30, len], &access[..]].concat();
        let mut params = CertificateParams::new([name.to_owned()]).expect("this is a name");
        let access = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access);
        params.custom_extensions.push(access);
        let identity = self.issue(name, params, KeyKind::Ecdsa);
        let mut chain = std::fs::read(&identity.certificate).expect("it was written");
        chain.extend_from_slice(self.issuer.pem().as_bytes());
        std::fs::write(&identity.certificate, chain).expect("it can be written");
        identity
    }

    /// A client's certificate, for this name and URI.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn client(&self, name: &str, uri: &str) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, "Test, Inc.");
        let dns = name.try_into().expect("this is a name");
        let uri = uri.try_into().expect("this is a URI");
        params.subject_alt_names = [SanType::DnsName(dns), SanType::URI(uri)].to_vec();
        params.extended_key_usages = [ExtendedKeyUsagePurpose::ClientAuth].to_vec();
        self.issue(&format!("client-{name}"), params, KeyKind::Ecdsa)
    }

    /// A certificate by these parameters, in files of this name.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn issue(&self, file: &str, mut params: CertificateParams, kind: KeyKind) -> Identity {
        let key = match kind {
            KeyKind::Ecdsa => KeyPair::generate(),
            KeyKind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        let key = key.expect("there is randomness");
        let serial = [&[1], &key.public_key_raw()[20..28]].concat();
        let serial = SerialNumber::from(serial);
        params.serial_number = Some(serial.clone());
        let issued = params.signed_by(&key, &self.issuer).expect("the parameters are good");
        let write = |ending: &str, text: String| {
            self.dir.write(format!("{file}-{kind:?}.{ending}"), text).expect("it can be written")
        };
        let (certificate, key) = (write("pem", issued.pem()), write("key", key.serialize_pem()));
        Identity { certificate, key, serial }
    }

    /// The file of a list that says these are revoked.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn revoke(&self, revoked: &[&Identity]) -> PathBuf {
        let revoked = revoked.iter().map(|identity| RevokedCertParams {
            serial_number: identity.serial.clone(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("the parameters are good");
        let pem = list.pem().expect("it can be encoded");
        self.dir.write("revoked.pem", pem).expect("it can be written")
    }

    /// A client that believes this authority only, of these versions of TLS, with a certificate if
    /// there is one. Clones share the sessions that they have begun.
    ///
    /// # Panics
    /// When the files are gone.
    #[must_use]
    pub fn trusted_by(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> ClientConfig {
        let builder = self.builder(versions, &[]);
        match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.read().expect("the files are there");
                builder.with_client_auth_cert(chain, key).expect("they fit")
            }
        }
    }
}

impl Authority {
    /// The same without a certificate, of these cipher suites only, unless there are none.
    ///
    /// # Panics
    /// When they are not of these versions.
    #[must_use]
    pub fn client_of_suites(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        suites: &[SupportedCipherSuite],
    ) -> ClientConfig {
        self.builder(versions, suites).with_no_client_auth()
    }

    fn builder(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        suites: &[SupportedCipherSuite],
    ) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("the certificate is good");
        let mut provider = aws_lc_rs::default_provider();
        if !suites.is_empty() {
            provider.cipher_suites = suites.to_vec();
        }
        ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .expect("the versions are known")
            .with_root_certificates(roots)
    }
}

impl Identity {
    /// What its files hold.
    ///
    /// # Errors
    /// When they are gone.
    pub fn read(&self) -> io::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let other = |e| io::Error::other(format!("{e}"));
        let certificate = CertificateDer::from_pem_file(&self.certificate).map_err(other)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(other)?;
        Ok((Vec::from([certificate]), key))
    }

    /// The public key, as certificates have it (RFC 5280 section 4.1.2.7).
    ///
    /// # Panics
    /// When the files are gone.
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        let pem = std::fs::read_to_string(&self.key).expect("the file is there");
        KeyPair::from_pem(&pem).expect("it holds a key").subject_public_key_info()
    }

    /// As properties of a webapp.
    #[must_use]
    pub fn properties(&self) -> String {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        format!(".tlsCertificate = \"{certificate}\"  .tlsPrivateKey = \"{key}\"")
    }
}
