//! What is settled with a client before it is known what it wants: in some protocols TLS is asked for first.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::io::{Io, Socket, receive, send};
use hemi_proto::pgsql::{self, Opening as Asked, Startup};

/// How connections begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// At once.
    #[default]
    AsIs,
    /// As those of PostgreSQL: TLS is asked for, then a start-up names a user and a database.
    Pgsql,
}

/// What comes after the opening.
#[derive(Debug)]
pub(super) enum Opened {
    /// The handshake of TLS.
    Tls,
    /// What the client wants; its start-up, if it has one, is still to be read by the server.
    Going(Option<Startup>),
}

/// Who may not go on.
const UNSAFE: &str = "28000";

/// Settles with a client of PostgreSQL whether TLS is spoken; where it can be, it must, but for requests to cancel
/// another. None if that comes to nothing.
pub(super) async fn open_pgsql(
    io: &mut impl Io,
    buf: &mut BytesMut,
    has_tls: bool,
    limit: Duration,
) -> Option<Opened> {
    // Encryption by GSSAPI is asked for, then TLS.
    for _ in 0..3 {
        let asked = receive(io, buf, limit, |buf| pgsql::read(buf)).await.ok()?;
        let granted = match asked {
            Asked::Tls => has_tls,
            Asked::Gss => false,
            Asked::DirectTls => return has_tls.then_some(Opened::Tls),
            Asked::Cancel => return Some(Opened::Going(None)),
            Asked::Startup(_) if has_tls => {
                let mut out = BytesMut::new();
                pgsql::put_error(&mut out, UNSAFE, "connections are taken over TLS only");
                let _ = send(io, &out, limit).await;
                return None;
            }
            Asked::Startup(startup) => return Some(Opened::Going(Some(startup))),
        };
        let _ = buf.split_to(pgsql::len(buf).min(buf.len()));
        if granted && !buf.is_empty() {
            // What somebody has put behind it would be taken for what is said in secret.
            return None;
        }
        send(io, &[if granted { pgsql::YES } else { pgsql::NO }], limit).await.ok()?;
        if granted {
            return Some(Opened::Tls);
        }
    }
    None
}

/// Asks a node of PostgreSQL for TLS.
pub(crate) async fn ask_pgsql(socket: &mut Socket, limit: Duration) -> io::Result<()> {
    send(socket, pgsql::TLS_REQUEST, limit).await?;
    let mut buf = BytesMut::new();
    let first = |buf: &mut BytesMut| Ok::<_, io::Error>(buf.first().copied());
    match receive(socket, &mut buf, limit, first).await {
        Ok(pgsql::YES) if buf.len() == 1 => Ok(()),
        Ok(_) => Err(io::Error::other("the node does not speak TLS")),
        Err(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
