//! Hashes of passwords, in the forms that other programs write them.

use std::borrow::Cow;
use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordVerifier as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bcrypt::HashParts;
use hemi_core::config::ConfigType;
use md5::{Digest, Md5};
use serde::Deserialize;
use sha_crypt::ShaCrypt;
use sha1::Sha1;

/// The hash of a password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Hash {
    form: Form,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Bcrypt,
    Argon2,
    ShaCrypt,
    /// 1,000 rounds of MD5: `$1$`, and `$apr1$` as Apache's programs make it.
    Md5Crypt,
    /// SHA-1 without salt.
    Sha1,
}

/// KiB that a hash by Argon2 may need: what RFC 9106 recommends first.
const ARGON2_MEMORY: u32 = 2 << 20;

/// Text that is no hash we know.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadHash {
    #[error("not the hash of a password: write it as `htpasswd -B` or `openssl passwd -6` does")]
    Unknown,
    #[error("crypt's DES is no longer a secret to anyone: make a new hash by `htpasswd -B`")]
    Des,
    #[error("this hash by Argon2 would need more than 2 GiB of memory")]
    Memory,
}

impl TryFrom<String> for Hash {
    type Error = BadHash;

    fn try_from(text: String) -> Result<Self, BadHash> {
        Ok(Self { form: Form::of(&text)?, text })
    }
}

impl Form {
    /// That of a hash which is whole: a cut one would let nobody in, and tell nobody why.
    fn of(text: &str) -> Result<Self, BadHash> {
        if let Some(digest) = text.strip_prefix("{SHA}") {
            let whole = STANDARD.decode(digest).is_ok_and(|digest| digest.len() == 20);
            return whole.then_some(Self::Sha1).ok_or(BadHash::Unknown);
        }
        let is_digit = |byte: &u8| DIGITS.contains(byte);
        if text.len() == 13 && text.as_bytes().iter().all(is_digit) {
            return Err(BadHash::Des);
        }
        let fields: Vec<&str> = text.split('$').collect();
        let whole = |length| {
            fields.last().is_some_and(|digest| {
                digest.len() == length && digest.as_bytes().iter().all(is_digit)
            })
        };
        match fields[..] {
            ["", "2a" | "2b" | "2y", _, _] if text.parse::<HashParts>().is_ok() => Ok(Self::Bcrypt),
            ["", "argon2id" | "argon2i" | "argon2d", ..] => {
                let hash = PasswordHash::new(text).ok().filter(|hash| hash.hash.is_some());
                let hash = hash.ok_or(BadHash::Unknown)?;
                let params = Params::try_from(&hash).map_err(|_| BadHash::Unknown)?;
                let fits = params.m_cost() <= ARGON2_MEMORY;
                fits.then_some(Self::Argon2).ok_or(BadHash::Memory)
            }
            ["", "5", _, _] | ["", "5", _, _, _] if whole(43) => Ok(Self::ShaCrypt),
            ["", "6", _, _] | ["", "6", _, _, _] if whole(86) => Ok(Self::ShaCrypt),
            ["", "1" | "apr1", _, _] if whole(22) => Ok(Self::Md5Crypt),
            _ => Err(BadHash::Unknown),
        }
    }
}

impl ConfigType for Hash {
    fn kind() -> Cow<'static, str> {
        "hash of a password".into()
    }

    fn show(&self) -> String {
        self.text.show()
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.form)
    }
}

impl Hash {
    /// As it is written.
    pub(super) fn text(&self) -> &String {
        &self.text
    }

    /// Whether it is that of this password. Takes as long as its form is made to.
    pub(super) fn is_of(&self, password: &str) -> bool {
        let (bytes, text) = (password.as_bytes(), self.text.as_str());
        match self.form {
            Form::Bcrypt => bcrypt::verify(bytes, text).unwrap_or(false),
            Form::Argon2 => Argon2::default().verify_password(bytes, text).is_ok(),
            Form::ShaCrypt => ShaCrypt::default().verify_password(bytes, text).is_ok(),
            Form::Md5Crypt => same(&md5_crypt(bytes, text), text),
            Form::Sha1 => same(&format!("{{SHA}}{}", STANDARD.encode(Sha1::digest(bytes))), text),
        }
    }
}

/// In time that does not tell where they differ.
fn same(one: &str, other: &str) -> bool {
    let differences = one.bytes().zip(other.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    differences == 0 && one.len() == other.len()
}

/// The hash of a password in the form, and with the salt, of `text`.
fn md5_crypt(password: &[u8], text: &str) -> String {
    let mut fields = text.split('$').skip(1);
    let (id, salt) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    let salt = salt.get(..8).unwrap_or(salt);
    let head = format!("${id}$");
    let inner = Md5::digest([password, salt.as_bytes(), password].concat());
    let mut first = [password, head.as_bytes(), salt.as_bytes()].concat();
    first.extend(inner.iter().cycle().take(password.len()));
    let mut bits = password.len();
    while bits > 0 {
        first.push(if bits & 1 == 1 { 0 } else { password.first().copied().unwrap_or_default() });
        bits >>= 1;
    }
    let mut hash = Md5::digest(first);
    for round in 0..1000 {
        let mut next = Vec::new();
        next.extend_from_slice(if round % 2 == 1 { password } else { &hash });
        if round % 3 != 0 {
            next.extend_from_slice(salt.as_bytes());
        }
        if round % 7 != 0 {
            next.extend_from_slice(password);
        }
        next.extend_from_slice(if round % 2 == 1 { &hash } else { password });
        hash = Md5::digest(next);
    }
    let mut text = format!("{head}{salt}$");
    let byte = |at: usize| u32::from(hash.get(at).copied().unwrap_or_default());
    for (a, b, c) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
        put_digits(&mut text, byte(a) << 16 | byte(b) << 8 | byte(c), 4);
    }
    put_digits(&mut text, byte(11), 2);
    text
}

