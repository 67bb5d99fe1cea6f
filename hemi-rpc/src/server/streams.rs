//! A connection that begins with a token: what is done with it was said when the token was given.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, BytesMut};
use hemi_core::clock::Moment;
use hemi_core::deadline::Deadline;
use hemi_core::gate::{Phase, Ticket};
use hemi_core::listen::Peer;
use hemi_core::panics::catch;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{debug, error};

use super::Shared;
use crate::side::{SideStream, TOKEN};

/// Has it served to its end, or that of the server.
pub(super) async fn serve<I>(
    io: I,
    mut rbuf: BytesMut,
    peer: Peer,
    ticket: Ticket,
    server: &Arc<Shared>,
) where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let token = rbuf.first_chunk::<TOKEN>().copied();
    let work = token.and_then(|token| server.tokens.as_ref()?.take(&token));
    let Some(work) = work else {
        server.counters.refused.add(1);
        debug!(%peer, "connection closed: its token is not known");
        return;
    };
    rbuf.advance(TOKEN);
    let work = pin!(work(SideStream::new(io, rbuf, Some(peer))));
    let mut working = pin!(catch(work));
    let mut deadline = None;
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = working.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        if ticket.phase() == Phase::Ending {
            return Poll::Ready(None);
        }
        // Its group is woken when that changes.
        let group = ticket.group();
        deadline.get_or_insert_with(|| Deadline::new(group, cx.waker())).set(Moment::NEVER);
        Poll::Pending
    });
    if let Some(Err(panic)) = ended.await {
        server.counters.panics.add(1);
        error!(%peer, "a stream panicked: {panic}");
    }
}
