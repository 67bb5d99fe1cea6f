//! Handshakes of QUIC that are begun and left there.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::kx_group::X25519;
use rustls::pki_types::ServerName;
use rustls::quic::{ClientConnection, Keys, Version};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, Side};

use super::Tally;

/// Bytes of a datagram that a server answers at all (RFC 9000, 14.1).
const DATAGRAM: usize = 1200;

/// Bytes of the number of a packet, which is 0.
const NUMBER: usize = 4;

/// Bytes that protect a packet's content.
const TAG: usize = 16;

/// Sends first packets of connections, of which no more is heard.
pub(super) fn half_open(addr: SocketAddr, tally: &Tally) {
    let hello = client_hello();
    let mut id = u64::from(std::process::id());
    while !tally.is_over() {
        // Another socket after a while, as if it were another client.
        let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) else { continue };
        let unique = u64::from(socket.local_addr().map_or(0, |addr| addr.port())) << 40;
        for _ in 0..100 {
            id += 1;
            let datagram = initial(unique | id, &hello);
            if socket.send_to(&datagram, addr).is_ok() {
                tally.add(1);
            }
        }
    }
}

/// What TLS has to say first.
fn client_hello() -> Vec<u8> {
    // By the shortest key, for all to be in one datagram.
    let provider =
        rustls::crypto::CryptoProvider { kx_groups: vec![X25519], ..aws_lc_rs::default_provider() };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3 has X25519")
        .with_root_certificates(RootCertStore::empty());
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"h3".to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    // `initial_source_connection_id` of no bytes (RFC 9000, 18.2).
    let params = vec![0x0f, 0];
    let client = ClientConnection::new(Arc::new(config), Version::V1, name, params);
    let mut hello = Vec::new();
    client.expect("a client").write_hs(&mut hello);
    hello
}

/// The first packet of a connection (RFC 9000, 17.2.2; RFC 9001, 5).
fn initial(id: u64, hello: &[u8]) -> Vec<u8> {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = suite.tls13().and_then(|suite| suite.quic_suite()).expect("it is one of QUIC");
    let id = id.to_be_bytes();
    let keys = Keys::initial(Version::V1, suite.suite, suite.quic, &id, Side::Client);
    let mut packet = vec![0xc0 | (NUMBER as u8 - 1), 0, 0, 0, 1, id.len() as u8];
    packet.extend_from_slice(&id);
    // No id of the source, no token.
    packet.extend_from_slice(&[0, 0]);
    let rest = DATAGRAM - packet.len() - 2;
    packet.extend_from_slice(&(rest as u16 | 0x4000).to_be_bytes());
    packet.extend_from_slice(&[0; NUMBER]);
    let mut payload = vec![0x06, 0];
    payload.extend_from_slice(&(hello.len() as u16 | 0x4000).to_be_bytes());
    payload.extend_from_slice(hello);
    payload.resize(rest - NUMBER - TAG, 0);
    let tag = keys.local.packet.encrypt_in_place(0, &packet, &mut payload).expect("it is sealed");
    let number = packet.len() - NUMBER;
    let sample = payload[..keys.local.header.sample_len()].to_vec();
    let (head, numbers) = packet.split_at_mut(number);
    let sealed = keys.local.header.encrypt_in_place(&sample, &mut head[0], numbers);
    sealed.expect("a sample of the right length");
    packet.extend_from_slice(&payload);
    packet.extend_from_slice(tag.as_ref());
    packet
}
