//! The properties of servers that speak TLS.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use rustls::SupportedCipherSuite;
use rustls::SupportedProtocolVersion;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::version::{TLS12, TLS13};
use serde::Deserialize;

use super::SUITES;
use super::info::cipher_name;
use crate::Explain;
use crate::config::ConfigType;

/// Properties of a server over TCP that speaks TLS.
#[derive(Clone, Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsConfig {
    /// Whether connections are encrypted. The certificates are those of the webapps, or a router's own.
    pub tls_mode: bool,
    /// The versions of TLS that are spoken.
    pub tls_versions: Vec<TlsVersion>,
    /// The cipher suites, by their names of IANA, most liked first: the server's order counts, but for
    /// clients that like ChaCha20 best, which have no hardware for AES.
    pub tls_ciphers: Vec<Suite>,
    /// The groups for key exchange, most liked first.
    pub tls_groups: Vec<Group>,
    /// How long a handshake may take from the connection's start.
    pub tls_handshake_timeout: Duration,
    /// Handshakes under way at once on each core, at most; others wait their turn, as long as
    /// `tlsHandshakeTimeout` lets them.
    pub tls_max_handshakes: usize,
    /// How long clients may resume sessions by tickets (RFC 8446, 4.6.1), whose keys change as often; 0s
    /// for no tickets.
    pub tls_ticket_lifetime: Duration,
    /// A file of 32 to 256 random bytes from which the keys of tickets are made, for several machines to know each
    /// other's tickets; `openssl rand 48` makes one. Without it the keys are random, and known to this
    /// process only.
    pub tls_ticket_key: Option<PathBuf>,
    /// What becomes of clients that ask for a name no webapp has, or for none.
    pub tls_unknown_name: UnknownName,
    /// A file that the keys of all connections are appended to, for programs that look into recorded
    /// traffic (`SSLKEYLOGFILE`). Only for debugging.
    pub tls_key_log: Option<PathBuf>,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            tls_mode: false,
            tls_versions: [TlsVersion::Tls12, TlsVersion::Tls13].to_vec(),
            tls_ciphers: SUITES.map(Suite).to_vec(),
            tls_groups: Group::ALL.to_vec(),
            tls_handshake_timeout: Duration::from_secs(10),
            tls_max_handshakes: 1024,
            tls_ticket_lifetime: Duration::from_secs(12 * 3600),
            tls_ticket_key: None,
            tls_unknown_name: UnknownName::Default,
            tls_key_log: None,
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum TlsVersion {
    /// `"1.2"`
    Tls12,
    /// `"1.3"`
    Tls13,
}

impl TlsVersion {
    pub(super) fn supported(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &TLS12,
            Self::Tls13 => &TLS13,
        }
    }
}

impl TryFrom<String> for TlsVersion {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match &*text {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            _ => Err("write \"1.2\" or \"1.3\": older versions of TLS are broken"),
        }
    }
}

impl ConfigType for TlsVersion {
    fn kind() -> Cow<'static, str> {
        "TLS version".into()
    }

    fn show(&self) -> String {
        match self {
            Self::Tls12 => "\"1.2\"".into(),
            Self::Tls13 => "\"1.3\"".into(),
        }
    }
}

/// A cipher suite.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Suite(pub(super) SupportedCipherSuite);

impl TryFrom<String> for Suite {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let known = SUITES.into_iter().find(|suite| cipher_name(suite.suite()) == text);
        known.map(Self).ok_or_else(|| {
            let names = SUITES.map(|suite| cipher_name(suite.suite()));
            format!("not a cipher suite that is spoken here; these are: {}", names.join(", "))
        })
    }
}

impl ConfigType for Suite {
    fn kind() -> Cow<'static, str> {
        "cipher suite".into()
    }

    fn show(&self) -> String {
        format!("\"{}\"", cipher_name(self.0.suite()))
    }
}

/// A group for key exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Group {
    /// X25519 together with ML-KEM, which holds against quantum computers too.
    X25519MlKem768,
    /// Curve25519.
    X25519,
    /// P-256.
    Secp256r1,
    /// P-384.
    Secp384r1,
}

impl Group {
    const ALL: [Self; 4] = [Self::X25519MlKem768, Self::X25519, Self::Secp256r1, Self::Secp384r1];

    fn name(self) -> &'static str {
        match self {
            Self::X25519MlKem768 => "X25519MLKEM768",
            Self::X25519 => "x25519",
            Self::Secp256r1 => "secp256r1",
            Self::Secp384r1 => "secp384r1",
        }
    }

    pub(super) fn supported(self) -> &'static dyn SupportedKxGroup {
        match self {
            Self::X25519MlKem768 => kx_group::X25519MLKEM768,
            Self::X25519 => kx_group::X25519,
            Self::Secp256r1 => kx_group::SECP256R1,
            Self::Secp384r1 => kx_group::SECP384R1,
        }
    }
}

impl TryFrom<String> for Group {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|group| group.name().eq_ignore_ascii_case(&text));
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            format!("not a group that is spoken here; these are: {}", names.join(", "))
        })
    }
}

impl ConfigType for Group {
    fn kind() -> Cow<'static, str> {
        "group".into()
    }

    fn show(&self) -> String {
        format!("\"{}\"", self.name())
    }
}

/// What becomes of clients that ask for a name nobody here has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum UnknownName {
    /// They are shown the certificate of the webapp for all hosts, or else of the first that has one.
    Default,
    /// They are refused.
    Refuse,
}

impl TryFrom<String> for UnknownName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match &*text {
            "default" => Ok(Self::Default),
            "refuse" => Ok(Self::Refuse),
            _ => Err("write \"default\" or \"refuse\""),
        }
    }
}

impl ConfigType for UnknownName {
    fn kind() -> Cow<'static, str> {
        "\"default\" or \"refuse\"".into()
    }

    fn show(&self) -> String {
        match self {
            Self::Default => "\"default\"".into(),
            Self::Refuse => "\"refuse\"".into(),
        }
    }
}
