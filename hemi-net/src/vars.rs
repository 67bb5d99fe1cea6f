//! The `$variables` of a connection.

use hemi_core::config::Variable;

/// A variable of a connection, for conditions of cases, and for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetVar {
    /// `$srcHost`: the client's address; empty if it comes by a Unix socket
    SrcHost,
    /// `$srcPort`: the client's port
    SrcPort,
    /// `$dstHost`: the address that the client has connected to
    DstHost,
    /// `$dstPort`: its port
    DstPort,
    /// `$serverName`: the host that a client of TLS, or of QUIC, asks for, in lower case
    ServerName,
    /// `$nextProto`: the protocols that a client of TLS would speak, most liked first, with commas between
    /// them; where TLS is terminated the one agreed on
    NextProto,
    /// `$protocol`: of datagrams `quic` if they begin a connection of that; of connections `http`, `tls`, `ssh`, `redis` or `pgsql`, by what the client says first; `mysql` if it says
    /// nothing, for there the server speaks first; empty if it is none of these
    Protocol,
    /// `$user`: the user that a client of PostgreSQL, MySQL or Redis names, where a `pgsqlProxy`, `mysqlProxy` or
    /// `redisProxy` deals with it; by Redis else `default`
    User,
    /// `$database`: the database that it names; by PostgreSQL else its user, by Redis else `0`
    Database,
    /// `$node`: the address of the node that the connection went to
    Node,
    /// `$bytesReceived`: bytes that the client sent
    BytesReceived,
    /// `$bytesSent`: bytes sent to the client
    BytesSent,
    /// `$connTime`: seconds from when it was accepted to its end, with milliseconds
    ConnTime,
    /// `$time`: when it was over, as in `2026-11-21T13:05:09.123Z`
    Time,
    /// `$router`: the name of the router
    Router,
    /// `$case`: the name of the case
    Case,
    /// `$reason`: why it ended: `done`, `idle`, `reset`, `unreachable`, `refused`, ...
    Reason,
}

impl NetVar {
    /// Whether the client's first bytes tell it.
    #[must_use]
    pub fn is_peeked(&self) -> bool {
        matches!(self, Self::ServerName | Self::NextProto | Self::Protocol)
    }

    /// Whether no datagram tells it.
    pub(crate) fn is_of_connections(&self) -> bool {
        matches!(self, Self::User | Self::Database)
    }
}

const NAMES: [(&str, NetVar); 17] = [
    ("srcHost", NetVar::SrcHost),
    ("srcPort", NetVar::SrcPort),
    ("dstHost", NetVar::DstHost),
    ("dstPort", NetVar::DstPort),
    ("serverName", NetVar::ServerName),
    ("nextProto", NetVar::NextProto),
    ("protocol", NetVar::Protocol),
    ("user", NetVar::User),
    ("database", NetVar::Database),
    ("node", NetVar::Node),
    ("bytesReceived", NetVar::BytesReceived),
    ("bytesSent", NetVar::BytesSent),
    ("connTime", NetVar::ConnTime),
    ("time", NetVar::Time),
    ("router", NetVar::Router),
    ("case", NetVar::Case),
    ("reason", NetVar::Reason),
];

impl Variable for NetVar {
    fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, var)| *var)
    }

    fn known() -> &'static [&'static str] {
        const KNOWN: [&str; NAMES.len()] = {
            let mut known = [""; NAMES.len()];
            let mut at = 0;
            while at < NAMES.len() {
                known[at] = NAMES[at].0;
                at += 1;
            }
            known
        };
        &KNOWN
    }

    fn is_number(&self) -> bool {
        matches!(
            self,
            Self::SrcPort | Self::DstPort | Self::BytesReceived | Self::BytesSent | Self::ConnTime
        )
    }

    fn logged() -> &'static [&'static str] {
        &[
            "time",
            "srcHost",
            "router",
            "case",
            "serverName",
            "node",
            "bytesReceived",
            "bytesSent",
            "connTime",
            "reason",
        ]
    }
}