/// Of numbers to the base 64, as crypt writes them.
const DIGITS: &[u8] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// So many digits, the lowest first.
fn put_digits(text: &mut String, mut value: u32, count: usize) {
    for _ in 0..count {
        let digit = DIGITS.get((value & 63) as usize).copied().unwrap_or(b'.');
        text.push(char::from(digit));
        value >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> Result<Hash, BadHash> {
        Hash::try_from(text.to_owned())
    }

    #[test]
    fn every_form_knows_its_password_and_no_other() {
        // Made by htpasswd 2.4.71 (-B, -m, -s, -2, -5), openssl 3.0 (passwd) and argon2.
        for text in [
            "$2y$05$jE7pCj.b4eflrih9Qw94HuBoZL75vO352gu4Npu3yoh3jBmeYn5CK",
            "$2y$04$uO5HWnoeYbW.HPyOIfR3kOzmM8MC6Y1up0V9AIj1ukplF.0X0JkLK",
            "$apr1$k5pUCZFl$rJIf28LADKALJ.S7wfLUe.",
            "{SHA}DDDDeJ85Z5WZoYp+E70mZhBQ+PI=",
            "$5$AtuUPf1GyvqXVvLK$pRU4AL5YoewE/UNm7vVNAkmZ3zImKkjAit/C9TqLJF9",
            "$6$fblxCLnl1KrVPXNI$OQtASz8RjpHxtN2YYYW5odei1Ci8wnD18Fdu.iiczEBgVN5KyY25a6lWs5UDjyI4IJC.wTHmCQ0VObJbxcG4w1",
            "$5$abcdefgh$5MwWsn7yeu1YxbzLA6jKBOkzINIIg/Uzef44P2/xUm/",
            "$6$0123456789abcdef$Riy5wmn85iJ3owd5hxyZz3abXYoigB8z2R6ZsW0Dq5CZUnpaX33kLii8TBL5rWSLDBfDFvg0HXb1WXJoR54Mk/",
            "$apr1$xyz$oQTRabaTQxGqYBySRCDsq/",
            "$1$xyz$BcVFSovtpyHTbGW9qHsDq.",
            "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$xd2mAOq8tN1Y8cTib1F3CUK3kma5fhDkiAP3ZOi6Ns0",
            "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$5lebhD62Mf+BHIotWGc06i2oSVaF639CwJ5pktD+TEc",
            "$argon2d$v=19$m=64,t=1,p=1$c29tZXNhbHQ$4p1mrrvTx7x0b9gyE/qjV0oQpLPkEeOm4vYEH+Q1274",
        ] {
            let hash = hash(text).unwrap();
            assert!(hash.is_of("opén sesame"), "{text}");
            assert!(!hash.is_of("open sesame") && !hash.is_of(""), "{text}");
        }
    }

    #[test]
    fn rounds_are_those_of_the_hash() {
        // Made by crypt of glibc 2.36.
        for text in [
            "$5$rounds=1000$shortsalt$RaBqfHUfIGJm06ZU1Y9eDzGtjqklXFQO/g7Fj4jKIB/",
            "$6$rounds=1000$shortsalt$B5hbcj/P2xzY6M6e0W6wM7ginKMgxpU2j.vLoUfPMcrbGvnZkWtRnrdVQAb7eQolBGEtfKKJ9F3/BxVnfeo5W/",
        ] {
            assert!(hash(text).unwrap().is_of("open sesame"), "{text}");
        }
    }

    #[test]
    fn md5_takes_passwords_of_any_length() {
        let long =
            "a password that is longer than one block of md5, which has 64 bytes, for the loop";
        for (password, text) in [
            ("", "$apr1$abcdefgh$L.PT565ESX4Tp2bqNs7Ie."),
            (long, "$apr1$abcdefgh$equwNMDEH9K5/iFQpe7I/1"),
        ] {
            assert!(hash(text).unwrap().is_of(password), "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_hash_is_refused() {
        for text in [
            "",
            "secret",
            "{SHA}DDDDeJ85Z5WZoYp+E70mZhBQ+PI",
            "{SSHA}DDDDeJ85Z5WZoYp+E70mZhBQ+PI=",
            "$apr1$xyz$oQTRabaTQxGqYBySRCDsq",
            "$1$$",
            "$5$abcdefgh$5MwWsn7yeu1YxbzLA6jKBOkzINIIg/Uzef44P2/xUm",
            "$6$abcdefgh$5MwWsn7yeu1YxbzLA6jKBOkzINIIg/Uzef44P2/xUm/",
            "$2y$05$jE7pCj.b4eflrih9Qw94HuBoZL75vO352gu4Npu3yoh3jBmeYn5C",
            "$2x$05$jE7pCj.b4eflrih9Qw94HuBoZL75vO352gu4Npu3yoh3jBmeYn5CK",
            "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ",
            "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$!",
            "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC",
        ] {
            assert_eq!(hash(text), Err(BadHash::Unknown), "{text}");
        }
        assert_eq!(hash("zfmTKW08xVuNc"), Err(BadHash::Des));
        let hungry = "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$xd2mAOq8tN1Y8cTib1F3CUK3kma5fhDkiAP3ZOi6Ns0";
        assert_eq!(hash(hungry), Err(BadHash::Memory));
    }
}
