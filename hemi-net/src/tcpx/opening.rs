//! What is settled with a client before it is known what it wants: in some protocols TLS is asked for first.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::io::{Io, NotReceived, Socket, receive, send};
use hemi_proto::pgsql::Opening as Asked;
use hemi_proto::{pgsql, redis};

use super::mysql::{self, Client};

/// How connections begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// At once.
    #[default]
    AsIs,
    /// As those of PostgreSQL: TLS is asked for, then a start-up names a user and a database.
    Pgsql,
    /// As those of MySQL: the server greets, by this version, and the client may ask for TLS before it names a user.
    Mysql(Arc<str>),
    /// As those of Redis: the client names a user, and maybe a database, before it asks for anything; TLS is spoken at
    /// once.
    Redis,
}

/// What a client has begun with.
#[derive(Debug)]
pub(super) enum Begun {
    /// Its start-up, if it has one, is still to be read by the server.
    Pgsql(Option<pgsql::Startup>),
    Mysql(Box<Client>),
    Redis(redis::Startup),
}

/// What comes after the opening.
#[derive(Debug)]
pub(super) enum Opened {
    /// The handshake of TLS.
    Tls,
    /// What the client wants.
    Going(Begun),
}

/// The first byte of TLS (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

/// Who may not go on.
const UNSAFE: &str = "28000";

/// Settles with a client how it goes on. None if that comes to nothing.
pub(super) async fn open(
    opening: &Opening,
    io: &mut impl Io,
    buf: &mut BytesMut,
    has_tls: bool,
    limit: Duration,
) -> Option<Opened> {
    match opening {
        Opening::Mysql(version) => mysql::open(io, buf, version, has_tls, limit).await,
        Opening::Redis => open_redis(io, buf, has_tls, limit).await,
        Opening::AsIs | Opening::Pgsql => open_pgsql(io, buf, has_tls, limit).await,
    }
}

/// The same now that TLS is spoken.
pub(super) async fn open_secret(
    opening: &Opening,
    io: &mut impl Io,
    buf: &mut BytesMut,
    limit: Duration,
) -> Option<Opened> {
    match opening {
        Opening::Mysql(_) => mysql::open_secret(io, buf, limit).await,
        Opening::Redis => open_redis(io, buf, false, limit).await,
        Opening::AsIs | Opening::Pgsql => open_pgsql(io, buf, false, limit).await,
    }
}

/// Settles with a client of PostgreSQL whether TLS is spoken; where it can be, it must, but for requests to cancel
/// another. None if that comes to nothing.
async fn open_pgsql(
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
            Asked::Cancel => return Some(Opened::Going(Begun::Pgsql(None))),
            Asked::Startup(_) if has_tls => {
                let mut out = BytesMut::new();
                pgsql::put_error(&mut out, UNSAFE, "connections are taken over TLS only");
                let _ = send(io, &out, limit).await;
                return None;
            }
            Asked::Startup(startup) => return Some(Opened::Going(Begun::Pgsql(Some(startup)))),
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

/// Hears who a client of Redis is. Where TLS can be spoken, it must. Who says nothing for so long is nobody in particular.
async fn open_redis(
    io: &mut impl Io,
    buf: &mut BytesMut,
    has_tls: bool,
    limit: Duration,
) -> Option<Opened> {
    if has_tls {
        let first = |buf: &mut BytesMut| Ok::<_, Infallible>(buf.first().copied());
        return match receive(io, buf, limit, first).await {
            Ok(HANDSHAKE) => Some(Opened::Tls),
            Ok(_) => {
                let error = redis::encode_error("connections are taken over TLS only");
                let _ = send(io, &error, limit).await;
                None
            }
            Err(_) => None,
        };
    }
    let startup = match receive(io, buf, limit, |buf| redis::read(buf)).await {
        Ok(startup) => startup,
        Err(NotReceived::Timeout) if buf.is_empty() => redis::Startup::default(),
        Err(_) => return None,
    };
    Some(Opened::Going(Begun::Redis(startup)))
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
