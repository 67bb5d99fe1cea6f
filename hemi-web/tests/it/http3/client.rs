//! Clients of HTTP/3.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::{Buf as _, Bytes, BytesMut};
use h3::client::SendRequest;
use h3_quinn::OpenStreams;
use hemi_core::quic::quinn;
use hemi_test::tls::{Authority, Identity, KeyKind};
use http::{HeaderMap, Request, Response};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint};
use sha2::{Digest as _, Sha256};

use crate::site::{PATIENCE, Site};

/// Runs a test's clients, for as long as a test may take.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let within = async { tokio::time::timeout(PATIENCE, future).await.expect("it took too long") };
    runtime.block_on(within)
}

/// Who signs the certificate of the server, and believes it.
pub(crate) struct Setting {
    pub(crate) ca: Authority,
    one: Identity,
    small: Identity,
    tls: rustls::ClientConfig,
}

impl Setting {
    pub(crate) fn new() -> Self {
        let ca = Authority::new("ca");
        let one = ca.server(&["one.test"], KeyKind::Ecdsa);
        let small = ca.server(&["small.test"], KeyKind::Ecdsa);
        let mut tls = ca.trusted_by(&[&rustls::version::TLS13], None);
        tls.alpn_protocols = vec![b"h3".to_vec()];
        tls.enable_early_data = true;
        Self { ca, one, small, tls }
    }

    /// A server over TCP and QUIC with these properties.
    pub(crate) fn site(&self, properties: &str) -> Site {
        Site::of(&self.config(properties))
    }

    pub(crate) fn config(&self, properties: &str) -> String {
        format!(
            r#"stage {{
                webapp "small" {{
                    .hostnames = ("small.test")  .maxBodySize = 1K  {}  rule {{ probe {{}} }}
                }}
                webapp "one" {{
                    .hostnames = ("one.test")  .maxBodySize = 100M  {}
                    rule $path == "/version" {{ .returnCode = 200  .returnText = $version }}
                    rule {{ shout {{}}  packets {{}}  probe {{}} }}
                }}
                httpxServer "main" {{
                    .address = "127.0.0.1:0"  .webapps = ("one", "small")
                    .tlsMode = true  .http3 = true  {properties}
                }}
            }}"#,
            self.small.properties(),
            self.one.properties(),
        )
    }

    /// A server whose webapp `small.test` demands this of its clients.
    pub(crate) fn demanding(&self, demands: &str, properties: &str) -> Site {
        let rule = "rule { probe {} }";
        Site::of(&self.config(properties).replacen(rule, &format!("{demands}  {rule}"), 1))
    }

    /// The hash of the server's public key, as browsers take it.
    pub(crate) fn spki(&self) -> String {
        BASE64_STANDARD.encode(Sha256::digest(self.one.public_key()))
    }

    pub(crate) fn quic(&self) -> ClientConfig {
        Self::quic_of(self.tls.clone())
    }

    /// A client with this certificate.
    pub(crate) fn quic_as(&self, identity: &Identity) -> ClientConfig {
        let mut tls = self.ca.trusted_by(&[&rustls::version::TLS13], Some(identity));
        tls.alpn_protocols = self.tls.alpn_protocols.clone();
        tls.enable_early_data = true;
        Self::quic_of(tls)
    }

    fn quic_of(tls: rustls::ClientConfig) -> ClientConfig {
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        endpoint.set_default_client_config(self.quic());
        endpoint
    }
}

/// The client of the crate `h3`.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) endpoint: Endpoint,
    pub(crate) quic: Connection,
    requests: SendRequest<OpenStreams, Bytes>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    pub(crate) content: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.content.to_vec()).unwrap()
    }
}

impl Client {
    pub(crate) async fn connect(setting: &Setting, site: &Site) -> Self {
        Self::connect_to("one.test", setting, site).await
    }

    pub(crate) async fn connect_to(name: &str, setting: &Setting, site: &Site) -> Self {
        let endpoint = setting.endpoint();
        let quic = endpoint.connect(site.addr(), name).unwrap().await.unwrap();
        Self::over(endpoint, quic).await
    }

