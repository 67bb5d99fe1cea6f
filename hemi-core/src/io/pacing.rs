//! Congestion control between programs of one machine.
//!
//! BBR, which many systems have for their default, paces what it sends: each piece waits for a timer, and on loopback
//! the timers cost more than all else. Nothing is lost there and nobody shares the way, so Reno, which every
//! kernel has, sends at once. Where the system's default does not pace, nothing is changed.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use rustix::net::sockopt;

/// Has a socket of TCP send without pacing, if its address is one of loopback.
pub(crate) fn unpace(socket: impl AsFd, address: IpAddr) {
    static PACED: OnceLock<bool> = OnceLock::new();
    if !address.to_canonical().is_loopback() {
        return;
    }
    if *PACED.get_or_init(|| is_paced(&socket)) {
        // It is only faster that way.
        let _ = sockopt::set_tcp_congestion(&socket, "reno");
    }
}

fn is_paced(socket: impl AsFd) -> bool {
    sockopt::tcp_congestion(socket).is_ok_and(|name| name.starts_with("bbr"))
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn nothing_is_paced_on_loopback() {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let (near, far) = (socket(), socket());
        let before = sockopt::tcp_congestion(&far).unwrap();
        unpace(&near, [127, 0, 0, 1].into());
        assert!(!is_paced(&near));
        unpace(&far, [192, 0, 2, 1].into());
        assert_eq!(sockopt::tcp_congestion(&far).unwrap(), before);
    }
}
