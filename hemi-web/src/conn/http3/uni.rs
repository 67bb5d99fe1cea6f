//! Streams that the client opens in its direction only.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use bytes::BytesMut;
use hemi_core::quic::quinn::RecvStream;
use hemi_proto::http3::{Code, ControlEvent, ControlStream, UniKind};
use hemi_proto::priority::Priority;
use tokio_util::io::poll_read_buf;

use super::link::Link;

/// Bytes that are read in one go.
const PIECE: usize = 4 << 10;

/// Bytes of an instruction that is not complete, at most: tables have no room for more.
const INSTRUCTION: usize = 32 << 10;

/// Reads one of them to its end, which is that of the connection for those that matter.
pub(super) async fn read(link: Arc<Link>, mut recv: RecvStream) {
    match follow(&link, &mut recv).await {
        Ok(()) => {
            // Nobody reads what is not known.
            let _ = recv.stop(Code::StreamCreationError.value().into());
        }
        Err(code) => link.fail(code),
    }
}

async fn follow(link: &Link, recv: &mut RecvStream) -> Result<(), Code> {
    let mut buf = BytesMut::new();
    let kind = loop {
        if let Some(kind) = link.kind(&mut buf)? {
            break kind;
        }
        match more(recv, &mut buf).await {
            Some(1..) => {}
            _ => return Ok(()),
        }
    };
    let mut control = ControlStream::default();
    loop {
        match kind {
            UniKind::Control => {
                while let Some(event) = control.read(&mut buf)? {
                    heed(link, event)?;
                }
            }
            UniKind::QpackEncoder => link.build(|decoder| decoder.read_instructions(&mut buf))?,
            UniKind::QpackDecoder => link.encode(|encoder| encoder.read_instructions(&mut buf))?,
            UniKind::Unknown => return Ok(()),
        }
        if buf.len() > INSTRUCTION {
            return Err(Code::ExcessiveLoad);
        }
        match more(recv, &mut buf).await {
            Some(1..) => {}
            Some(0) => return kind.end(),
            // With the connection all its streams go.
            None => return if link.quic.close_reason().is_some() { Ok(()) } else { kind.end() },
        }
    }
}

/// Reads on; none if the stream was reset, or the connection is gone.
async fn more(recv: &mut RecvStream, buf: &mut BytesMut) -> Option<usize> {
    buf.reserve(PIECE);
    poll_fn(|cx| poll_read_buf(Pin::new(&mut *recv), cx, buf)).await.ok()
}

fn heed(link: &Link, event: ControlEvent) -> Result<(), Code> {
    match event {
        ControlEvent::Settings(settings) => link.heed(&settings)?,
        ControlEvent::PriorityUpdate(stream, value) => {
            link.prioritize(stream.0, Priority::parse(&value));
        }
        // It goes when it has all its answers.
        ControlEvent::Goaway => {}
    }
    Ok(())
}
