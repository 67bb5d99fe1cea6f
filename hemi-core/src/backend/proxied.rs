//! What nodes are told of a client before its first byte.

use std::net::SocketAddr;

use bytes::BytesMut;
use hemi_proto::proxy_protocol::{Ends, ProxyHeader, Tlvs, Transport, encode_v1, encode_v2};
use serde::Deserialize;

use crate::Explain;

/// Which version of the PROXY protocol is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub enum ProxyProtocol {
    /// None.
    #[default]
    None,
    /// Version 1: a line of text.
    V1,
    /// Version 2.
    V2,
}

impl ProxyProtocol {
    /// What is sent first on a connection to a node, for a client that has connected to `destination`; nothing
    /// if that is how it is configured.
    #[must_use]
    pub fn header(self, source: Option<SocketAddr>, destination: Option<SocketAddr>) -> BytesMut {
        let mut out = BytesMut::new();
        let ends = match (source, destination) {
            (Some(source), Some(destination)) => Ends::Inet { source, destination },
            _ => Ends::Unknown,
        };
        match self {
            Self::None => {}
            Self::V1 => encode_v1(&mut out, &ends),
            Self::V2 => {
                let transport = Transport::Stream;
                let header = ProxyHeader { transport, ends, tlvs: Tlvs::default() };
                // Only TLVs can be too many.
                let _ = encode_v2(&mut out, &header);
            }
        }
        out
    }
}
