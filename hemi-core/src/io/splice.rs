//! Passes bytes from one socket to another within the kernel (splice(2)), as many as are known to come: for
//! long contents, which cost half of what copying them does.

use std::io;
use std::task::{Context, Poll, ready};

use super::Socket;
use super::pipe::Pipe;

/// Bytes for which it pays, at least.
pub const LONG: u64 = 1 << 20;

/// Bytes that are passed on before others of the core get their turn.
const TURN: u64 = 4 << 20;

/// What an empty pipe has room for, at least.
const EARLY: u64 = 64 << 10;

/// One way from a socket to another.
#[derive(Debug)]
pub struct Splice {
    /// There until drop.
    pipe: Option<Pipe>,
    /// It is the sender that has failed.
    sender_failed: bool,
}

impl Splice {
    /// Takes a pipe for it; none if the system has none to give.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self { pipe: Some(Pipe::take()?), sender_failed: false })
    }

    /// Whether it is the receiver that is waited for.
    #[must_use]
    pub fn awaits_room(&self) -> bool {
        self.pipe.as_ref().is_some_and(|pipe| !pipe.is_empty())
    }

    /// Whether an error was the sender's.
    #[must_use]
    pub fn sender_failed(&self) -> bool {
        self.sender_failed
    }

    /// Passes on up to `left` bytes, of which `taken` were taken from the sender; returns how many arrived,
    /// once these are some.
    ///
    /// # Errors
    /// When a socket breaks; `UnexpectedEof` when the sender ends before.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Socket,
        to: &mut Socket,
        left: u64,
        taken: &mut u64,
    ) -> Poll<io::Result<u64>> {
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(0)) };
        let failed = &mut self.sender_failed;
        ready!(from.poll_watched(cx)).inspect_err(|_| *failed = true)?;
        ready!(to.poll_idle(cx))?;
        let mut passed = 0;
        loop {
            while !pipe.is_empty() {
                let before = pipe.len();
                let sent = to.poll_splice_from(cx, pipe)?;
                passed += (before - pipe.len()) as u64;
                if sent.is_pending() {
                    return if passed > 0 { Poll::Ready(Ok(passed)) } else { Poll::Pending };
                }
            }
            let rest = left.saturating_sub(*taken);
            if rest == 0 || passed >= TURN {
                return Poll::Ready(Ok(passed));
            }
            // What a ring had received already comes first.
            if let Some(early) = from.take_early(rest.min(EARLY) as usize) {
                pipe.put(&early)?;
                *taken += early.len() as u64;
                continue;
            }
            let most = usize::try_from(rest).unwrap_or(usize::MAX);
            match from.poll_splice_into(cx, pipe, most) {
                Poll::Ready(Ok(got @ 1..)) => *taken += got as u64,
                Poll::Ready(end) => {
                    *failed = true;
                    return Poll::Ready(end.and(Err(io::ErrorKind::UnexpectedEof.into())));
                }
                Poll::Pending if passed > 0 => return Poll::Ready(Ok(passed)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Drop for Splice {
    fn drop(&mut self) {
        // One that is not empty is closed: what is left must never come out of it for somebody else.
        if let Some(pipe) = self.pipe.take() {
            pipe.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn all_arrives_in_order_whoever_is_slower() {
        let (mut client, from) = UnixStream::pair().unwrap();
        let (to, mut server) = UnixStream::pair().unwrap();
        let content: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        let (sent, len) = (content.clone(), content.len() as u64);
        let writing = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client
        });
        let reading = tokio::spawn(async move {
            let mut got = vec![0; len as usize];
            server.read_exact(&mut got).await.unwrap();
            got
        });
        let (mut from, mut to) = (Socket::from(from), Socket::from(to));
        let (mut way, mut taken, mut passed) = (Splice::new().unwrap(), 0, 0);
        while passed < len {
            let step = poll_fn(|cx| way.poll(cx, &mut from, &mut to, len, &mut taken));
            passed += step.await.unwrap();
        }
        assert_eq!(reading.await.unwrap(), content);
        assert!(!way.awaits_room() && taken == len);
        // The end comes too early.
        drop(writing.await.unwrap());
        let step = poll_fn(|cx| way.poll(cx, &mut from, &mut to, len + 1, &mut taken));
        assert_eq!(step.await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(way.sender_failed());
    }
}
