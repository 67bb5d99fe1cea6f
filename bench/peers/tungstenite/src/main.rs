//! Echoes messages by tokio-tungstenite in its best configuration: `bench-tungstenite FILE`, where the file
//! holds the address to listen on.

use std::future::poll_fn;
use std::task::{Poll, ready};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Messages that have come together go back in one write.
async fn echo(socket: TcpStream) -> Result<(), Error> {
    // The default of 128 KiB is cleared before each read.
    let config = WebSocketConfig::default().read_buffer_size(4 << 10);
    let mut socket = accept_async_with_config(socket, Some(config)).await?;
    poll_fn(|cx| {
        loop {
            match socket.poll_next_unpin(cx) {
                Poll::Ready(Some(message)) => {
                    let message = message?;
                    if message.is_text() || message.is_binary() {
                        ready!(socket.poll_ready_unpin(cx))?;
                        socket.start_send_unpin(message)?;
                    }
                }
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    ready!(socket.poll_flush_unpin(cx))?;
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let Some(config) = std::env::args().nth(1) else {
        return Err(std::io::Error::other("usage: bench-tungstenite FILE"));
    };
    let address = std::fs::read_to_string(config)?;
    let listener = TcpListener::bind(address.trim()).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(echo(socket));
    }
}
