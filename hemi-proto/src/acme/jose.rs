//! Signed requests (RFC 7515 in the form of RFC 8555, 6.2), and names of keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Base64url without `=` (RFC 7515, 2).
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of such a text, with or without `=`; none if it is another.
#[must_use]
pub fn unbase64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

/// The public key of an account: a point of P-256, uncompressed (RFC 7518, 6.2). Written in the form that its
/// thumbprint (RFC 7638) is the SHA-256 of.
#[must_use]
pub fn public_key(point: &[u8; 65]) -> String {
    let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
    format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
}

/// By what a CA knows who signs.
#[derive(Clone, Copy, Debug)]
pub enum Signer<'a> {
    /// By the key itself, as [`public_key`] writes it.
    Key(&'a str),
    /// By the URL of an account, or the id that a CA has given.
    Known(&'a str),
}

/// A request that is still to be signed.
#[derive(Clone, Debug)]
pub struct Unsigned {
    protected: String,
    payload: String,
}

impl Unsigned {
    /// A request to this URL, to be signed by ECDSA with P-256 and SHA-256. Without content it asks for what is
    /// there (RFC 8555, 6.3).
    #[must_use]
    pub fn request(signer: Signer<'_>, nonce: &str, url: &str, content: Option<&Value>) -> Self {
        let mut header = json!({ "alg": "ES256", "nonce": nonce, "url": url });
        signer.name_in(&mut header);
        Self::of(&header, content.map(Value::to_string).unwrap_or_default().as_bytes())
    }

    /// What binds an account's key to what a CA knows otherwise (RFC 8555, 7.3.4), to be signed by HMAC with
    /// SHA-256.
    #[must_use]
    pub fn binding(id: &str, url: &str, public_key: &str) -> Self {
        let mut header = json!({ "alg": "HS256", "url": url });
        Signer::Known(id).name_in(&mut header);
        Self::of(&header, public_key.as_bytes())
    }

    fn of(header: &Value, payload: &[u8]) -> Self {
        Self { protected: base64url(header.to_string().as_bytes()), payload: base64url(payload) }
    }

    /// What is to be signed.
    #[must_use]
    pub fn signed_text(&self) -> String {
        format!("{}.{}", self.protected, self.payload)
    }

    /// The whole, with the signature.
    #[must_use]
    pub fn sign(self, signature: &[u8]) -> Value {
        let Self { protected, payload } = self;
        json!({ "protected": protected, "payload": payload, "signature": base64url(signature) })
    }
}

impl Signer<'_> {
    fn name_in(self, header: &mut Value) {
        match self {
            // It was written by us.
            Self::Key(key) => header["jwk"] = serde_json::from_str(key).unwrap_or_default(),
            Self::Known(id) => header["kid"] = id.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_url_and_who_signs() {
        let mut point = [0; 65];
        point[32] = 1;
        let key = public_key(&point);
        let zeros = "A".repeat(43);
        let x = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE";
        assert_eq!(key, format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{zeros}"}}"#));
        let request = Unsigned::request(Signer::Key(&key), "n", "https://ca.test/a", None);
        let (protected, payload) = request.protected.split_at(request.protected.len());
        assert!(payload.is_empty() && request.payload.is_empty());
        let header: Value = serde_json::from_slice(&unbase64url(protected).unwrap()).unwrap();
        assert_eq!(header["jwk"]["x"], x);
        assert_eq!(header["url"], "https://ca.test/a");
        assert!(header.get("kid").is_none());
        let content = json!({ "a": 1 });
        let request = Unsigned::request(Signer::Known("me"), "n", "u", Some(&content));
        assert_eq!(request.signed_text().split_once('.').unwrap().1, "eyJhIjoxfQ");
        assert_eq!(request.sign(&[0xff])["signature"], "_w");
        let bound = Unsigned::binding("id", "u", &key);
        assert_eq!(unbase64url(&bound.payload).unwrap(), key.as_bytes());
    }
}
