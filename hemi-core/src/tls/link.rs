//! A connection to a server, encrypted or not: what the next layer does is the same.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Connector, TlsStream};
use crate::backend::Target;
use crate::io::{Dialing, Io, Outbox, Socket};

/// A connection, of TLS or in the clear.
#[derive(Debug)]
pub enum Link {
    /// In the clear.
    Plain(Socket),
    /// Of TLS.
    Tls(Box<TlsStream>),
}

impl Link {
    /// Connects, and shakes hands with the server of this host if there is a connector. For a connection that
    /// is one task's business after the other: see [`Socket::connect`].
    ///
    /// # Errors
    /// What the system says; and as [`Connector::connect`].
    pub async fn connect(
        target: &Target,
        host: &str,
        connector: Option<&Arc<Connector>>,
    ) -> io::Result<Self> {
        Self::over(Socket::connect(target).await?, host, connector).await
    }

    /// The same for a connection that is all one task's business: see [`Socket::dial`].
    ///
    /// # Errors
    /// The same.
    pub async fn dial(
        target: &Target,
        host: &str,
        connector: Option<&Arc<Connector>>,
        how: &Dialing<'_>,
    ) -> io::Result<Self> {
        Self::over(Socket::dial(target, how).await?, host, connector).await
    }

    /// The same on a connection that there is already.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub async fn over(
        socket: Socket,
        host: &str,
        connector: Option<&Arc<Connector>>,
    ) -> io::Result<Self> {
        match connector {
            None => Ok(Self::Plain(socket)),
            Some(connector) => Ok(Self::Tls(Box::new(connector.connect(socket, host).await?))),
        }
    }

    /// Whether nothing has come since all was received, not even the end: see [`Socket::is_quiet`].
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_quiet(),
            Self::Tls(stream) => stream.is_quiet(),
        }
    }
}

macro_rules! on_either {
    ($self:expr, $io:ident => $call:expr) => {
        match $self {
            Self::Plain($io) => $call,
            Self::Tls($io) => $call,
        }
    };
}

impl Io for Link {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        on_either!(self, io => io.poll_recv(cx, buf))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<io::Result<()>> {
        on_either!(self, io => io.poll_send(cx, out))
    }

    fn unsent(&self) -> usize {
        on_either!(self, io => io.unsent())
    }

    fn last(&mut self) {
        on_either!(self, io => io.last());
    }

    fn shutdown(&mut self) -> io::Result<()> {
        on_either!(self, io => io.shutdown())
    }

    fn reset(&mut self) {
        on_either!(self, io => io.reset());
    }

    fn socket(&mut self) -> Option<&mut Socket> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Tls(_) => None,
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_either!(self.get_mut(), io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_either!(self.get_mut(), io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_either!(self.get_mut(), io => Pin::new(io).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        on_either!(self, io => io.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_either!(self.get_mut(), io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_either!(self.get_mut(), io => Pin::new(io).poll_shutdown(cx))
    }
}
