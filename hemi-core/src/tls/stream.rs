//! A connection's bytes, encrypted: rustls over a [`Socket`], seen as [`Io`].
//!
//! What is to be sent is sealed in pieces of 64 KiB, each written in one system call: answers that wait
//! together go out together. An idle connection holds no buffer but the 4 KiB that rustls keeps.

use std::io::{self, BufRead as _, IoSlice, Write as _};
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, BytesMut};
use rustls::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::info::TlsInfo;
use crate::clock::{self, Moment};
use crate::io::outbox::Next;
use crate::io::socket::{LARGE, room};
use crate::io::{Io, Outbox, SharedFile, Socket, pool};

/// Bytes that are sealed before they are written.
const SEALED: usize = 64 << 10;

/// Bytes to receive at once where much is expected.
const RECEIVED: usize = 64 << 10;

/// Bytes of a record at the start, and after a pause: a client can use what has come before all of a
/// large record has, which may take the network another round trip.
const EARLY_RECORD: usize = 4 << 10;

/// So many bytes after the start or a pause records are as large as they can be.
const EARLY: usize = 64 << 10;

/// What a connection has learnt about its network is no longer relied on after such a pause.
const PAUSE: Duration = Duration::from_secs(1);

/// Slices sealed at once.
const SLICES: usize = 32;

/// Pieces that are sealed and sent in a row, before others of the core get their turn.
const TURN: usize = 8;

/// A TLS connection, of a server or a client, whose handshake is done.
pub struct TlsStream {
    pub(super) socket: Socket,
    pub(super) tls: Box<Connection>,
    info: Arc<TlsInfo>,
    /// Received, and not decrypted yet.
    inbound: BytesMut,
    /// Bytes sealed and not sent, about.
    unsent: usize,
    /// Bytes sealed since the start or a pause.
    flowed: usize,
    /// When bytes were last sealed.
    last: Moment,
    end: End,
    fin: Fin,
}

/// How far a connection is with its end, on our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// What is sealed next is the last.
    Near,
    /// The peer is told, or will be when what is sealed has been sent.
    Told,
    /// The peer is to see an error.
    Reset,
}

/// Whether the socket is to be shut down when all has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    No,
    Due,
    Sent,
}

impl TlsStream {
    pub(super) fn new(
        socket: Socket,
        mut tls: Box<Connection>,
        inbound: BytesMut,
        info: TlsInfo,
    ) -> Self {
        // The bound is ours: `SEALED`.
        tls.set_buffer_limit(None);
        Self {
            socket,
            tls,
            info: Arc::new(info),
            inbound,
            unsent: 0,
            flowed: 0,
            last: clock::now(),
            end: End::Open,
            fin: Fin::No,
        }
    }

    /// What was agreed on.
    #[must_use]
    pub fn info(&self) -> &Arc<TlsInfo> {
        &self.info
    }

    /// Whether nothing has come since all was received: see [`Socket::is_quiet`].
    pub(super) fn is_quiet(&self) -> bool {
        self.inbound.is_empty() && self.socket.is_quiet()
    }

    /// Hands on plaintext to `put`, at most `most` bytes; returns how many. 0 is the end, of which the peer
    /// has told: without that it is an error.
    fn poll_plain(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        mut put: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let mut given = 0;
        loop {
            loop {
                let mut reader = self.tls.reader();
                match reader.fill_buf() {
                    Ok([]) => return Poll::Ready(Ok(given)),
                    Ok(plain) => {
                        let fits = plain.len().min(most - given);
                        put(&plain[..fits]);
                        reader.consume(fits);
                        given += fits;
                        if given == most {
                            return Poll::Ready(Ok(given));
                        }
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) if given > 0 => return Poll::Ready(Ok(given)),
                    Err(e) => return Poll::Ready(Err(e)),
                }
            }
            if !self.inbound.is_empty() {
                self.decrypt()?;
                // An answer to a key update, if there is one. If it can't be sent now, it will be.
                if self.tls.wants_write() {
                    let _ = self.poll_sealed(cx)?;
                }
            } else if given > 0 {
                return Poll::Ready(Ok(given));
            } else {
                ready!(self.poll_inbound(cx, most))?;
            }
        }
    }

