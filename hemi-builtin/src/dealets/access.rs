//! The dealet `accessDealet`: lets in the clients of some addresses, and keeps out others.
//!
//! ```gorox
//! stage {
//! 	tcpxBackend "db" { node { .address = "127.0.0.1:5432" } }
//! 	tcpxRouter "db" {
//! 		.address = "127.0.0.1:3432"
//! 		case {
//! 			accessDealet { .allow = ("127.0.0.1", "10.0.0.0/8")  .deny = ("10.66.0.0/16") }
//! 			tcpxProxy { .toBackend = "db" }
//! 		}
//! 	}
//! }
//! ```
//!
//! The lists are read as by the handlet `access`: of all that an address is in, the smallest block decides;
//! if it is both allowed and denied, it is denied. Connections of those who are denied are closed at once, and
//! their datagrams dropped.

use hemi_core::{Component, CreateCx, Lifecycle, Prepare, Result, Run};
use hemi_net::{Deal, Dealet, QuixConn, QuixDealet, TcpxConn, UdpxDealet, UdpxFlow};

use crate::access_list::{AccessConfig, AccessList};

/// Lets clients in, or not.
#[derive(Debug)]
pub struct AccessDealet(AccessList);

impl Component for AccessDealet {
    const SIGN: &'static str = "accessDealet";
    type Config = AccessConfig;

    fn create(config: AccessConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        AccessList::create(config, cx).map(Self)
    }
}

impl Lifecycle for AccessDealet {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.0.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        self.0.run(cx).await;
    }
}

impl Dealet for AccessDealet {
    async fn deal(&self, conn: &mut TcpxConn) -> Deal {
        self.check(conn)
    }

    fn deal_now(&self, conn: &mut TcpxConn) -> Option<Deal> {
        Some(self.check(conn))
    }
}

impl UdpxDealet for AccessDealet {
    fn deal_flow(&self, flow: &mut UdpxFlow<'_>) -> Deal {
        if self.0.allows(flow.ip()) {
            return Deal::Next;
        }
        flow.end_as("denied");
        Deal::Done
    }
}

impl QuixDealet for AccessDealet {
    async fn deal_quix(&self, conn: &mut QuixConn) -> Deal {
        if self.0.allows(conn.ip()) {
            return Deal::Next;
        }
        conn.end_as("denied");
        Deal::Done
    }
}

impl AccessDealet {
    fn check(&self, conn: &mut TcpxConn) -> Deal {
        if self.0.allows(conn.ip()) {
            return Deal::Next;
        }
        conn.end_as("denied");
        conn.reset();
        Deal::Done
    }
}
