//! The PROXY protocol, versions 1 and 2: what a proxy says about a connection's ends before its first byte
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! ```
//! use bytes::BytesMut;
//! use hemi_proto::proxy_protocol::{Limits, read};
//!
//! let mut buf = BytesMut::from("PROXY TCP4 192.0.2.1 192.0.2.2 49152 443\r\nGET / ...");
//! let header = read(&mut buf, &Limits::default()).unwrap().unwrap();
//! assert_eq!(header.source(), Some("192.0.2.1:49152".parse().unwrap()));
//! assert_eq!(buf, "GET / ...");
//! ```

mod version1;
mod version2;

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

pub use version1::encode_v1;
pub use version2::{Tlvs, encode_v2, tlv};

/// What a proxy says of a connection, or of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// How bytes go.
    pub transport: Transport,
    /// Between whom.
    pub ends: Ends,
    /// What else is said, as it was sent; empty in version 1.
    pub tlvs: Tlvs,
}

/// How bytes go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// It was not said.
    #[default]
    Unspecified,
    /// In a stream: TCP, or a Unix socket.
    Stream,
    /// In datagrams.
    Datagram,
}

/// The ends of the connection that the proxy has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The connection is the proxy's own, such as a check of health: its own ends are meant.
    Local,
    /// The proxy does not know them: those of its connection are all there is.
    Unknown,
    /// Both are addresses of the same version of IP.
    Inet {
        /// The client.
        source: SocketAddr,
        /// What it has connected to.
        destination: SocketAddr,
    },
    /// Paths of Unix sockets, of up to 108 bytes; empty for none.
    Unix {
        /// The client.
        source: Bytes,
        /// What it has connected to.
        destination: Bytes,
    },
}

/// What a header may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a header of version 2, with all TLVs.
    pub size: usize,
}

impl Default for Limits {
    /// 4 KiB: a certificate's names and a few ids.
    fn default() -> Self {
        Self { size: 4 << 10 }
    }
}

/// Not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It begins like neither version.
    #[error("no header of the PROXY protocol")]
    Signature,
    /// A line of version 1 that has no end within 107 bytes, or a header of version 2 over the limit.
    #[error("a header of the PROXY protocol that is too large")]
    TooLarge,
    /// A line of version 1 that is none.
    #[error("a malformed line of the PROXY protocol")]
    Line,
    /// A version or command that does not exist.
    #[error("an unknown version or command of the PROXY protocol")]
    Version,
    /// A family or transport that does not exist, or fewer bytes than its addresses have.
    #[error("malformed addresses in a header of the PROXY protocol")]
    Addresses,
    /// TLVs that are cut off.
    #[error("malformed TLVs in a header of the PROXY protocol")]
    Tlv,
    /// The checksum is another one.
    #[error("the checksum of a header of the PROXY protocol is wrong")]
    Checksum,
}

/// Takes a header of either version off the front of `buf`, when all of it is there; what follows is the
/// client's.
///
/// A receiver must know by its config that there is one (section 2): whoever may be its own client could
/// else say what it likes.
///
/// # Errors
/// When what has come can't become a header: the connection has to be closed.
pub fn read(buf: &mut BytesMut, limits: &Limits) -> Result<Option<ProxyHeader>, HeaderError> {
    match buf.first() {
        None => Ok(None),
        Some(b'P') => version1::read(buf),
        Some(_) => version2::read(buf, limits),
    }
}

impl ProxyHeader {
    /// Of a stream between these.
    #[must_use]
    pub fn of_stream(source: SocketAddr, destination: SocketAddr) -> Self {
        let ends = Ends::Inet { source, destination };
        Self { transport: Transport::Stream, ends, tlvs: Tlvs::default() }
    }

    /// Of a connection that the proxy makes for itself.
    #[must_use]
    pub fn local() -> Self {
        Self { transport: Transport::Unspecified, ends: Ends::Local, tlvs: Tlvs::default() }
    }

    /// The client's address, if it has one that was told.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        match self.ends {
            Ends::Inet { source, .. } => Some(source),
            _ => None,
        }
    }

    /// The address that the client has connected to, if that was told.
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        match self.ends {
            Ends::Inet { destination, .. } => Some(destination),
            _ => None,
        }
    }
}

/// What both versions' tests read.
#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderError> {
        read(&mut BytesMut::from(bytes), &Limits::default())
    }

    #[test]
    fn what_is_neither_version_is_seen_at_the_first_byte_that_differs() {
        for text in [&b"G"[..], b"\x16\x03\x01", b"PRI", b"PROXX", b"\r\n\r\n\0\r\nQUIX", b"\r\nX"]
        {
            assert_eq!(read_all(text), Err(HeaderError::Signature), "{text:?}");
        }
        for text in [&b""[..], b"P", b"PROXY", b"\r", b"\r\n\r\n\0\r\nQUIT\n"] {
            assert_eq!(read_all(text), Ok(None), "{text:?}");
        }
    }
}
