//! Messages compressed one by one: the extension `permessage-deflate` (RFC 7692).

mod codec;

use std::fmt;

use http::HeaderMap;
use http::header::SEC_WEBSOCKET_EXTENSIONS;

pub use codec::{Deflater, Inflater};

use crate::ascii::{is_token, trim_ows};

/// The name of the extension.
const NAME: &[u8] = b"permessage-deflate";

/// The size of a window of compression, as the power of two: 8 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 32 KiB.
    pub const MAX: Self = Self(15);

    /// 2 to the power of this many bytes, if that is 8 to 15.
    #[must_use]
    pub fn new(bits: u8) -> Option<Self> {
        matches!(bits, 8..=15).then_some(Self(bits))
    }

    /// The power of two.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    fn parse(value: &[u8]) -> Option<Self> {
        match value {
            [digit @ b'8'..=b'9'] => Some(Self(digit - b'0')),
            [b'1', digit @ b'0'..=b'5'] => Some(Self(10 + digit - b'0')),
            _ => None,
        }
    }
}

/// What a side remembers of earlier messages when it compresses the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Nothing: each message stands for itself, and nothing is held between them.
    None,
    /// As much as its window holds: messages that resemble each other become shorter.
    Kept,
}

/// How a server likes to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What both sides remember.
    pub context: Context,
    /// Windows up to this size, where contexts are kept.
    pub window: WindowBits,
}

/// What both sides have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// What the server remembers.
    pub server_context: Context,
    /// What the client remembers.
    pub client_context: Context,
    /// The window of what the server sends.
    pub server_window: WindowBits,
    /// The window of what the client sends.
    pub client_window: WindowBits,
}

impl Agreed {
    /// What is agreed on if nothing is said.
    const DEFAULT: Self = Self {
        server_context: Context::Kept,
        client_context: Context::Kept,
        server_window: WindowBits::MAX,
        client_window: WindowBits::MAX,
    };
}

/// As the server answers it; a client may offer the same.
impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permessage-deflate")?;
        if self.server_context == Context::None {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_context == Context::None {
            f.write_str("; client_no_context_takeover")?;
        }
        if self.server_window != WindowBits::MAX {
            write!(f, "; server_max_window_bits={}", self.server_window.0)?;
        }
        if self.client_window != WindowBits::MAX {
            write!(f, "; client_max_window_bits={}", self.client_window.0)?;
        }
        Ok(())
    }
}

/// Takes the first of a client's offers that a server can keep to; `None` to do without compression.
#[must_use]
pub fn accept(headers: &HeaderMap, policy: Policy) -> Option<Agreed> {
    let offers = headers.get_all(SEC_WEBSOCKET_EXTENSIONS);
    let mut offers = offers.iter().flat_map(|line| line.as_bytes().split(|&b| b == b','));
    offers.find_map(|offer| Params::parse(offer)?.accept(policy))
}

/// What a server has answered to a client's offer.
///
/// # Errors
/// When it is something that was not asked for: the connection is to be failed.
pub fn agreed(headers: &HeaderMap) -> Result<Option<Agreed>, BadExtension> {
    let mut lines = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let params = Params::parse(line.as_bytes()).filter(|_| lines.next().is_none());
    let params = params.ok_or(BadExtension)?;
    let client_window = match params.client_window {
        None => WindowBits::MAX,
        Some(window) => window.ok_or(BadExtension)?,
    };
    Ok(Some(Agreed {
        server_context: params.server_context,
        client_context: params.client_context,
        server_window: params.server_window.unwrap_or(WindowBits::MAX),
        client_window,
    }))
}

/// An extension that was not asked for, or is not written as it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an extension that was asked for")]
pub struct BadExtension;

/// The parameters of the extension (RFC 7692, 7.1).
#[derive(Debug)]
struct Params {
    server_context: Context,
    client_context: Context,
    server_window: Option<WindowBits>,
    /// A client may say that it takes the parameter, without a value.
    client_window: Option<Option<WindowBits>>,
}

impl Params {
    /// Reads an element of the field; `None` if it is another extension, or has a parameter that is
    /// unknown, malformed or there twice: such an offer is to be declined (7.1).
    ///
    /// A value in quotes is a token too (RFC 6455, 9.1): no comma or semicolon is in one.
    fn parse(element: &[u8]) -> Option<Self> {
        let mut parts = element.split(|&b| b == b';').map(trim_ows);
        parts.next().filter(|name| name.eq_ignore_ascii_case(NAME))?;
        let [mut server_context, mut client_context] = [None; 2];
        let (mut server_window, mut client_window) = (None, None);
        for part in parts {
            let (name, value) = match part.iter().position(|&b| b == b'=') {
                Some(at) => (trim_ows(&part[..at]), Some(unquoted(trim_ows(&part[at + 1..]))?)),
                None => (part, None),
            };
            let window = value.map(|value| WindowBits::parse(value).ok_or(()));
            let known_before = match (name, window) {
                (b"server_no_context_takeover", None) => server_context.replace(()).is_some(),
                (b"client_no_context_takeover", None) => client_context.replace(()).is_some(),
                (b"server_max_window_bits", Some(Ok(window))) => {
                    server_window.replace(window).is_some()
                }
                (b"client_max_window_bits", None) => client_window.replace(None).is_some(),
                (b"client_max_window_bits", Some(Ok(window))) => {
                    client_window.replace(Some(window)).is_some()
                }
                _ => return None,
            };
            if known_before {
                return None;
            }
        }
        let context = |without: Option<()>| without.map_or(Context::Kept, |()| Context::None);
        Some(Self {
            server_context: context(server_context),
            client_context: context(client_context),
            server_window,
            client_window,
        })
    }

    /// What a server agrees on; `None` if it can't.
    fn accept(&self, policy: Policy) -> Option<Agreed> {
        let mut agreed = Agreed::DEFAULT;
        if policy.context == Context::None || self.server_context == Context::None {
            agreed.server_context = Context::None;
        }
        // That a client is to remember nothing it may be told though it did not offer to (7.1.1.2).
        if policy.context == Context::None || self.client_context == Context::None {
            agreed.client_context = Context::None;
        }
        // What is not kept needs no bound.
        let own = |context| match context {
            Context::Kept => policy.window,
            Context::None => WindowBits::MAX,
        };
        agreed.server_window = own(agreed.server_context);
        if let Some(window) = self.server_window {
            agreed.server_window = agreed.server_window.min(window);
        }
        // A window of 256 bytes is more than zlib can do.
        if agreed.server_window.0 < 9 {
            return None;
        }
        // A smaller window only those clients can be asked for that know how (7.1.2.2).
        if let Some(window) = self.client_window {
            let most = window.unwrap_or(WindowBits::MAX);
            agreed.client_window = own(agreed.client_context).min(most);
        }
        Some(agreed)
    }
}

fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let token = match value {
        [b'"', token @ .., b'"'] => token,
        token => token,
    };
    (!token.is_empty() && token.iter().all(|&b| is_token(b))).then_some(token)
}

#[cfg(test)]
mod tests;
