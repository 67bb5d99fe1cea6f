//! What becomes of handshakes, counted.

use rustls::{AlertDescription, Error};

use crate::cores::Counter;
use crate::metrics::Measures;

/// Why a handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// `tlsHandshakeTimeout`
    Timeout,
    /// The client went away.
    Closed,
    /// What came was not TLS.
    NotTls,
    /// Nobody has the name that was asked for.
    UnknownName,
    /// There is no certificate for the name that was asked for yet.
    NoCertificate,
    /// No version, cipher suite, group, protocol or signature in common.
    Incompatible,
    /// The client had no certificate, or one that is not believed.
    ClientCertificate,
    /// The client refused, as it does with certificates that it does not believe.
    Refused,
    /// The client broke the rules.
    Malformed,
    /// The server ends.
    Shut,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Timeout,
        Self::Closed,
        Self::NotTls,
        Self::UnknownName,
        Self::NoCertificate,
        Self::Incompatible,
        Self::ClientCertificate,
        Self::Refused,
        Self::Malformed,
        Self::Shut,
    ];

    /// Its name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "handshake_timeout",
            Self::Closed => "handshake_closed",
            Self::NotTls => "not_tls",
            Self::UnknownName => "unknown_name",
            Self::NoCertificate => "no_certificate",
            Self::Incompatible => "handshake_incompatible",
            Self::ClientCertificate => "client_certificate",
            Self::Refused => "handshake_refused",
            Self::Malformed => "handshake_malformed",
            Self::Shut => "handshake_shut",
        }
    }

    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::Incompatible,
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => {
                Self::ClientCertificate
            }
            Error::AlertReceived(AlertDescription::CloseNotify) => Self::Closed,
            Error::AlertReceived(_) => Self::Refused,
            _ => Self::Malformed,
        }
    }
}

/// Numbers of handshakes. They outlive reloads.
#[derive(Debug)]
pub struct TlsCounters {
    pub(super) full: Counter,
    pub(super) resumed: Counter,
    pub(super) failures: [Counter; Failure::ALL.len()],
}

impl TlsCounters {
    /// All at zero, for this many cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let counter = || Counter::new(cores);
        Self { full: counter(), resumed: counter(), failures: std::array::from_fn(|_| counter()) }
    }

    /// What they counted, by their names.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let done = [("handshakes", self.full.sum()), ("resumed", self.resumed.sum())];
        let failed = Failure::ALL.map(|why| (why.name(), self.failures[why as usize].sum()));
        done.into_iter().chain(failed)
    }

    /// Tells them to who collects.
    pub fn measure(&self, out: &mut Measures) {
        let help = "TLS handshakes completed.";
        for (kind, counter) in [("full", &self.full), ("resumed", &self.resumed)] {
            out.counter("hemi_tls_handshakes", help, &[("kind", kind)], counter.sum());
        }
        for why in Failure::ALL {
            let (help, label) = ("TLS handshakes that failed.", [("reason", why.name())]);
            out.counter("hemi_tls_failures", help, &label, self.failures[why as usize].sum());
        }
    }
}
