//! What clients are shown besides the certificate, or instead of it.

use std::sync::{Arc, Mutex};

use hemi_test::raw::Client;
use hemi_test::tls::KeyKind;
use hemi_web::WebappKind;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::Setting;

/// Believes everything, and notes what it is shown.
#[derive(Debug)]
struct Notes {
    provider: Arc<CryptoProvider>,
    certificate: Mutex<Vec<u8>>,
    ocsp: Mutex<Vec<u8>>,
}

impl Notes {
    /// A client that takes such notes, and speaks this protocol.
    fn client(protocol: &str) -> (Arc<Self>, Arc<ClientConfig>) {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (certificate, ocsp) = (Mutex::default(), Mutex::default());
        let notes = Arc::new(Self { provider: provider.clone(), certificate, ocsp });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(notes.clone())
            .with_no_client_auth();
        config.alpn_protocols = [protocol.as_bytes().to_vec()].to_vec();
        (notes, Arc::new(config))
    }
}

impl ServerCertVerifier for Notes {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.certificate.lock().unwrap() = certificate.to_vec();
        *self.ocsp.lock().unwrap() = ocsp.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn the_answer_of_the_ca_is_shown_with_the_certificate() {
    let setting = Setting::new();
    let file = setting.ca.dir().write("ocsp.der", b"an answer").unwrap();
    let site = setting.site("", &format!(".tlsOcspResponse = \"{}\"", file.display()));
    let (notes, client) = Notes::client("http/1.1");
    Client::connect_tls(site.addr(), "two.test", &client).unwrap();
    assert_eq!(*notes.ocsp.lock().unwrap(), b"an answer");
    Client::connect_tls(site.addr(), "one.test", &client).unwrap();
    assert_eq!(*notes.ocsp.lock().unwrap(), b"");
}

#[test]
fn who_checks_a_name_by_tls_is_shown_the_challenge_and_nobody_else() {
    let setting = Setting::new();
    let site = setting.site("", "");
    let (chain, key) = setting.ca.server(&["challenge.test"], KeyKind::Ecdsa).read().unwrap();
    let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).unwrap();
    let challenge = key.cert[0].to_vec();
    let webapp = site.stage().find::<WebappKind>("one").unwrap();
    let shown = |name: &str, protocol| {
        let (notes, client) = Notes::client(protocol);
        let connected = Client::connect_tls(site.addr(), name, &client);
        connected.map(|_| notes.certificate.lock().unwrap().clone())
    };
    assert!(shown("one.test", "acme-tls/1").is_err());
    webapp.site().unwrap().challenge("one.test", Arc::new(key));
    assert_eq!(shown("one.test", "acme-tls/1").unwrap(), challenge);
    assert!(shown("a.one.test", "acme-tls/1").is_err());
    assert_ne!(shown("one.test", "http/1.1").unwrap(), challenge);
    webapp.site().unwrap().end_challenge("one.test");
    assert!(shown("one.test", "acme-tls/1").is_err());
}