    pub(crate) async fn over(endpoint: Endpoint, quic: Connection) -> Self {
        let conn = h3_quinn::Connection::new(quic.clone());
        let (mut driver, requests) = h3::client::new(conn).await.unwrap();
        tokio::spawn(async move { driver.wait_idle().await });
        Self { endpoint, quic, requests }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(Request::get(format!("https://one.test{path}")), &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, content: &[Bytes]) -> Answer {
        self.request(Request::post(format!("https://one.test{path}")), content, None).await
    }

    pub(crate) async fn request(
        &self,
        head: http::request::Builder,
        content: &[Bytes],
        trailers: Option<HeaderMap>,
    ) -> Answer {
        self.try_request(head, content, trailers).await.unwrap()
    }

    pub(crate) async fn try_request(
        &self,
        head: http::request::Builder,
        content: &[Bytes],
        trailers: Option<HeaderMap>,
    ) -> Result<Answer, h3::error::StreamError> {
        let mut requests = self.requests.clone();
        let stream = requests.send_request(head.body(()).unwrap()).await?;
        let (mut send, mut recv) = stream.split();
        let sending = async {
            for piece in content {
                // The server may have answered without it.
                if send.send_data(piece.clone()).await.is_err() {
                    return;
                }
            }
            if let Some(trailers) = trailers {
                let _ = send.send_trailers(trailers).await;
            }
            let _ = send.finish().await;
        };
        let receiving = async {
            let head = recv.recv_response().await?;
            let mut content = BytesMut::new();
            while let Some(mut piece) = recv.recv_data().await? {
                let piece = piece.copy_to_bytes(piece.remaining());
                content.extend_from_slice(&piece);
            }
            let trailers = recv.recv_trailers().await?;
            Ok(Answer { head, content: content.freeze(), trailers })
        };
        tokio::join!(sending, receiving).1
    }

    /// Sends some content and no end.
    pub(crate) async fn post_unfinished(&self, path: &str, content: &'static [u8]) -> Answer {
        let head = Request::post(format!("https://one.test{path}")).body(()).unwrap();
        let mut stream = self.requests.clone().send_request(head).await.unwrap();
        stream.send_data(Bytes::from_static(content)).await.unwrap();
        let head = stream.recv_response().await.unwrap();
        let mut content = BytesMut::new();
        while let Some(mut piece) = stream.recv_data().await.unwrap() {
            let piece = piece.copy_to_bytes(piece.remaining());
            content.extend_from_slice(&piece);
        }
        Answer { head, content: content.freeze(), trailers: None }
    }
}

/// A connection on which nothing is said that a test does not say.
pub(crate) struct Raw {
    pub(crate) quic: Connection,
    _endpoint: Endpoint,
}

impl Raw {
    pub(crate) async fn connect(setting: &Setting, address: SocketAddr) -> Self {
        let endpoint = setting.endpoint();
        let quic = endpoint.connect(address, "one.test").unwrap().await.unwrap();
        Self { quic, _endpoint: endpoint }
    }

    /// Says something on a stream of its own, in this direction only, which stays open.
    pub(crate) async fn say(&self, bytes: &[u8]) -> quinn::SendStream {
        let mut stream = self.quic.open_uni().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// Sends a request, and reads what comes back.
    pub(crate) async fn ask(&self, bytes: &[u8]) -> Result<Vec<u8>, quinn::ReadToEndError> {
        let (mut send, mut recv) = self.quic.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        let _ = send.finish();
        recv.read_to_end(1 << 20).await
    }

    /// With which code the server closes the connection.
    pub(crate) async fn closed(&self) -> u64 {
        match tokio::time::timeout(PATIENCE / 2, self.quic.closed()).await {
            Ok(quinn::ConnectionError::ApplicationClosed(closed)) => closed.error_code.into(),
            Ok(other) => panic!("{other:?}"),
            // It is still open, and no code is 0.
            Err(_) => 0,
        }
    }
}
