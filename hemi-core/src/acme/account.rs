//! An account with a CA: a key, and the URL that the CA knows it by (RFC 8555, 7.3).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use hemi_proto::acme::jose::{Signer, Unsigned, base64url, public_key};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

use super::ca::Binding;
use super::error::Why;
use super::store::Document;

/// An account with a CA.
pub(super) struct Account {
    key: EcdsaKeyPair,
    /// As requests name it.
    public: String,
    /// By which the CA knows it; empty until it does.
    url: String,
    pem: String,
}

/// The field of a stored account that has its URL.
const URL: &str = "account";

impl Account {
    /// A new one, that no CA knows yet.
    pub(super) fn new() -> Result<Self, Why> {
        let pem = rcgen::KeyPair::generate().map_err(no_key)?.serialize_pem();
        Self::of(Document { fields: Vec::new(), pem })
    }

    /// The account that a file holds.
    pub(super) fn of(document: Document) -> Result<Self, Why> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(document.pem.as_bytes()).map_err(no_key)?;
        let der = der.secret_pkcs8_der();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map_err(no_key)?;
        let point = key.public_key().as_ref().try_into().map_err(no_key)?;
        let url = document.field(URL).unwrap_or_default().to_owned();
        Ok(Self { public: public_key(point), key, url, pem: document.pem })
    }

    /// As it is kept.
    pub(super) fn document(&self) -> Document {
        let fields = Vec::from([(URL.to_owned(), self.url.clone())]);
        Document { fields, pem: self.pem.clone() }
    }

    pub(super) fn is_known(&self) -> bool {
        !self.url.is_empty()
    }

    /// The same, known to the CA by this URL.
    pub(super) fn known_by(self, url: String) -> Self {
        Self { url, ..self }
    }

    /// A signed request.
    pub(super) fn sign(
        &self,
        nonce: &str,
        url: &str,
        content: Option<&Value>,
    ) -> Result<Value, Why> {
        let signer =
            if self.is_known() { Signer::Known(&self.url) } else { Signer::Key(&self.public) };
        let request = Unsigned::request(signer, nonce, url, content);
        let text = request.signed_text();
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).map_err(no_key)?;
        Ok(request.sign(signature.as_ref()))
    }

    /// What binds the key to what the CA knows otherwise.
    pub(super) fn bind(&self, binding: &Binding, url: &str) -> Value {
        let request = Unsigned::binding(&binding.id, url, &self.public);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &binding.key);
        let signature = hmac::sign(&key, request.signed_text().as_bytes());
        request.sign(signature.as_ref())
    }

    /// What a challenge with this token is answered by (RFC 8555, 8.1).
    pub(super) fn authorize(&self, token: &str) -> String {
        let thumbprint = digest(&SHA256, self.public.as_bytes());
        format!("{token}.{}", base64url(thumbprint.as_ref()))
    }
}

fn no_key(e: impl std::fmt::Display) -> Why {
    Why::Key(format!("the account's key can't be used: {e}"))
}
