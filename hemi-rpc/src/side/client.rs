//! The client's side: asks for a token, and connects with it.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Asked, FILES, Given, STREAMS, SideFile, SideMeta, SideStream};
use crate::{Client, RpcError};

impl Client {
    /// Opens a stream, as `Stream` does in Go: by a call, and a connection of its own without TLS.
    ///
    /// # Errors
    /// When the call fails, or the server can't be connected to where it says.
    pub async fn stream(&self, meta: SideMeta) -> Result<SideStream, RpcError> {
        self.side((STREAMS, "Stream"), Asked { meta, ..Asked::default() }).await
    }

    /// Sends a file of so many bytes, as `SendFile` does in Go, and waits until the server has closed the stream, or for as long
    /// as an answer may take: it says nothing of what has become of the file.
    ///
    /// # Errors
    /// When the call fails, the content can't be read, or the server does not take it.
    pub async fn send_file<R>(&self, file: SideFile, content: R) -> Result<(), RpcError>
    where
        R: AsyncRead + Unpin,
    {
        let SideFile { name, size, meta } = file;
        let asked = Asked { name, size: i64::try_from(size).unwrap_or(i64::MAX), meta };
        let mut stream = self.side((FILES, "TransferFile"), asked).await?;
        let sent = copy(&mut content.take(size), &mut stream).await.map_err(RpcError::lost)?;
        if sent < size {
            return Err(RpcError::lost(format_args!("the file has {sent} bytes, not {size}")));
        }
        stream.shutdown().await.map_err(RpcError::lost)?;
        // Nothing comes but the end.
        let mut end = [0; 1];
        let _ = timeout(self.config().call_timeout, stream.read(&mut end)).await;
        Ok(())
    }

    /// Asks for a file, as `DownloadFile` does in Go: the stream has what there is of it, to its end.
    ///
    /// # Errors
    /// When the call fails, or the server can't be connected to where it says.
    pub async fn download(&self, name: &str, meta: SideMeta) -> Result<SideStream, RpcError> {
        let asked = Asked { name: name.to_owned(), size: 0, meta };
        self.side((FILES, "DownloadFile"), asked).await
    }

    async fn side(
        &self,
        (service, method): (&str, &str),
        asked: Asked,
    ) -> Result<SideStream, RpcError> {
        let Given { token, addr } = self.ask(service, method).call(&asked).await?;
        let unreachable =
            |e: &dyn std::fmt::Display| RpcError::Unreachable(format!("{addr}: {e}").into());
        let connecting = timeout(self.config().connect_timeout, TcpStream::connect(&addr)).await;
        let connected = connecting.map_err(|_| unreachable(&"it takes too long"))?;
        let mut stream = connected.map_err(|e| unreachable(&e))?;
        stream.set_nodelay(true).map_err(RpcError::lost)?;
        stream.write_all(&token).await.map_err(RpcError::lost)?;
        Ok(SideStream::new(stream, BytesMut::new(), None))
    }
}
