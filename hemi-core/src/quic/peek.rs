//! Whom a client of QUIC asks for, seen by somebody who passes its first packets on: they are sealed with keys that
//! everybody can make.

use hemi_proto::client_hello::ClientHello;
use hemi_proto::quic_initial::{Hello, Initial, Version};
use rustls::Side;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::DirectionalKeys;

/// Looks at what a client sends first.
#[derive(Default)]
pub struct Peek {
    hello: Hello,
    /// Those of the client's very first packet.
    keys: Option<DirectionalKeys>,
}

/// What was seen.
#[derive(Debug)]
pub enum Peeked {
    /// All that the client says first.
    Hello(ClientHello),
    /// A part of it.
    More,
    /// Nothing that begins a connection.
    Nothing,
}

impl Peek {
    /// Looks at the next datagram.
    pub fn see(&mut self, mut datagram: &[u8]) -> Peeked {
        let mut seen = Peeked::Nothing;
        while let Some(initial) = Initial::take(&mut datagram) {
            let Some(frames) = self.open(&initial) else { return Peeked::Nothing };
            seen = match self.hello.add(&frames) {
                Ok(Some(hello)) => return Peeked::Hello(hello),
                Ok(None) => Peeked::More,
                Err(_) => return Peeked::Nothing,
            };
        }
        seen
    }

    fn open(&mut self, initial: &Initial<'_>) -> Option<Vec<u8>> {
        if self.keys.is_none() {
            self.keys = Some(keys(initial)?);
        }
        let keys = self.keys.as_ref()?;
        let (mut first, mut number) = initial.masked();
        keys.header.decrypt_in_place(initial.sample(), &mut first, &mut number).ok()?;
        let (number, head, mut sealed) = initial.unmasked(first, number);
        let len = keys.packet.decrypt_in_place(number, &head, &mut sealed).ok()?.len();
        sealed.truncate(len);
        Some(sealed)
    }
}

/// The keys of what a client sends, by its first packet.
fn keys(initial: &Initial<'_>) -> Option<DirectionalKeys> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13()?.quic_suite()?;
    let version = match initial.version {
        Version::One => rustls::quic::Version::V1,
        Version::Two => rustls::quic::Version::V2,
    };
    Some(suite.keys(initial.id, Side::Server, version).remote)
}

impl std::fmt::Debug for Peek {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peek").field("hello", &self.hello).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_is_nothing() {
        for bytes in [&b""[..], b"\xc0", &[0xc0; 1200], b"no QUIC at all"] {
            assert!(matches!(Peek::default().see(bytes), Peeked::Nothing));
        }
        // Sealed by nobody.
        let mut forged = b"\xc3\0\0\0\x01\x08\x01\x02\x03\x04\x05\x06\x07\x08\0\0\x40\x40".to_vec();
        forged.extend([7; 64]);
        assert!(matches!(Peek::default().see(&forged), Peeked::Nothing));
    }
}
