//! Who may call what: asked before each call.

use hemi_core::config::Secret;
use hemi_core::listen::Peer;
use hemi_proto::hrpc::Code;
use hemi_proto::rpcx::{AUTH_KEY, Pairs};

use crate::Fault;

/// A call, before it is looked at by its service.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Who calls.
    pub peer: &'a Peer,
    /// The service that is asked for, which there may be none of.
    pub service: &'a [u8],
    /// The method that is asked for, which there may be none of.
    pub method: &'a [u8],
    /// What is said besides.
    pub metadata: Pairs<'a>,
}

impl<'a> Asking<'a> {
    /// The token that the caller shows, if it does.
    #[must_use]
    pub fn token(&self) -> Option<&'a [u8]> {
        self.metadata.find(AUTH_KEY)
    }
}

/// How a call is refused.
#[derive(Debug)]
pub enum Refusal {
    /// By an error; the connection goes on.
    Call(Fault),
    /// The same, and the connection is closed.
    Connection(Fault),
}

/// Decides whether calls are answered. It must not wait.
pub trait Guard: Send + Sync + 'static {
    /// Lets a call pass, or refuses it.
    ///
    /// # Errors
    /// When it is refused.
    fn admit(&self, asking: &Asking<'_>) -> Result<(), Refusal>;
}

impl<G> Guard for G
where
    G: Fn(&Asking<'_>) -> Result<(), Refusal> + Send + Sync + 'static,
{
    fn admit(&self, asking: &Asking<'_>) -> Result<(), Refusal> {
        self(asking)
    }
}

/// Lets pass who shows one of these.
#[derive(Debug)]
pub(crate) struct Tokens(pub(crate) Vec<Secret>);

impl Tokens {
    /// Whether this is one of them. All are compared to their end, so that the time that it takes tells nothing.
    pub(crate) fn have(&self, shown: &[u8]) -> bool {
        self.0.iter().fold(false, |good, token| good | same(token.expose(), shown))
    }
}

impl Guard for Tokens {
    fn admit(&self, asking: &Asking<'_>) -> Result<(), Refusal> {
        if self.have(asking.token().unwrap_or_default()) {
            Ok(())
        } else {
            let fault = Fault::new("not authorized").with_code(Code::UNAUTHENTICATED);
            Err(Refusal::Connection(fault))
        }
    }
}

fn same(token: &str, shown: &[u8]) -> bool {
    let differs = token.bytes().zip(shown).fold(0, |differs, (a, b)| differs | (a ^ b));
    token.len() == shown.len() && differs == 0
}
