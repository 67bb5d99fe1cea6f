//! The way in by HTTP: a CONNECT to a path, after which the connection is one of rpcx.

/// What a client begins with; the line ends are as they are in Go.
pub const CONNECT: &[u8] = b"CONNECT /_rpcx_ HTTP/1.0\n\n";

/// What it is answered with.
pub const CONNECTED: &[u8] = b"HTTP/1.0 200 Connected to rpcx\n\n";

/// Bytes of such a request, at most.
const MOST: usize = 1024;

/// How long the CONNECT is that a connection begins with: 0 while it is not all there; none if it is none.
#[must_use]
pub fn read_connect(bytes: &[u8]) -> Option<usize> {
    const LINE: &[u8] = b"CONNECT /_rpcx_ HTTP/1.";
    let known = bytes.len().min(LINE.len());
    if bytes.get(..known)? != LINE.get(..known)? || bytes.len() > MOST {
        return None;
    }
    let mut line = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if line == 0 => return Some(at + 1),
            b'\n' => line = 0,
            b'\r' => {}
            _ => line += 1,
        }
    }
    Some(0)
}

/// How long the answer is, if it is all there: 0 while it is not; none if it refuses.
#[must_use]
pub fn read_connected(bytes: &[u8]) -> Option<usize> {
    let known = bytes.len().min(CONNECTED.len());
    if bytes.get(..known)? != CONNECTED.get(..known)? {
        return None;
    }
    Some(if known == CONNECTED.len() { known } else { 0 })
}
