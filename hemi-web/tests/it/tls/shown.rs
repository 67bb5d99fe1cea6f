//! What clients are shown besides the certificate, or instead of it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use hemi_proto::ocsp::{Response, Status};
use hemi_test::raw::Client;
use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{TempDir, eventually, peer};
use hemi_web::WebappKind;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::Setting;
use crate::site::{PATIENCE, Site};

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

/// Has openssl answer one request.
fn respond(listener: &TcpListener, openssl: &Path, dir: &Path) {
    let (mut peer, _) = listener.accept().unwrap();
    let (mut request, end) = (Vec::new(), b"\r\n\r\n");
    let content = loop {
        let mut piece = [0; 1000];
        let read = peer.read(&mut piece).unwrap();
        assert_ne!(read, 0, "the client has gone");
        request.extend_from_slice(&piece[..read]);
        // The question is sent with the head, and is whole.
        if let Some(at) = request.windows(4).position(|four| four == end) {
            break request.split_off(at + 4);
        }
    };
    fs::write(dir.join("request.der"), content).unwrap();
    let mut command = Command::new(openssl);
    command.args([
        "ocsp",
        "-ndays",
        "7",
        "-index",
        "index.txt",
        "-CA",
        "ca.pem",
        "-rsigner",
        "ca.pem",
    ]);
    command.args(["-rkey", "ca.key", "-reqin", "request.der", "-respout", "answer.der"]);
    let ran = command.current_dir(dir).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let answer = fs::read(dir.join("answer.der")).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
    peer.write_all(&[head.as_bytes(), &answer].concat()).unwrap();
}

#[test]
fn the_answer_of_the_ca_is_fetched_and_kept() {
    let Some(openssl) = peer("openssl") else { return };
    let (ca, kept) = (Authority::new("ca"), TempDir::new().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let one = ca.server_asked_at("one.test", &url);
    let serial: String = one.serial.to_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
    let line = format!("V\t991231235959Z\t\t{serial}\tunknown\t/CN=one\n");
    ca.dir().write("index.txt", line).unwrap();
    let dir = ca.dir().path().to_owned();
    // Answers once, and has gone.
    let responder = thread::spawn(move || respond(&listener, &openssl, &dir));
    let config = format!(
        r#"stage {{
            webapp "one" {{ .hostnames = ("one.test")  {}  rule {{ probe {{}} }} }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("one")  .tlsMode = true }}
        }}"#,
        one.properties()
    );
    let site = Site::kept_in(kept.path(), &config);
    let (notes, client) = Notes::client("http/1.1");
    let shown = |site: &Site| {
        Client::connect_tls(site.addr(), "one.test", &client).unwrap();
        notes.ocsp.lock().unwrap().clone()
    };
    assert!(eventually(PATIENCE, || !shown(&site).is_empty()));
    responder.join().unwrap();
    let answer = shown(&site);
    assert_eq!(Response::parse(&answer).unwrap().singles[0].status, Status::Good);
    site.quit();
    let again = Site::kept_in(kept.path(), &config);
    assert!(eventually(PATIENCE, || shown(&again) == answer));
    again.quit();
    let off = config.replace("one.test\")", "one.test\")  .tlsOcspFetch = false");
    assert!(shown(&Site::kept_in(kept.path(), &off)).is_empty());
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
