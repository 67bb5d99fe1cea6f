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
    if client.tls().is_some_and(|tls| tls.alpn_protocol() == Some(b"h2")) {
        ask_http2(&mut client)?;
        return Ok(client);
    }
    client.send(REQUEST)?;
    match client.read_response()?.status {
        200 => Ok(client),
        status => Err(format!("answered {status}").into()),
    }
}

/// Makes one request over HTTP/2, and reads its answer.
fn ask_http2(client: &mut raw::Client) -> Result {
    // GET, https, and by literals `:path` and `:authority` (RFC 7541, 6.2.2).
    let block = b"\x82\x87\x04\x06/hello\x01\x05bench";
    let head = [0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1];
    let start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    client.send([&start[..], &head, block].concat())?;
    loop {
        let head = client.read_exact(9)?;
        let [a, b, c, kind, flags, .., stream] = head[..] else { return Err("no frame".into()) };
        client.read_exact(u32::from_be_bytes([0, a, b, c]) as usize)?;
        match (kind, stream) {
            // The last frame of the answer.
            (0 | 1, 1) if flags & 1 != 0 => return Ok(()),
            (3, 1) => return Err("the stream was reset".into()),
            (7, _) => return Err("the connection is closed".into()),
            (4, _) if flags & 1 == 0 => client.send(b"\0\0\0\x04\x01\0\0\0\0")?,
            _ => {}
        }
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