    /// Receives more to decrypt.
    fn poll_inbound(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<()>> {
        // Who waits for an answer first has to have been sent what it is waited for.
        if self.tls.wants_write() {
            let _ = self.poll_sealed(cx)?;
        }
        if most > LARGE {
            self.inbound.reserve(RECEIVED);
        } else if self.inbound.capacity() == 0 {
            self.inbound = pool::take();
        } else {
            self.inbound.reserve(pool::BUFFER);
        }
        match self.socket.poll_recv(cx, &mut self.inbound) {
            Poll::Ready(Ok(0)) => {
                // Has rustls know, who tells an end from a cut.
                self.tls.read_tls(&mut io::empty())?;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(received) => Poll::Ready(received.map(drop)),
            Poll::Pending => {
                // Who is idle holds no buffer.
                pool::give(std::mem::take(&mut self.inbound));
                Poll::Pending
            }
        }
    }

    /// Decrypts what has come, up to the first record with content.
    fn decrypt(&mut self) -> io::Result<()> {
        while !self.inbound.is_empty() {
            let taken = self.tls.read_tls(&mut &self.inbound[..])?;
            match taken {
                // After the peer's last word there is nothing to be read.
                0 => self.inbound.clear(),
                taken => self.inbound.advance(taken),
            }
            let state = self.tls.process_new_packets().map_err(|e| self.fail(e))?;
            if state.plaintext_bytes_to_read() > 0 {
                break;
            }
        }
        Ok(())
    }

    /// The peer broke the rules: it is told, if there is room for that.
    fn fail(&mut self, error: rustls::Error) -> io::Error {
        let _ = self.poll_sealed(&mut Context::from_waker(Waker::noop()));
        self.end = End::Told;
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    /// Sends what is sealed.
    pub(super) fn poll_sealed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            let mut sink = Sink { socket: &mut self.socket, cx };
            match self.tls.write_tls(&mut sink) {
                Ok(sent) => self.unsent = self.unsent.saturating_sub(sent),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        self.unsent = 0;
        if self.fin == Fin::Due {
            self.fin = Fin::Sent;
            self.socket.shutdown()?;
        }
        Poll::Ready(Ok(()))
    }

    /// Seals from the front of `out`, until there is enough to be sent.
    fn seal(&mut self, out: &mut Outbox) -> io::Result<()> {
        while self.unsent < SEALED {
            let sealed = match out.next() {
                Next::Nothing => return Ok(()),
                Next::Bytes(bytes) => self.seal_bytes(bytes)?,
                Next::Slices => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let count = out.slices(&mut slices);
                    self.seal_slices(&slices[..count])?
                }
                Next::File(file, range) => {
                    let most = usize::try_from(range.end - range.start).unwrap_or(SEALED);
                    self.seal_file(file, range.start, most.min(SEALED))?
                }
            };
            out.advance(sealed as u64);
        }
        Ok(())
    }

    fn seal_slices(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if slices.len() == 1 || self.is_early() {
            return slices.first().map_or(Ok(0), |first| self.seal_bytes(first));
        }
        // As many as are sealed at once, for a record may be of several.
        let mut total = 0;
        let whole = slices.iter().take_while(|slice| {
            total += slice.len();
            total <= SEALED
        });
        let sealed = match whole.count() {
            0 => return self.seal_bytes(&slices[0]),
            whole => self.tls.writer().write_vectored(&slices[..whole])?,
        };
        self.sealed(sealed)
    }

    fn seal_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = if self.is_early() { EARLY_RECORD } else { SEALED };
        let sealed = self.tls.writer().write(&bytes[..bytes.len().min(most)])?;
        self.sealed(sealed)
    }

    /// Reads a piece of a file, which the core has room for, and seals it.
    fn seal_file(&mut self, file: &SharedFile, at: u64, most: usize) -> io::Result<usize> {
        if let Some(bytes) = file.in_memory(&(at..at + most as u64)) {
            return self.seal_bytes(&bytes);
        }
        thread_local! {
            static PIECE: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
        }
        PIECE.with_borrow_mut(|piece| {
            piece.resize(SEALED, 0);
            let read = file.read_at(&mut piece[..most], at)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut sealed = 0;
            while sealed < read {
                sealed += self.seal_bytes(&piece[sealed..read])?;
            }
            Ok(read)
        })
    }

    fn sealed(&mut self, bytes: usize) -> io::Result<usize> {
        if bytes == 0 {
            // The keys have protected all they may.
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.unsent += bytes;
        self.flowed += bytes;
        Ok(bytes)
    }

    /// Whether records are to be small.
    fn is_early(&mut self) -> bool {
        if self.unsent == 0 {
            let now = clock::now();
            if now.since(self.last) > PAUSE {
                self.flowed = 0;
            }
            self.last = now;
        }
        self.flowed < EARLY
    }

    /// Says that nothing more comes (RFC 8446, 6.1).
    fn close(&mut self) {
        if matches!(self.end, End::Open | End::Near) {
            self.tls.send_close_notify();
            self.end = End::Told;
        }
    }

    /// Sends what is sealed, of which the last is that nothing more comes, without waiting for room.
    fn send_last(&mut self) -> io::Result<()> {
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(done) = self.poll_sealed(&mut cx) {
            return done;
        }
        if self.unsent == 0 && self.socket.is_sending() {
            let mut word = BytesMut::new().writer();
            self.tls.write_tls(&mut word)?;
            self.socket.send_last(word.into_inner());
            let _ = self.poll_sealed(&mut cx)?;
        }
        // Else it goes out when there is room, while the peer is waited for.
        Ok(())
    }
}

impl Io for TlsStream {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.poll_plain(cx, room(buf), |plain| buf.extend_from_slice(plain))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<io::Result<()>> {
        for _ in 0..TURN {
            self.seal(out)?;
            if self.end == End::Near && out.is_empty() {
                self.close();
            }
            ready!(self.poll_sealed(cx))?;
            if out.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        // The client takes it as fast as we give: others of the core get their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn unsent(&self) -> usize {
        self.unsent
    }

    fn last(&mut self) {
        if self.end == End::Open {
            self.end = End::Near;
        }
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.close();
        if self.fin == Fin::No {
            self.fin = Fin::Due;
        }
        self.send_last()
    }

    fn reset(&mut self) {
        self.end = End::Reset;
        self.socket.reset();
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = buf.remaining();
        if most == 0 {
            return Poll::Ready(Ok(()));
        }
        self.poll_plain(cx, most, |plain| buf.put_slice(plain)).map_ok(drop)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.unsent >= SEALED {
            ready!(self.poll_sealed(cx))?;
        }
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let mut taken = 0;
        for slice in slices {
            let mut rest = &slice[..];
            while !rest.is_empty() && self.unsent < SEALED {
                let sealed = self.seal_bytes(rest)?;
                rest = &rest[sealed..];
                taken += sealed;
            }
        }
        // Who takes bytes has to see that they go; if there is no room now, the next call does.
        let _ = self.poll_sealed(cx)?;
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sealed(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        if self.fin == Fin::No {
            self.fin = Fin::Due;
        }
        self.poll_sealed(cx)
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        // A peer that is not told can't know that all has come.
        if matches!(self.end, End::Open | End::Near) {
            self.close();
            let _ = self.send_last();
        }
        pool::give(std::mem::take(&mut self.inbound));
    }
}

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream").field("info", &self.info).finish_non_exhaustive()
    }
}

/// Where rustls writes to.
pub(super) struct Sink<'a, 'c> {
    pub(super) socket: &'a mut Socket,
    pub(super) cx: &'a mut Context<'c>,
}

impl io::Write for Sink<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.socket.poll_send_slices(self.cx, slices) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
