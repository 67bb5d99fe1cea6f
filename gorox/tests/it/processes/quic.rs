//! Connections of HTTP/3 while what serves them is replaced.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use h3::client::{RequestStream, SendRequest};
use h3_quinn::{BidiStream, OpenStreams};
use hemi_core::quic::quinn;
use hemi_test::Signal;
use hemi_test::tls::{Authority, Identity, KeyKind};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectionError, Endpoint};

use super::{LARGE, Served, config, kill};
use crate::pong::PATIENCE;

/// A program that serves over TLS and QUIC, and who believes it.
struct Site {
    served: Served,
    client: ClientConfig,
}

impl Site {
    fn start(text: &str, properties: &'static str) -> Self {
        let ca = Authority::new("ca");
        let identity = ca.server(&["one.test"], KeyKind::Ecdsa);
        let mut tls = ca.trusted_by(&[&rustls::version::TLS13], None);
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        // The files are read at each load.
        let (certificate, key) = (read(&identity.certificate), read(&identity.key));
        let served = Served::start_by(text, move |dir, port, text| {
            std::fs::write(dir.join("server.pem"), &certificate).unwrap();
            std::fs::write(dir.join("server.key"), &key).unwrap();
            let identity = Identity {
                certificate: dir.join("server.pem"),
                key: dir.join("server.key"),
                ..identity.clone()
            };
            let webapp = format!("webapp \"w\" {{ {}", identity.properties());
            config(dir, port, text).replace("webapp \"w\" {", &webapp).replace(
                ".webapps",
                &format!(".tlsMode = true  .http3 = true  {properties}  .webapps"),
            )
        });
        Self { served, client }
    }

    async fn connect(&self) -> Client {
        let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        endpoint.set_default_client_config(self.client.clone());
        let address = self.served.program.addr();
        let quic = endpoint.connect(address, "one.test").unwrap().await.unwrap();
        let conn = h3_quinn::Connection::new(quic.clone());
        let (mut driver, requests) = h3::client::new(conn).await.unwrap();
        tokio::spawn(async move { driver.wait_idle().await });
        Client { _endpoint: endpoint, quic, requests }
    }

    /// What a new connection finds at `/`.
    async fn text(&self) -> String {
        let mut download = self.connect().await.get("/").await;
        String::from_utf8(download.rest().await).unwrap()
    }

    /// Does something that takes its time, while clients are heard.
    async fn does(&self, action: &'static str) {
        tokio::task::block_in_place(|| self.served.does(&[action]));
    }
}

struct Client {
    _endpoint: Endpoint,
    quic: quinn::Connection,
    requests: SendRequest<OpenStreams, Bytes>,
}

/// An answer whose head has come.
struct Download {
    stream: RequestStream<BidiStream<Bytes>, Bytes>,
    _client: SendRequest<OpenStreams, Bytes>,
}

impl Client {
    async fn get(&self, path: &str) -> Download {
        let head = http::Request::get(format!("https://one.test{path}")).body(()).unwrap();
        let mut requests = self.requests.clone();
        let mut stream = requests.send_request(head).await.unwrap();
        // The answer may be there before: then this is refused, and not needed.
        let _ = stream.finish().await;
        assert_eq!(stream.recv_response().await.unwrap().status(), 200);
        Download { stream, _client: requests }
    }
}

impl Download {
    /// The content; it waits at the server, but for what a client takes unread.
    async fn rest(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        while let Some(mut piece) = self.stream.recv_data().await.unwrap() {
            let piece = piece.copy_to_bytes(piece.remaining());
            content.extend_from_slice(&piece);
        }
        content
    }
}

fn read(path: &std::path::Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn block_on(future: impl Future) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("it hangs") });
}

#[test]
fn downloads_outlive_the_worker_that_they_began_with() {
    let site = Site::start("one", "");
    block_on(async {
        let mut downloads = Vec::new();
        for change in ["reload", "rework", "rework", "upgrade"] {
            for _ in 0..3 {
                let client = site.connect().await;
                downloads.push((client.get("/large").await, client));
            }
            site.served.configure(change);
            if change == "upgrade" {
                // Refused while others drain: they end with these.
                finish(&mut downloads).await;
                let client = site.connect().await;
                downloads.push((client.get("/large").await, client));
                let done = || site.served.ask(&[change]).code == Some(0);
                let done = tokio::task::block_in_place(|| hemi_test::eventually(PATIENCE, done));
                assert!(done, "{}", site.served.program.stderr());
            } else {
                site.does(change).await;
            }
            // Whoever comes now finds the new one, and the old ones are still heard.
            assert_eq!(site.text().await, change);
        }
        finish(&mut downloads).await;
    });
}

async fn finish(downloads: &mut Vec<(Download, Client)>) {
    for (mut download, _client) in downloads.drain(..) {
        assert_eq!(download.rest().await.len() as u64, LARGE);
    }
}

#[test]
fn clients_hear_at_once_that_their_worker_has_died() {
    let site = Site::start("one", "");
    block_on(async {
        let client = site.connect().await;
        assert_eq!(client.get("/").await.rest().await, b"one");
        let worker = tokio::task::block_in_place(|| {
            let worker = site.served.worker();
            kill(worker, Signal::KILL);
            site.served.worker_after(worker)
        });
        // What it sends from now on is answered by the next worker (RFC 9000 section 10.3).
        while client.quic.close_reason().is_none() {
            let _ = client.quic.open_uni().await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.quic.closed().await, ConnectionError::Reset);
        assert_eq!(site.text().await, "one");
        assert_ne!(worker, 0);
    });
}

#[test]
fn tokens_of_one_worker_are_good_for_the_next() {
    // Every client has to prove its address, and is given a token for that.
    let site = Site::start("one", ".quicRetryAbove = 0");
    block_on(async {
        for action in ["rework", "rework"] {
            assert_eq!(site.text().await, "one");
            site.does(action).await;
        }
    });
}
