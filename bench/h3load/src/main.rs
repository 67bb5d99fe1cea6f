//! `bench-h3load ADDRESS HOST PATH CONNECTIONS STREAMS SECONDS`: asks a server by HTTP/3 for the same again and
//! again, on so many streams of each connection at once, and prints what came of it in the form that
//! `bench/wrk.lua` has. Certificates are not looked at.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use h3::client::SendRequest;
use h3_quinn::OpenStreams;
use http::{Request, Uri};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, TransportConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, host, path, connections, streams, seconds] = args.as_slice() else {
        return Err("usage: bench-h3load ADDRESS HOST PATH CONNECTIONS STREAMS SECONDS".into());
    };
    let address: SocketAddr = address.parse()?;
    let uri: Uri = format!("https://{host}:{}{path}", address.port()).parse()?;
    let mut endpoint = Endpoint::client("0.0.0.0:0".parse()?)?;
    endpoint.set_default_client_config(config()?);
    let start = Instant::now();
    let until = start + Duration::from_secs(seconds.parse()?);
    let mut tasks = Vec::new();
    for _ in 0..connections.parse()? {
        let quic = endpoint.connect(address, host)?.await?;
        let (mut driver, requests) = h3::client::new(h3_quinn::Connection::new(quic)).await?;
        tokio::spawn(async move { driver.wait_idle().await });
        for _ in 0..streams.parse()? {
            tasks.push(tokio::spawn(ask(requests.clone(), uri.clone(), until)));
        }
    }
    let (mut latencies, mut errors) = (Vec::new(), 0);
    for task in tasks {
        let (of_one, failed) = task.await?;
        latencies.extend(of_one);
        errors += failed;
    }
    let took = start.elapsed().as_micros();
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or(0);
    println!(
        "requests={} errors={errors} microseconds={took} p50={} p99={}",
        latencies.len(),
        at(50),
        at(99)
    );
    Ok(())
}

/// Asks until the time is over; gives the microseconds that each answer took, and how many failed.
async fn ask(
    mut requests: SendRequest<OpenStreams, Bytes>,
    uri: Uri,
    until: Instant,
) -> (Vec<u32>, u64) {
    let (mut latencies, mut errors) = (Vec::new(), 0);
    loop {
        let start = Instant::now();
        if start >= until {
            return (latencies, errors);
        }
        match ask_once(&mut requests, uri.clone()).await {
            Ok(true) => {
                latencies.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Ok(false) => errors += 1,
            Err(_) => return (latencies, errors + 1),
        }
    }
}

/// Whether the answer was one that was hoped for.
async fn ask_once(requests: &mut SendRequest<OpenStreams, Bytes>, uri: Uri) -> Result<bool> {
    let mut stream = requests.send_request(Request::get(uri).body(())?).await?;
    stream.finish().await?;
    let head = stream.recv_response().await?;
    while let Some(mut piece) = stream.recv_data().await? {
        piece.advance(piece.remaining());
    }
    Ok(head.status().is_success())
}

fn config() -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = TransportConfig::default();
    let (stream, all) = (1u32 << 20, 8u32 << 20);
    transport.stream_receive_window(stream.into()).receive_window(all.into());
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Believes everybody.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
