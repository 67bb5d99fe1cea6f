//! Cookies that clients can't make up, and cookies that they can't read either.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;

type Hmac256 = Hmac<Sha256>;

/// Signs and seals values of cookies.
///
/// Each is bound to the name of its cookie, so that a client can't pass one off as another. It is not
/// bound to a time: put one into the value if an old one must not be used again.
///
/// ```
/// use hemi_web::{CookieKey, SetCookie};
///
/// let key = CookieKey::generate();
/// let cookie = SetCookie::new("user", &key.seal("user", b"17")).unwrap();
/// assert_eq!(key.open("user", cookie.value()).as_deref(), Some(&b"17"[..]));
/// assert_eq!(key.open("admin", cookie.value()), None);
/// ```
#[derive(Clone)]
pub struct CookieKey {
    signing: Hmac256,
    sealing: XChaCha20Poly1305,
}

/// The bytes of a key are fewer than [`CookieKey::LEN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key of cookies needs {} random bytes", CookieKey::LEN)]
pub struct ShortKey;

/// Characters of a signature: 32 bytes in base64.
const SIGNATURE: usize = 43;

/// Bytes of the nonce of XChaCha20: enough for it to be random.
const NONCE: usize = 24;

impl CookieKey {
    /// Bytes that a key is made from, at least.
    pub const LEN: usize = 64;

    /// The key of a secret, which must be random. The same secret makes the same key.
    ///
    /// # Errors
    /// If the secret has less than 64 bytes.
    pub fn from_bytes(secret: &[u8]) -> Result<Self, ShortKey> {
        if secret.len() < Self::LEN { Err(ShortKey) } else { Ok(Self::of(secret)) }
    }

    /// A new key, which nobody else will have: cookies made with it can't be read by the next process.
    #[must_use]
    pub fn generate() -> Self {
        Self::of(&random::<{ Self::LEN }>())
    }

    /// The value with a signature in front, to be verified when the client sends it back.
    #[must_use]
    pub fn sign(&self, name: &str, value: &str) -> String {
        let mut signed = BASE64.encode(self.mac(name, value).finalize().into_bytes());
        signed.push('.');
        signed.push_str(value);
        signed
    }

    /// The value that was signed for a cookie of this name; none if it was not. Takes the same time
    /// whatever is wrong with the signature.
    #[must_use]
    pub fn verify<'a>(&self, name: &str, signed: &'a str) -> Option<&'a str> {
        let (signature, value) = signed.split_at_checked(SIGNATURE)?;
        let value = value.strip_prefix('.')?;
        let signature = BASE64.decode(signature).ok()?;
        self.mac(name, value).verify_slice(&signature).ok()?;
        Some(value)
    }

    /// The value encrypted, as text for a cookie: 54 characters and four for each three bytes.
    #[must_use]
    pub fn seal(&self, name: &str, value: &[u8]) -> String {
        let nonce: [u8; NONCE] = random();
        let payload = Payload { msg: value, aad: name.as_bytes() };
        let sealed = self.sealing.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.expect("less than the 256 GiB that the cipher takes");
        BASE64.encode([&nonce[..], &sealed].concat())
    }

    /// The value that was sealed for a cookie of this name; none if it was not.
    #[must_use]
    pub fn open(&self, name: &str, sealed: &str) -> Option<Vec<u8>> {
        let sealed = BASE64.decode(sealed).ok()?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: sealed, aad: name.as_bytes() };
        self.sealing.decrypt(&XNonce::from(*nonce), payload).ok()
    }

    fn of(secret: &[u8]) -> Self {
        // Each use has a key of its own, derived as HKDF's second step does (RFC 5869 section 2.3).
        let derive = |usage: &[u8]| hmac(secret).chain_update(usage).finalize().into_bytes();
        Self {
            signing: hmac(&derive(b"hemi cookie signing\x01")),
            sealing: XChaCha20Poly1305::new(&derive(b"hemi cookie sealing\x01")),
        }
    }

    fn mac(&self, name: &str, value: &str) -> Hmac256 {
        // The length keeps the two apart.
        let mac = self.signing.clone().chain_update((name.len() as u64).to_be_bytes());
        mac.chain_update(name).chain_update(value)
    }
}

fn hmac(key: &[u8]) -> Hmac256 {
    Hmac256::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("Linux always gives this few random bytes");
    bytes
}

impl std::fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CookieKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> CookieKey {
        CookieKey::from_bytes(&[7; CookieKey::LEN]).expect("long enough")
    }

    #[test]
    fn signed_values() {
        for value in ["", "v", "a.b", "é"] {
            let signed = key().sign("n", value);
            assert_eq!(key().verify("n", &signed), Some(value));
            assert_eq!(key().verify("m", &signed), None);
            assert_eq!(CookieKey::generate().verify("n", &signed), None);
            for at in 0..signed.len() {
                let mut bytes = signed.clone().into_bytes();
                bytes[at] ^= 1;
                let forged = String::from_utf8_lossy(&bytes);
                assert_eq!(key().verify("n", &forged), None, "{forged}");
            }
        }
        assert_ne!(key().sign("ab", "c")[..SIGNATURE], key().sign("a", "bc")[..SIGNATURE]);
        let cut = "é".repeat(SIGNATURE);
        for forged in ["", ".", ".v", "x.v", &*cut, &key().sign("n", "")[..SIGNATURE]] {
            assert_eq!(key().verify("n", forged), None, "{forged}");
        }
    }

    /// Else cookies would be lost by an upgrade. As computed by another program.
    #[test]
    fn the_signature_is_the_same_in_all_versions() {
        assert_eq!(key().sign("n", "v"), "tx8WrVgz5_LSn9RsZGpOzcElw_bPkc5y7Jp_66V1Btc.v");
    }

    #[test]
    fn sealed_values() {
        for value in [&b""[..], b"v", b"\0\xff", &[7; 3000]] {
            let sealed = key().seal("n", value);
            assert_eq!(sealed.len(), ((40 + value.len()) * 4).div_ceil(3));
            assert!(crate::SetCookie::new("n", &key().seal("n", b"v")).is_ok());
            assert_eq!(key().open("n", &sealed).as_deref(), Some(value));
            assert_eq!(key().open("m", &sealed), None);
            assert_eq!(CookieKey::generate().open("n", &sealed), None);
            assert_ne!(key().seal("n", value), sealed);
        }
        let sealed = key().seal("n", b"value");
        for at in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(key().open("n", &forged), None, "{forged}");
        }
        for forged in ["", "AAAA", "%", &sealed[..32], &sealed[..53]] {
            assert_eq!(key().open("n", forged), None, "{forged}");
        }
    }

    #[test]
    fn keys() {
        assert_eq!(CookieKey::from_bytes(&[0; 63]).err(), Some(ShortKey));
        assert!(CookieKey::from_bytes(&[0; 100]).is_ok());
        assert_eq!(format!("{:?}", key()), "CookieKey");
    }
}
