//! What the log hears of a connection, or a session of datagrams, that is over; what is counted of connections.

use std::borrow::Cow;
use std::time::SystemTime;

use hemi_core::clock::{self, Moment};
use hemi_core::config::Lookup;
use hemi_core::cores::Counter;
use hemi_core::logger::{Level, Record, escape_text};
use hemi_core::metrics::Measures;

use crate::NetVar;

/// Numbers of a router of connections.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) unmatched: Counter,
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
}

impl Counters {
    pub(crate) fn new(cores: usize) -> Self {
        let counter = || Counter::new(cores);
        Self { unmatched: counter(), received: counter(), sent: counter() }
    }

    pub(crate) fn named(&self) -> [(&'static str, u64); 3] {
        [
            ("conns_unmatched", self.unmatched.sum()),
            ("bytes_received", self.received.sum()),
            ("bytes_sent", self.sent.sum()),
        ]
    }

    pub(crate) fn measure(&self, out: &mut Measures) {
        let help = "Connections that no case took.";
        out.counter("hemi_router_conns_unmatched", help, &[], self.unmatched.sum());
        let help = "Bytes that clients sent, on connections that are over.";
        out.counter("hemi_router_bytes_received", help, &[], self.received.sum());
        let help = "Bytes sent to clients, on connections that are over.";
        out.counter("hemi_router_bytes_sent", help, &[], self.sent.sum());
    }
}

/// A connection, or a session, that is over.
pub(crate) struct Closed<'a, C> {
    pub(crate) of: &'a C,
    pub(crate) since: Moment,
    pub(crate) router: &'a str,
    /// The name of the case that it was for.
    pub(crate) case: &'a str,
    /// When it was over.
    pub(crate) at: SystemTime,
}

impl<C: Lookup<NetVar>> Record<NetVar> for Closed<'_, C> {
    fn level(&self) -> Level {
        match &*self.of.lookup(&NetVar::Reason) {
            b"done" | b"timeout" => Level::Info,
            b"unreachable" | b"refused" => Level::Error,
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

impl<C: Lookup<NetVar>> Closed<'_, C> {
    fn put_or_dash(&self, var: &NetVar, line: &mut Vec<u8>) {
        let start = line.len();
        self.put(var, line);
        if line.len() == start {
            line.push(b'-');
        }
        escape_text(line, start);
    }
}

impl<C: Lookup<NetVar>> Lookup<NetVar> for Closed<'_, C> {
    fn lookup<'a>(&'a self, var: &'a NetVar) -> Cow<'a, [u8]> {
        match var {
            NetVar::Router => self.router.as_bytes().into(),
            NetVar::Case => self.case.as_bytes().into(),
            NetVar::Time => clock::iso8601(self.at).to_vec().into(),
            NetVar::ConnTime => {
                let lasted = clock::now().since(self.since);
                format!("{:.3}", lasted.as_secs_f64()).into_bytes().into()
            }
            _ => self.of.lookup(var),
        }
    }
}
