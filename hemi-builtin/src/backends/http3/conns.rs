//! Connections to nodes by HTTP/3, and what is said on them besides requests.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use hemi_core::Result;
use hemi_core::backend::{Endpoint, Target};
use hemi_core::quic::QuicConnector;
use hemi_core::quic::quinn::{Connection, RecvStream, SendStream};
use hemi_proto::http3::qpack::{Decoder, Encoder};
use hemi_proto::http3::{Code, ControlEvent, ControlStream, Incoming, Settings, UniKind};
use tokio::sync::SetOnce;
use tokio::task::JoinSet;
use tracing::debug;

use crate::backends::multiplexed::{Gone, Multiplex};

/// Bytes that are read in one go of what is said about a connection.
const PIECE: usize = 4 << 10;

/// Bytes of what is not complete there, at most.
const MOST: usize = 32 << 10;

/// Speaks HTTP/3 to nodes.
#[derive(Debug)]
pub(super) struct Http3 {
    pub(super) quic: QuicConnector,
    /// Bytes of an answer's head, at most.
    pub(super) head_size: usize,
}

/// A connection, which ends when nobody has it any more.
#[derive(Debug)]
pub(super) struct Conn {
    quic: Connection,
    told: Arc<SetOnce<Settings>>,
}

impl Multiplex for Http3 {
    type Conn = Conn;

    fn prepare(&self) -> Result<()> {
        self.quic.prepare()
    }

    async fn connect(&self, endpoint: &Endpoint, gone: Gone) -> io::Result<Conn> {
        let Target::Tcp(address) = endpoint.target() else {
            return Err(io::Error::other("HTTP/3 is not spoken over Unix sockets"));
        };
        let quic = self.quic.connect(*address, &endpoint.hostname()).await?;
        let told = Arc::new(SetOnce::new());
        let conn = Conn { quic: quic.clone(), told: told.clone() };
        let mut settings = BytesMut::from(&[0][..]);
        let max_field_section_size = Some(self.head_size as u64);
        Settings { max_field_section_size, ..Settings::default() }.put(&mut settings);
        let mut control = quic.open_uni().await?;
        control.write_all(&settings).await?;
        let node = endpoint.target().clone();
        // Is over when nobody holds the connection any more, or the node has closed it.
        tokio::spawn(async move {
            let ended = attend(&quic, control, &gone, &told).await;
            gone.tell();
            if let Err(code) = ended {
                debug!(%node, "connection to the node closed: {code}");
                quic.close(code.value().into(), b"");
            }
        });
        Ok(conn)
    }
}

impl Conn {
    /// Opens the stream of a request, once the node lets it.
    pub(super) async fn open(&self) -> io::Result<(SendStream, RecvStream)> {
        Ok(self.quic.open_bi().await?)
    }

    /// What the node has said of itself, once it has.
    pub(super) async fn settings(&self) -> Settings {
        *self.told.wait().await
    }

    /// Ends the connection, for the node has broken the protocol.
    pub(super) fn fail(&self, code: Code) {
        self.quic.close(code.value().into(), b"");
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.quic.close(Code::NoError.value().into(), b"");
    }
}

/// Hears what the node says about the connection, until it ends. Our own control stream may not end before.
async fn attend(
    quic: &Connection,
    control: SendStream,
    gone: &Gone,
    told: &Arc<SetOnce<Settings>>,
) -> Result<(), Code> {
    let (mut incoming, mut streams) = (Incoming::default(), JoinSet::new());
    loop {
        tokio::select! {
            opened = quic.accept_uni() => match opened {
                Ok(mut recv) => {
                    let mut buf = BytesMut::new();
                    // A few bytes, which come in one packet; who holds them back holds up himself only.
                    let kind = kind(&mut recv, &mut buf, &mut incoming).await?;
                    streams.spawn(follow(recv, buf, kind, gone.clone(), told.clone()));
                }
                Err(_) => break,
            },
            Some(ended) = streams.join_next() => ended.unwrap_or(Ok(()))?,
        }
    }
    drop(control);
    Ok(())
}

async fn kind(
    recv: &mut RecvStream,
    buf: &mut BytesMut,
    incoming: &mut Incoming,
) -> Result<UniKind, Code> {
    loop {
        if let Some(kind) = incoming.kind(buf)? {
            return Ok(kind);
        }
        if more(recv, buf).await.is_none_or(|read| read == 0) {
            return Ok(UniKind::Unknown);
        }
    }
}

/// Reads one of the node's streams to its end, which is that of the connection for those that matter.
async fn follow(
    mut recv: RecvStream,
    mut buf: BytesMut,
    kind: UniKind,
    gone: Gone,
    told: Arc<SetOnce<Settings>>,
) -> Result<(), Code> {
    let mut control = ControlStream::default();
    // Neither of us has a table.
    let (mut decoder, mut encoder) = (Decoder::new(0, 0), Encoder::default());
    loop {
        match kind {
            UniKind::Control => {
                while let Some(event) = control.read(&mut buf)? {
                    match event {
                        ControlEvent::Settings(settings) => _ = told.set(settings),
                        ControlEvent::Goaway => gone.tell(),
                        ControlEvent::PriorityUpdate(..) => {}
                    }
                }
            }
            UniKind::QpackEncoder => decoder.read_instructions(&mut buf)?,
            UniKind::QpackDecoder => encoder.read_instructions(&mut buf)?,
            UniKind::Unknown => {
                let _ = recv.stop(Code::StreamCreationError.value().into());
                return Ok(());
            }
        }
        if buf.len() > MOST {
            return Err(Code::ExcessiveLoad);
        }
        match more(&mut recv, &mut buf).await {
            Some(1..) => {}
            Some(0) => return kind.end(),
            // With the connection all its streams go.
            None => return Ok(()),
        }
    }
}

/// Reads on; none if the stream was reset, or the connection is gone.
async fn more(recv: &mut RecvStream, buf: &mut BytesMut) -> Option<usize> {
    buf.reserve(PIECE);
    tokio_util::io::read_buf(&mut *recv, buf).await.ok()
}
