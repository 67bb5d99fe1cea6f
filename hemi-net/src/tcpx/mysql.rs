//! How connections of MySQL begin, to clients and to nodes.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::io::{Io, NotReceived, Socket, receive, send};
use hemi_core::tls::Link;
use hemi_proto::mysql::{
    Greeting, Login, NotMysql, Packet, Reply, can, encode_error, encode_switch, tls_request,
};

use super::conn::TcpxConn;
use super::opening::{Begun, Opened};
use crate::Dialed;

/// What a server, and clients, may say until they agree.
const ROUNDS: usize = 8;

/// A client that has said who it is.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) login: Login,
    /// The number of the packet in which it did.
    number: u8,
}

/// Greets a client, and hears who it is. What it proves with that it proves to nobody: a node will ask again.
pub(super) async fn open(
    io: &mut impl Io,
    buf: &mut BytesMut,
    version: &str,
    has_tls: bool,
    limit: Duration,
) -> Option<Opened> {
    let can = if has_tls { can::USUAL | can::TLS } else { can::USUAL };
    let (version, plugin) = (version.to_owned(), "mysql_native_password".to_owned());
    let greeting = Greeting { version, can, salt: salt(), plugin };
    put(io, 0, &greeting.encode(), limit).await.ok()?;
    let packet = next(io, buf, limit).await.ok()?;
    match Reply::read(&packet.payload).ok()? {
        // The handshake follows without an answer, and may have come already.
        Reply::Tls => has_tls.then_some(Opened::Tls),
        Reply::Login(_) if has_tls => {
            let error = encode_error(3159, b"HY000", "connections are taken over TLS only");
            let _ = put(io, packet.number.wrapping_add(1), &error, limit).await;
            None
        }
        Reply::Login(login) => {
            let client = Client { login, number: packet.number };
            Some(Opened::Going(Begun::Mysql(Box::new(client))))
        }
    }
}

/// Hears who a client is, now that TLS is spoken.
pub(super) async fn open_secret(
    io: &mut impl Io,
    buf: &mut BytesMut,
    limit: Duration,
) -> Option<Opened> {
    let packet = next(io, buf, limit).await.ok()?;
    match Reply::read(&packet.payload).ok()? {
        Reply::Tls => None,
        Reply::Login(login) => {
            let client = Client { login, number: packet.number };
            Some(Opened::Going(Begun::Mysql(Box::new(client))))
        }
    }
}

/// What a node says first; then it is told that TLS will be spoken, if it will.
pub(crate) async fn greet(
    socket: &mut Socket,
    has_tls: bool,
    limit: Duration,
) -> io::Result<Greeting> {
    let mut buf = BytesMut::new();
    let packet = next(socket, &mut buf, limit).await?;
    let greeting = Greeting::read(&packet.payload).map_err(io::Error::other)?;
    if has_tls {
        if greeting.can & can::TLS == 0 {
            return Err(io::Error::other("the node does not speak TLS"));
        }
        put(socket, packet.number.wrapping_add(1), &tls_request(), limit).await?;
    }
    Ok(greeting)
}

impl TcpxConn {
    /// Has a client of MySQL prove to a node who it is; false if the node does not believe it, and has said so.
    ///
    /// # Errors
    /// When it is no such connection, or one of them breaks or says what makes no sense.
    pub async fn log_in_mysql(&mut self, to: &mut Dialed, limit: Duration) -> io::Result<bool> {
        let (Some(client), Some(greeting)) = (self.mysql.take(), to.greeting.take()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let (here, early) = self.parts();
        let asked = client.number.wrapping_add(1);
        put(here, asked, &encode_switch(&greeting), limit).await?;
        let proof = next(here, early, limit).await?;
        let (own, number) = match to.link {
            Link::Tls(_) => (can::TLS, 2),
            Link::Plain(_) => (0, 1),
        };
        let login = client.login.encode(own, &proof.payload, &greeting.plugin);
        put(&mut to.link, number, &login, limit).await?;
        // Packets have other numbers here and there.
        let apart = proof.number.wrapping_sub(number);
        let mut buf = BytesMut::new();
        for _ in 0..ROUNDS {
            let said = next(&mut to.link, &mut buf, limit).await?;
            put(here, said.number.wrapping_add(apart), &said.payload, limit).await?;
            match said.payload[..] {
                [0, ..] => {
                    send(here, &buf, limit).await?;
                    return Ok(true);
                }
                [0xff, ..] => return Ok(false),
                // It is known from before: that it is well follows.
                [1, 3] => {}
                [0xfe | 1, ..] => {
                    let reply = next(here, early, limit).await?;
                    let number = reply.number.wrapping_sub(apart);
                    put(&mut to.link, number, &reply.payload, limit).await?;
                }
                _ => return Err(io::Error::other(NotMysql)),
            }
        }
        Err(io::Error::other(NotMysql))
    }

    /// Tells a client of MySQL that there is nobody for it.
    pub async fn refuse_mysql(&mut self, message: &str, limit: Duration) {
        let Some(client) = self.mysql.take() else { return };
        let error = encode_error(1105, b"HY000", message);
        let _ = put(self.parts().0, client.number.wrapping_add(1), &error, limit).await;
    }
}

async fn next(io: &mut impl Io, buf: &mut BytesMut, limit: Duration) -> io::Result<Packet> {
    receive(io, buf, limit, Packet::take).await.map_err(|e| match e {
        NotReceived::Io(e) => e,
        NotReceived::Closed => io::ErrorKind::UnexpectedEof.into(),
        NotReceived::Timeout => io::ErrorKind::TimedOut.into(),
        NotReceived::Malformed(e) => io::Error::other(e),
    })
}

async fn put(io: &mut impl Io, number: u8, payload: &[u8], limit: Duration) -> io::Result<()> {
    let mut out = BytesMut::new();
    Packet::put(&mut out, number, payload);
    send(io, &out, limit).await
}

/// 20 bytes that are no zeros: nothing is proved with them.
fn salt() -> [u8; 20] {
    let hasher = RandomState::new();
    std::array::from_fn(|n| (hasher.hash_one(n) % 94) as u8 + 33)
}
