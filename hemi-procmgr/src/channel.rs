//! Messages between processes of one program, in JSON, with the file descriptors that belong to them: on a
//! Unix socket that a child inherits as its standard input, or connects to.
//!
//! A message is its length in four bytes, big-endian, and that much JSON; its descriptors come with the
//! first byte (`SCM_RIGHTS`, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

/// Bytes of a message, at most: a config may have 16 MiB, and JSON needs up to six times that.
const LIMIT: usize = 100 << 20;

/// Descriptors of a message, at most: `SCM_MAX_FD` of Linux.
pub(crate) const DESCRIPTORS: usize = 253;

/// Messages that wait to be sent, at most.
const WAITING: usize = 1024;

/// Sends messages, in the order they are given.
#[derive(Clone, Debug)]
pub(crate) struct Sender(mpsc::Sender<Item>);

/// Receives messages.
#[derive(Debug)]
pub(crate) struct Receiver(Arc<UnixStream>);

#[derive(Debug)]
enum Item {
    Parcel(Parcel),
    /// Tells that all before it is sent.
    Sent(oneshot::Sender<()>),
}

#[derive(Debug)]
struct Parcel {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// A channel to a child: this end, and what the child gets as its standard input.
pub(crate) fn to_child() -> io::Result<(Sender, Receiver, Stdio)> {
    let (mine, theirs) = std::os::unix::net::UnixStream::pair()?;
    let (sender, receiver) = over(mine)?;
    Ok((sender, receiver, Stdio::from(OwnedFd::from(theirs))))
}

/// The channel to the parent, which this process has got as its standard input; that becomes `/dev/null`.
pub(crate) fn to_parent() -> io::Result<(Sender, Receiver)> {
    let mine = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    over(std::os::unix::net::UnixStream::from(mine))
}

fn over(stream: std::os::unix::net::UnixStream) -> io::Result<(Sender, Receiver)> {
    stream.set_nonblocking(true)?;
    Ok(on(UnixStream::from_std(stream)?))
}

/// A channel on a connection.
pub(crate) fn on(stream: UnixStream) -> (Sender, Receiver) {
    let stream = Arc::new(stream);
    let (sender, mut waiting) = mpsc::channel(WAITING);
    let writer = stream.clone();
    tokio::spawn(async move {
        while let Some(item) = waiting.recv().await {
            match item {
                // If nobody reads any more, the receiver of this side will hear it too.
                Item::Parcel(parcel) if send(&writer, &parcel).await.is_err() => return,
                Item::Parcel(_) => {}
                // Who waits may have given up.
                Item::Sent(tell) => drop(tell.send(())),
            }
        }
    });
    (Sender(sender), Receiver(stream))
}

impl Sender {
    /// Sends a message once there is room for it.
    ///
    /// # Errors
    /// When the other side has gone, or can't be given this.
    pub(crate) async fn send(
        &self,
        message: &impl Serialize,
        descriptors: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let parcel = Parcel::new(message, descriptors)?;
        self.0.send(Item::Parcel(parcel)).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// The same for those who must not wait: fails if there is no room.
    pub(crate) fn try_send(
        &self,
        message: &impl Serialize,
        descriptors: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let parcel = Parcel::new(message, descriptors)?;
        self.0.try_send(Item::Parcel(parcel)).map_err(|_| io::ErrorKind::WouldBlock.into())
    }

    /// Waits until all is sent, or the other side has gone.
    pub(crate) async fn flush(&self) {
        let (tell, sent) = oneshot::channel();
        if self.0.send(Item::Sent(tell)).await.is_ok() {
            let _ = sent.await;
        }
    }
}

impl Parcel {
    fn new(message: &impl Serialize, descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        if descriptors.len() > DESCRIPTORS {
            return Err(io::ErrorKind::ArgumentListTooLong.into());
        }
        let mut bytes = vec![0; 4];
        serde_json::to_writer(&mut bytes, message)?;
        let length = bytes.len() - 4;
        let announced = u32::try_from(length).ok().filter(|_| length <= LIMIT);
        let announced = announced.ok_or(io::ErrorKind::FileTooLarge)?;
        bytes[..4].copy_from_slice(&announced.to_be_bytes());
        Ok(Self { bytes, descriptors })
    }
}

async fn send(stream: &UnixStream, parcel: &Parcel) -> io::Result<()> {
    let borrowed: Vec<_> = parcel.descriptors.iter().map(AsFd::as_fd).collect();
    let mut left = parcel.bytes.as_slice();
    let mut rights = borrowed.as_slice();
    while !left.is_empty() {
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !rights.is_empty() {
                ancillary.push(SendAncillaryMessage::ScmRights(rights));
            }
            let pieces = [IoSlice::new(left)];
            Ok(rustix::net::sendmsg(stream, &pieces, &mut ancillary, SendFlags::NOSIGNAL)?)
        };
        let sent = stream.async_io(Interest::WRITABLE, send).await?;
        left = &left[sent..];
        rights = &[];
    }
    Ok(())
}

impl Receiver {
    /// The next message with its descriptors; none if the other side has gone.
    ///
    /// # Errors
    /// When it is broken off, too large, or no such message.
    pub(crate) async fn next<M: DeserializeOwned>(
        &mut self,
    ) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let (mut length, mut descriptors) = ([0; 4], Vec::new());
        if !self.fill(&mut length, &mut descriptors).await? {
            return Ok(None);
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > LIMIT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = vec![0; length];
        if !self.fill(&mut bytes, &mut descriptors).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((serde_json::from_slice(&bytes)?, descriptors)))
    }

