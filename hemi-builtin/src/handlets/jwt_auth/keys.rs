//! Keys that verify signatures of tokens (RFC 7517, RFC 7518).

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, EcdsaVerificationAlgorithm,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hemi_core::config::ConfigType;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// A text that names no algorithm, or one that is no use.
#[derive(Debug, thiserror::Error)]
#[error("tokens are not verified by \"{0}\": write RS256, PS256, ES256, ES384, EdDSA or HS256")]
pub(crate) struct BadAlgorithm(String);

/// What an algorithm works with.
enum Method {
    Secret(hmac::Algorithm),
    Rsa(&'static RsaParameters),
    /// On the curve of this name.
    Ec(&'static str, &'static EcdsaVerificationAlgorithm),
    Ed25519,
}

impl Algorithm {
    /// Of public keys, those that need no second thought.
    pub(super) const USUAL: [Self; 5] =
        [Self::Rs256, Self::Es256, Self::EdDsa, Self::Ps256, Self::Es384];

    const ALL: [(&'static str, Self); 12] = [
        ("HS256", Self::Hs256),
        ("HS384", Self::Hs384),
        ("HS512", Self::Hs512),
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
    ];

    /// That of this name; case matters (RFC 7515, 4.1.1).
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, algorithm)| algorithm)
    }

    /// Bytes that a secret for it must have at least (RFC 7518, 3.2); none if it works with public keys.
    pub(super) fn secret_len(self) -> Option<usize> {
        match self.method() {
            Method::Secret(algorithm) => Some(algorithm.tag_len()),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }

    fn method(self) -> Method {
        match self {
            Self::Hs256 => Method::Secret(hmac::HMAC_SHA256),
            Self::Hs384 => Method::Secret(hmac::HMAC_SHA384),
            Self::Hs512 => Method::Secret(hmac::HMAC_SHA512),
            Self::Rs256 => Method::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Method::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Method::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Method::Rsa(&RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Method::Rsa(&RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Method::Rsa(&RSA_PSS_2048_8192_SHA512),
            Self::Es256 => Method::Ec("P-256", &ECDSA_P256_SHA256_FIXED),
            Self::Es384 => Method::Ec("P-384", &ECDSA_P384_SHA384_FIXED),
            Self::EdDsa => Method::Ed25519,
        }
    }
}

impl TryFrom<String> for Algorithm {
    type Error = BadAlgorithm;

    fn try_from(name: String) -> Result<Self, BadAlgorithm> {
        Self::named(&name).ok_or(BadAlgorithm(name))
    }
}

impl ConfigType for Algorithm {
    fn kind() -> Cow<'static, str> {
        "algorithm".into()
    }

    fn show(&self) -> String {
        self.name().to_owned().show()
    }
}

/// A key, for those algorithms only that it is meant for and that are allowed (RFC 8725, 3.1).
pub(crate) struct Key {
    id: Option<String>,
    verifiers: Vec<(Algorithm, Verifier)>,
}

enum Verifier {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// Keys in a set, at most: each is tried for a token that names none.
const KEYS: usize = 100;

/// Bytes of an RSA key's modulus, at least.
const RSA_LEN: usize = 256;

/// Why there is no key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadKeys {
    #[error("it is not PEM")]
    Pem,
    #[error("it has no public key; one begins with `-----BEGIN PUBLIC KEY-----`")]
    None,
    #[error("its key is of a kind that none of the algorithms works with")]
    Unfit,
    #[error("it is not a set of keys in JSON: {0}")]
    Json(String),
    #[error("none of its keys can be used with one of the algorithms")]
    NoneFits,
    #[error("it has more than 100 keys")]
    Many,
}

impl Key {
    pub(super) fn secret(secret: &[u8], allowed: &[Algorithm]) -> Self {
        let verifier = |algorithm: &Algorithm| match algorithm.method() {
            Method::Secret(hmac) => {
                Some((*algorithm, Verifier::Secret(hmac::Key::new(hmac, secret).into())))
            }
            _ => None,
        };
        Self { id: None, verifiers: allowed.iter().filter_map(verifier).collect() }
    }

    /// The public keys in a PEM file.
    pub(super) fn all_of_pem(pem: &str, allowed: &[Algorithm]) -> Result<Vec<Self>, BadKeys> {
        let mut keys = Vec::new();
        for der in SubjectPublicKeyInfoDer::pem_slice_iter(pem.as_bytes()) {
            let der = der.map_err(|_| BadKeys::Pem)?;
            // Which kind of key it is says the DER, and for another kind it is refused.
            let verifier = |algorithm: &Algorithm| {
                let key = match algorithm.method() {
                    Method::Secret(_) => None,
                    Method::Rsa(rsa) => ParsedPublicKey::new(rsa, &der).ok(),
                    Method::Ec(_, ec) => ParsedPublicKey::new(ec, &der).ok(),
                    Method::Ed25519 => ParsedPublicKey::new(&ED25519, &der).ok(),
                };
                key.map(|key| (*algorithm, Verifier::Public(key)))
            };
            let verifiers: Vec<_> = allowed.iter().filter_map(verifier).collect();
            if verifiers.is_empty() {
                return Err(BadKeys::Unfit);
            }
            keys.push(Self { id: None, verifiers });
        }
        if keys.is_empty() { Err(BadKeys::None) } else { Ok(keys) }
    }

    /// The keys of a JSON Web Key Set (RFC 7517, 5); those that are of no use here are left out.
    pub(super) fn all_of_jwks(json: &[u8], allowed: &[Algorithm]) -> Result<Vec<Self>, BadKeys> {
        let set: JwkSet = serde_json::from_slice(json).map_err(|e| BadKeys::Json(e.to_string()))?;
        if set.keys.len() > KEYS {
            return Err(BadKeys::Many);
        }
        let jwks = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        let keys: Vec<_> = jwks.filter_map(|jwk: Jwk| jwk.into_key(allowed)).collect();
        if keys.is_empty() { Err(BadKeys::NoneFits) } else { Ok(keys) }
    }

    /// Whether it has this id; one without an id may be any.
    pub(super) fn may_be(&self, id: Option<&str>) -> bool {
        self.id.is_none() || id.is_none() || self.id.as_deref() == id
    }

    pub(super) fn is(&self, id: &str) -> bool {
        self.id.as_deref() == Some(id)
    }

    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let of_this = self.verifiers.iter().find(|(known, _)| *known == algorithm);
        of_this.is_some_and(|(_, verifier)| match verifier {
            Verifier::Secret(key) => hmac::verify(key, signed, signature).is_ok(),
            Verifier::Public(key) => key.verify_sig(signed, signature).is_ok(),
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms = self.verifiers.iter().map(|(algorithm, _)| algorithm.name());
        write!(f, "{:?} {:?}", self.id, algorithms.collect::<Vec<_>>())
    }
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    fn into_key(self, allowed: &[Algorithm]) -> Option<Key> {
        let signs = self.purpose.as_ref().is_none_or(|purpose| purpose == "sig");
        let verifies = self.key_ops.as_ref().is_none_or(|all| all.iter().any(|op| op == "verify"));
        if !signs || !verifies {
            return None;
        }
        let of_key = self.alg.as_ref().map(|name| Algorithm::named(name));
        let fits = |algorithm: &&Algorithm| of_key.is_none_or(|only| only == Some(**algorithm));
        let verifier = |algorithm: &Algorithm| {
            Some((*algorithm, Verifier::Public(self.public(algorithm.method())?)))
        };
        let verifiers: Vec<_> = allowed.iter().filter(fits).filter_map(verifier).collect();
        (!verifiers.is_empty()).then_some(Key { id: self.kid, verifiers })
    }

    fn public(&self, method: Method) -> Option<ParsedPublicKey> {
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        let is_on = |curve| self.crv.as_deref() == Some(curve);
        match (&*self.kty, method) {
            ("RSA", Method::Rsa(rsa)) => {
                let (n, e) = (bytes(&self.n)?, bytes(&self.e)?);
                let long_enough = n.len() >= RSA_LEN;
                long_enough
                    .then(|| RsaPublicKeyComponents { n, e }.to_parsed_public_key(rsa).ok())?
            }
            ("EC", Method::Ec(curve, ec)) if is_on(curve) => {
                // A point, not compressed (SEC 1, 2.3.3).
                let point = [vec![4], bytes(&self.x)?, bytes(&self.y)?].concat();
                ParsedPublicKey::new(ec, point).ok()
            }
            ("OKP", Method::Ed25519) if is_on("Ed25519") => {
                ParsedPublicKey::new(&ED25519, bytes(&self.x)?).ok()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use hemi_proto::jws::Jws;

    use super::*;

    fn verifies(keys: &[Key], algorithm: Algorithm, token: &str) -> bool {
        let jws = Jws::parse(token.as_bytes()).unwrap();
        keys.iter().any(|key| key.verifies(algorithm, jws.signed, &jws.signature))
    }

    /// The examples of RFC 7515, A.2 and A.3, and RFC 8037, A.4: a key and what it has signed.
    const EXAMPLES: [(Algorithm, &str, &str); 3] = [
        (
            Algorithm::Rs256,
            r#"{"kty": "RSA", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ", "e": "AQAB"}"#,
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            Algorithm::Es256,
            r#"{"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            Algorithm::EdDsa,
            r#"{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ];

    #[test]
    fn examples_of_the_standards_are_verified() {
        for (algorithm, jwk, token) in EXAMPLES {
            let set = format!(r#"{{"keys": [{jwk}]}}"#);
            let keys = Key::all_of_jwks(set.as_bytes(), &Algorithm::USUAL).unwrap();
            for other in Algorithm::USUAL {
                assert_eq!(verifies(&keys, other, token), other == algorithm, "{other:?} {token}");
            }
            let changed = token
                .replacen("joe", "eve", 1)
                .replacen("RXhh", "RXhi", 1)
                .replacen("am9l", "ZXZl", 1);
            assert!(changed == token || !verifies(&keys, algorithm, &changed), "{changed}");
        }
        let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let secret = URL_SAFE_NO_PAD.decode(secret).unwrap();
        let keys = [Key::secret(&secret, &[Algorithm::Hs256])];
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert!(verifies(&keys, Algorithm::Hs256, token));
        assert!(!verifies(&keys, Algorithm::Hs512, token));
    }

    #[test]
    fn keys_that_are_for_something_else_are_left_out() {
        let (_, jwk, _) = EXAMPLES[2];
        for (more, good) in [
            ("", true),
            (r#", "use": "sig", "alg": "EdDSA", "key_ops": ["sign", "verify"]"#, true),
            (r#", "use": "enc""#, false),
            (r#", "alg": "RS256""#, false),
            (r#", "alg": "RSA-OAEP""#, false),
            (r#", "key_ops": ["encrypt"]"#, false),
            (r#", "kid": 7"#, false),
        ] {
            let set = format!(r#"{{"keys": [{}{more}}}]}}"#, jwk.trim_end_matches('}'));
            let keys = Key::all_of_jwks(set.as_bytes(), &Algorithm::USUAL);
            assert_eq!(keys.is_ok(), good, "{more}");
        }
    }

    #[test]
    fn keys_of_openssl_are_read() {
        let ed = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAw8/Ve9wsyZzg6wFl9d0K3tgvN58vT8dcbdHO6bT+3xo=\n-----END PUBLIC KEY-----\n";
        let ec = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEd0EeZ3LjcFuNwlufYwbaefRfTO0N\nJSSFe4NboffTMT3Ivv0m6USETzygQLSm1Jp0xiq8l67vayIb5KRHi6AVkQ==\n-----END PUBLIC KEY-----\n";
        let keys = Key::all_of_pem(&[ed, ec].concat(), &Algorithm::USUAL).unwrap();
        assert_eq!(format!("{keys:?}"), r#"[None ["EdDSA"], None ["ES256"]]"#);
        assert_eq!(Key::all_of_pem(ed, &[Algorithm::Es256]).unwrap_err(), BadKeys::Unfit);
    }
}
