//! WebSockets (RFC 6455): messages both ways, for as long as client and server like.

mod broadcast;
mod config;
mod driver;
mod json;
mod masks;
mod outcome;
mod pass_on;
mod state;
mod times;
mod upgrade;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use hemi_proto::websocket::WebSocketError;
pub use hemi_proto::websocket::{Close, CloseCode, Message};

pub use self::broadcast::{Broadcast, Member, Slow};
pub use self::config::{Compression, CompressionWindow, WebSocketConfig};
pub use self::json::JsonSocket;
pub use self::outcome::Outcome;
use self::state::Shared;
pub use self::upgrade::WebSocketUpgrade;

/// A connection that messages come and go by. A handle gets one from a [`WebSocketUpgrade`].
///
/// ```
/// use hemi_web::testing::{Server, TestSocket};
/// use hemi_web::{Mapper, Response, SocketError, WebSocketUpgrade};
///
/// async fn echo(upgrade: WebSocketUpgrade) -> Response {
///     upgrade.on_upgrade(async |mut socket| {
///         while let Some(message) = socket.recv().await? {
///             socket.send(message).await?;
///         }
///         Ok::<_, SocketError>(())
///     })
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::of(Mapper::new().get("/echo", echo))?;
/// let mut client = TestSocket::connect(server.address(), "/echo").await?;
/// client.send("Hello").await?;
/// assert_eq!(client.recv().await?.unwrap().as_text(), Some("Hello"));
/// # Ok(())
/// # }
/// ```
///
/// The connection's own task looks after it meanwhile: it answers pings and sends its own, ends a connection
/// that is silent in spite of them, answers a close, and sends what waits to be sent, many messages in one
/// write. It takes no more from the client than the handle asks for. When the handle has ended and all that
/// is left of the socket is dropped, the connection is closed: with 1000, or with 1011 if the handle returned
/// an error. When the server drains, the client is told so by 1001; until the client has closed too, or
/// [`WebSocketConfig::close_timeout`] is over, what it still sends is received.
#[derive(Debug)]
pub struct WebSocket {
    receiver: SocketReceiver,
    sender: SocketSender,
    protocol: Option<Box<str>>,
}

/// The half of a [`WebSocket`] that receives.
#[derive(Debug)]
pub struct SocketReceiver(Arc<Shared>);

/// The half of a [`WebSocket`] that sends; there may be several.
#[derive(Debug)]
pub struct SocketSender(Arc<Shared>);

/// Why nothing can be received or sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocketError {
    /// It is closed: by the client, by the server that drains, or by [`SocketSender::close`].
    #[error("the WebSocket is closed")]
    Closed,
    /// The client broke the protocol, or a limit.
    #[error("the client sent {0}")]
    Protocol(#[from] WebSocketError),
    /// The connection was lost without a close.
    #[error("the connection was lost: {0}")]
    Lost(io::ErrorKind),
    /// The client answers no pings.
    #[error("the client answers no pings")]
    Silent,
    /// The client takes nothing of what is sent.
    #[error("the client takes nothing of what is sent")]
    Stalled,
    /// A member of a [`Broadcast`] was too slow for it.
    #[error("the client is too slow")]
    Slow,
    /// The client sent something else than the JSON that is expected.
    #[error("the client sent something else than the JSON that is expected")]
    Json,
}

impl WebSocket {
    /// The next message; none after the client has closed the connection.
    ///
    /// It may be dropped and asked again, as in `select!`: no message is lost.
    ///
    /// # Errors
    /// When the connection is lost, or the client breaks the protocol; it is told so.
    pub async fn recv(&mut self) -> Result<Option<Message>, SocketError> {
        self.receiver.recv().await
    }

    /// See [`SocketSender::send`].
    ///
    /// # Errors
    /// See [`SocketSender::send`].
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), SocketError> {
        self.sender.send(message).await
    }

    /// See [`SocketSender::close`].
    pub fn close(&mut self, close: impl Into<Close>) {
        self.sender.close(close);
    }

    /// What the client has closed the connection with, if it has, and if it gave a code.
    #[must_use]
    pub fn client_close(&self) -> Option<Close> {
        self.receiver.client_close()
    }

    /// The subprotocol that was agreed on, one of [`WebSocketUpgrade::protocols`].
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Another half that sends, for whoever else has something to say.
    #[must_use]
    pub fn sender(&self) -> SocketSender {
        self.sender.clone()
    }

    /// The halves, which different tasks may have.
    #[must_use]
    pub fn split(self) -> (SocketSender, SocketReceiver) {
        (self.sender, self.receiver)
    }

    /// The same for messages that are JSON of these types.
    #[must_use]
    pub fn json<In, Out>(self) -> JsonSocket<In, Out> {
        JsonSocket::new(self)
    }
}

impl SocketReceiver {
    /// See [`WebSocket::recv`].
    ///
    /// # Errors
    /// See [`WebSocket::recv`].
    pub async fn recv(&mut self) -> Result<Option<Message>, SocketError> {
        poll_fn(|cx| self.0.lock().poll_message(cx)).await
    }

    /// See [`WebSocket::client_close`].
    #[must_use]
    pub fn client_close(&self) -> Option<Close> {
        self.0.lock().client_close().cloned()
    }
}

impl SocketSender {
    /// Has a message sent: at the latest when the handle waits for something. Waits itself while 64 KiB
    /// or more wait to be sent already.
    ///
    /// # Errors
    /// When the connection is closed or lost.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SocketError> {
        let mut message = Some(message.into());
        poll_fn(|cx| self.0.lock().poll_put(cx, &mut message)).await
    }

    /// Waits until all is sent.
    ///
    /// # Errors
    /// When the connection is closed or lost.
    pub async fn flush(&self) -> Result<(), SocketError> {
        poll_fn(|cx| self.0.lock().poll_flushed(cx)).await
    }

    /// Closes the connection: nothing more is sent, and [`WebSocket::recv`] gives what the client
    /// sends until it has closed too.
    pub fn close(&self, close: impl Into<Close>) {
        self.0.lock().close(Some(&close.into()));
    }
}

impl Clone for SocketSender {
    fn clone(&self) -> Self {
        self.0.lock().handles += 1;
        Self(self.0.clone())
    }
}

impl Drop for SocketSender {
    fn drop(&mut self) {
        self.0.lock().drop_handle();
    }
}

impl Drop for SocketReceiver {
    fn drop(&mut self) {
        self.0.lock().drop_receiver();
    }
}
