//! What both ends of a reverse tunnel have in common: one connection, on which the end that has accepted it asks the one
//! that has made it for streams (CONNECT of HTTP/2, RFC 9113, 8.5).

use std::future::pending;
use std::time::Duration;

use h2::{Ping, PingPong};
use http::HeaderValue;
use tokio::time::{sleep, timeout};

pub(crate) use crate::backends::http2::tunnel::Tunnel as Stream;

/// The protocol that the connection goes on in: HTTP/2, with its ends exchanged.
pub(crate) const PROTOCOL: HeaderValue = HeaderValue::from_static("hemi-reverse");

/// Where the end that has made the connection is asked to make another one, for this one will not last.
pub(crate) const AGAIN: &str = "/again";

/// Bytes of a stream that may be on their way.
pub(crate) const STREAM_WINDOW: u32 = 256 << 10;

/// The same of all streams of a connection: no bound, for those whose readers are slow would hold up all others.
pub(crate) const CONN_WINDOW: u32 = (1 << 31) - 1;

/// Streams that were given up lately, of which something may still come.
pub(crate) const GIVEN_UP: usize = 1024;

/// Asks the other end at such intervals whether it is still there; is over when it does not answer until the next time.
pub(crate) async fn watch(ping: Option<PingPong>, every: Duration) {
    let Some(mut ping) = ping.filter(|_| !every.is_zero()) else { return pending().await };
    loop {
        sleep(every).await;
        if !matches!(timeout(every, ping.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}
