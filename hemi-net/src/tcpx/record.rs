//! What the log hears of a connection that is over.

use std::borrow::Cow;
use std::time::SystemTime;

use hemi_core::clock;
use hemi_core::config::Lookup;
use hemi_core::logger::{Level, Record, escape_text};

use super::conn::TcpxConn;
use crate::NetVar;

/// A connection that is over.
pub(super) struct Closed<'a> {
    pub(super) conn: &'a TcpxConn,
    pub(super) router: &'a str,
    /// The name of the case that it was for.
    pub(super) case: &'a str,
    /// When it was over.
    pub(super) at: SystemTime,
}

impl Record<NetVar> for Closed<'_> {
    fn level(&self) -> Level {
        match self.conn.reason {
            "done" | "timeout" => Level::Info,
            "unreachable" => Level::Error,
            _ => Level::Warning,
        }
    }

    /// `SRC TIME ROUTER CASE NODE REASON RECEIVED SENT SECONDS`
    fn common(&self, line: &mut Vec<u8>) {
        let vars = [
            NetVar::SrcHost,
            NetVar::Time,
            NetVar::Router,
            NetVar::Case,
            NetVar::Node,
            NetVar::Reason,
            NetVar::BytesReceived,
            NetVar::BytesSent,
            NetVar::ConnTime,
        ];
        for (index, var) in vars.iter().enumerate() {
            if index > 0 {
                line.push(b' ');
            }
            self.put_or_dash(var, line);
        }
    }

    fn combined(&self, line: &mut Vec<u8>) {
        self.common(line);
        for var in [NetVar::ServerName, NetVar::NextProto] {
            line.extend_from_slice(b" \"");
            self.put_or_dash(&var, line);
            line.push(b'"');
        }
    }
}

impl Closed<'_> {
    fn put_or_dash(&self, var: &NetVar, line: &mut Vec<u8>) {
        let start = line.len();
        self.put(var, line);
        if line.len() == start {
            line.push(b'-');
        }
        escape_text(line, start);
    }
}

impl Lookup<NetVar> for Closed<'_> {
    fn lookup<'a>(&'a self, var: &'a NetVar) -> Cow<'a, [u8]> {
        match var {
            NetVar::Router => self.router.as_bytes().into(),
            NetVar::Case => self.case.as_bytes().into(),
            NetVar::Time => clock::iso8601(self.at).to_vec().into(),
            NetVar::ConnTime => format!("{:.3}", self.conn.age().as_secs_f64()).into_bytes().into(),
            _ => self.conn.lookup(var),
        }
    }
}
