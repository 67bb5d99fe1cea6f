//! Signed tokens in their compact form (RFC 7515, 3.1), taken apart.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Three parts of base64url, joined by dots. What they say is still to be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jws<'a> {
    /// JSON that says how it is signed.
    pub header: Vec<u8>,
    /// What is signed: of a token with claims (RFC 7519) JSON.
    pub payload: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
    /// The bytes that the signature is of.
    pub signed: &'a [u8],
}

/// A text that is no such token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not three parts of base64url, joined by dots")]
pub struct BadJws;

impl<'a> Jws<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// When there are not exactly three parts, or one is not base64url as RFC 7515 (2) has it: without
    /// `=`, line ends and stray bits.
    pub fn parse(token: &'a [u8]) -> Result<Self, BadJws> {
        let decode = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).map_err(|_| BadJws);
        let mut parts = token.split(|&b| b == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadJws);
        };
        let signed = token.get(..header.len() + 1 + payload.len()).ok_or(BadJws)?;
        Ok(Self {
            header: decode(header)?,
            payload: decode(payload)?,
            signature: decode(signature)?,
            signed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_three_parts() {
        let jws = Jws::parse(b"eyJhIjoxfQ.AA.-_8").unwrap();
        assert_eq!(jws.header, br#"{"a":1}"#);
        assert_eq!((&*jws.payload, &*jws.signature), (&[0][..], &[0xfb, 0xff][..]));
        assert_eq!(jws.signed, b"eyJhIjoxfQ.AA");
        assert_eq!(Jws::parse(b"..").map(|jws| jws.signed), Ok(&b"."[..]));
    }

    #[test]
    fn other_texts_are_none() {
        for text in [
            "",
            "a",
            "AA.AA",
            "AA.AA.AA.AA",
            "AA.AA.A",
            "AA==.AA.AA",
            "AB.AA.AA",
            "AA.+/8.AA",
            "AA. .AA",
        ] {
            assert_eq!(Jws::parse(text.as_bytes()), Err(BadJws), "{text}");
        }
    }
}
