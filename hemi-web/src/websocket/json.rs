//! Messages that are JSON.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Close, CloseCode, SocketError, WebSocket};

/// A [`WebSocket`] whose messages are JSON of these types: `In` come, `Out` go.
///
/// ```
/// use hemi_web::testing::{Server, TestSocket};
/// use hemi_web::{Mapper, Response, SocketError, WebSocketUpgrade};
///
/// #[derive(serde::Deserialize)]
/// struct Sum {
///     numbers: Vec<u32>,
/// }
///
/// async fn sums(upgrade: WebSocketUpgrade) -> Response {
///     upgrade.on_upgrade(async |socket| {
///         let mut socket = socket.json::<Sum, u32>();
///         while let Some(Sum { numbers }) = socket.recv().await? {
///             socket.send(&numbers.iter().sum()).await?;
///         }
///         Ok::<_, SocketError>(())
///     })
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::of(Mapper::new().get("/sums", sums))?;
/// let mut client = TestSocket::connect(server.address(), "/sums").await?;
/// client.send(r#"{"numbers": [1, 2, 3]}"#).await?;
/// assert_eq!(client.recv().await?.unwrap().as_text(), Some("6"));
/// client.send(r#"{"numbers": 7}"#).await?;
/// assert_eq!(client.closed().await?.unwrap().code.number(), 1007);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct JsonSocket<In, Out> {
    socket: WebSocket,
    types: PhantomData<fn(Out) -> In>,
}

impl<In, Out> JsonSocket<In, Out> {
    pub(super) fn new(socket: WebSocket) -> Self {
        Self { socket, types: PhantomData }
    }

    /// The socket itself.
    pub fn socket(&mut self) -> &mut WebSocket {
        &mut self.socket
    }
}

impl<In: DeserializeOwned, Out: Serialize> JsonSocket<In, Out> {
    /// The next message; none after the client has closed the connection.
    ///
    /// # Errors
    /// See [`WebSocket::recv`]. What is no JSON, or no such value, closes the connection with 1007.
    pub async fn recv(&mut self) -> Result<Option<In>, SocketError> {
        let Some(message) = self.socket.recv().await? else { return Ok(None) };
        match serde_json::from_slice(message.as_bytes()) {
            Ok(value) => Ok(Some(value)),
            Err(e) => {
                self.socket.close(Close::new(CloseCode::INVALID_DATA, e.to_string()));
                Err(SocketError::Json)
            }
        }
    }

    /// Has a message sent: see [`super::SocketSender::send`].
    ///
    /// # Errors
    /// When the connection is closed or lost, or the value can't be JSON.
    pub async fn send(&mut self, value: &Out) -> Result<(), SocketError> {
        let text = serde_json::to_string(value).map_err(|_| SocketError::Json)?;
        self.socket.send(text).await
    }
}
