//! The memory that idle keep-alive connections cost a server.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hemi_test::{poll, process, raw};
use rustls::ClientConfig;

use super::servers::Running;
use crate::Result;

const REQUEST: &str = "GET /hello HTTP/1.1\r\nHost: bench\r\n\r\n";

/// A server may count connections per client address: no address opens more than this many.
const PER_ADDRESS: u32 = 200;

/// How long a server has to give back what it doesn't need any more.
const SETTLE: Duration = Duration::from_secs(2);

/// Opens connections that make one request each, over TLS if so configured, and returns by how many bytes per connection the
/// server's resident memory has grown.
pub(super) fn bytes_per_connection(
    server: &Running,
    connections: u32,
    over: Option<&Arc<ClientConfig>>,
) -> Result<u64> {
    // What the first requests allocate once and for all isn't the connections' memory.
    drop(open(server, over, 1..=PER_ADDRESS)?);
    let before = settled_bytes(server);
    let open = open(server, over, 1..=connections)?;
    let after = settled_bytes(server);
    drop(open);
    Ok(after.saturating_sub(before) / u64::from(connections))
}

fn open(
    server: &Running,
    over: Option<&Arc<ClientConfig>>,
    numbers: impl Iterator<Item = u32>,
) -> Result<Vec<raw::Client>> {
    numbers
        .map(|number| {
            let client = connection(server, over, number);
            Ok(client.map_err(|error| format!("idle connection {number}: {error}"))?)
        })
        .collect()
}

/// A connection that has made one request.
fn connection(
    server: &Running,
    over: Option<&Arc<ClientConfig>>,
    number: u32,
) -> Result<raw::Client> {
    // 127.1.0.1 and so on are this machine as well.
    let first = Ipv4Addr::new(127, 1, 0, 1);
    let source = Ipv4Addr::from_bits(first.to_bits() + number / PER_ADDRESS);
    let mut client = raw::Client::connect_from(IpAddr::V4(source), server.addr())?;
    if let Some(config) = over {
        client = client.begin_tls("bench", config)?;
    }
    client.send(REQUEST)?;
    match client.read_response()?.status {
        200 => Ok(client),
        status => Err(format!("answered {status}").into()),
    }
}

/// The least memory it has within the time to settle.
fn settled_bytes(server: &Running) -> u64 {
    let mut least = u64::MAX;
    poll(SETTLE, || {
        least = least.min(process::resident_bytes(&server.pids()));
        None::<()>
    });
    least
}