    /// Has all messages read by a task, for those who wait for other things too: the queue ends with the
    /// channel.
    pub(crate) fn queue<M: DeserializeOwned + Send + 'static>(
        mut self,
    ) -> mpsc::Receiver<(M, Vec<OwnedFd>)> {
        let (put, queue) = mpsc::channel(16);
        tokio::spawn(async move {
            loop {
                let message = match self.next().await {
                    Ok(Some(message)) => message,
                    Ok(None) => return,
                    Err(e) => {
                        tracing::error!("what comes from the other process makes no sense: {e}");
                        return;
                    }
                };
                if put.send(message).await.is_err() {
                    return;
                }
            }
        });
        queue
    }

    /// Who is at the other end: as the kernel knows it.
    ///
    /// # Errors
    /// When the system won't tell.
    pub(crate) fn peer(&self) -> io::Result<tokio::net::unix::UCred> {
        self.0.peer_cred()
    }

    /// Fills a buffer; false if the other side has gone before its first byte.
    async fn fill(&self, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<bool> {
        let mut at = 0;
        while at < buffer.len() {
            let received = self.0.async_io(Interest::READABLE, || {
                let mut space =
                    [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
                let mut ancillary = RecvAncillaryBuffer::new(&mut space);
                let mut pieces = [IoSliceMut::new(&mut buffer[at..])];
                let flags = RecvFlags::CMSG_CLOEXEC;
                let got = rustix::net::recvmsg(&*self.0, &mut pieces, &mut ancillary, flags)?;
                for message in ancillary.drain() {
                    if let RecvAncillaryMessage::ScmRights(rights) = message {
                        descriptors.extend(rights);
                    }
                }
                Ok(got.bytes)
            });
            match received.await? {
                0 if at == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                received => at += received,
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[tokio::test]
    async fn messages_arrive_whole_with_their_descriptors() {
        let (one, other) = UnixStream::pair().unwrap();
        let ((sender, _), (_, mut receiver)) = (on(one), on(other));
        let (mut reader, writer) = std::io::pipe().unwrap();
        let large = "x".repeat(1 << 20);
        sender.send(&"first", vec![]).await.unwrap();
        sender.send(&large, vec![writer.into()]).await.unwrap();
        sender.try_send(&3, vec![]).unwrap();
        drop(sender);
        let (first, none) = receiver.next::<String>().await.unwrap().unwrap();
        assert_eq!((first.as_str(), none.len()), ("first", 0));
        let (second, mut rights) = receiver.next::<String>().await.unwrap().unwrap();
        assert_eq!((second, rights.len()), (large, 1));
        assert_eq!(receiver.next::<u8>().await.unwrap().unwrap().0, 3);
        std::fs::File::from(rights.pop().unwrap()).write_all(b"through").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[tokio::test]
    async fn nonsense_is_an_error_and_the_end_is_none() {
        for (bytes, ended) in [
            (&b""[..], true),
            (b"\0", false),
            (b"\xff\xff\xff\xff", false),
            (b"\0\0\0\x02{", false),
        ] {
            let (mut one, other) = UnixStream::pair().unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut one, bytes).await.unwrap();
            drop(one);
            let got = on(other).1.next::<u8>().await;
            assert_eq!(got.is_ok_and(|message| message.is_none()), ended, "{bytes:?}");
        }
    }
}
