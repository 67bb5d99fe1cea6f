//! Datagrams of Unix sockets (unix(7)).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use quinn::udp::RecvMeta;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    recvfrom, send, sendto, socket_with,
};

use super::{BURST, BURSTS, Batch, Family, Port};
use crate::sys::watch_readable;

/// The name of a Unix socket: a path, or bytes that are none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(Arc<SocketAddrUnix>);

impl Port {
    /// One that is bound to a path.
    ///
    /// # Errors
    /// When the system does not let it be watched.
    pub(crate) fn bound_to_path(socket: OwnedFd) -> io::Result<Self> {
        let socket = watch_readable(socket)?;
        Ok(Self { socket, family: Family::Unix, connected: false, state: OnceLock::new() })
    }

    /// One that is connected to a path, with a name of its own that the system chooses, so that it can be answered.
    pub(super) fn connected_to_path(path: &Path) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        bind(&socket, &SocketAddrUnix::new_unnamed())?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        let socket = watch_readable(socket)?;
        Ok(Self { socket, family: Family::Unix, connected: true, state: OnceLock::new() })
    }

    /// Receives what there is and has room; what is longer than a datagram of UDP can be is lost. Tells whether nothing
    /// is left.
    pub(super) fn recv_unix(&self, batch: &mut Batch) -> io::Result<bool> {
        batch.is_unix = true;
        let (mut got, mut drained) = (0, false);
        for _ in 0..BURSTS {
            let room = &mut batch.room[got * BURST..][..BURST];
            // It tells how long it was.
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            match recvfrom(self.socket.get_ref(), room, flags) {
                Ok((_, len, _)) if len > BURST => {}
                Ok((_, len, from)) => {
                    let from = from.and_then(|from| SocketAddrUnix::try_from(from).ok());
                    let from = from.filter(|from| !from.is_unnamed());
                    batch.names[got] = from.map(|from| Name(Arc::new(from)));
                    batch.metas[got] = RecvMeta { len, stride: len, ..RecvMeta::default() };
                    got += 1;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if got > 0 => {
                    drained = true;
                    break;
                }
                // An error is told again, or was that of one datagram.
                Err(_) if got > 0 => break,
                Err(e) => return Err(e.into()),
            }
        }
        batch.filled = got;
        Ok(drained)
    }

    /// Sends datagrams of a size, one by one, to this name, or to whom it is connected to; returns how many were sent.
    pub(super) fn send_unix(
        &self,
        to: Option<&Name>,
        bytes: &[u8],
        size: usize,
    ) -> io::Result<usize> {
        let socket = self.socket.get_ref();
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let send_one = |datagram: &[u8]| match to {
            Some(Name(name)) => sendto(socket, datagram, flags, &**name),
            None => send(socket, datagram, flags),
        };
        let empty = bytes.is_empty().then_some(&[][..]);
        let mut sent = 0;
        for datagram in bytes.chunks(size.max(1)).chain(empty) {
            match send_one(datagram) {
                Ok(_) => sent += 1,
                Err(Errno::AGAIN | Errno::NOBUFS) => break,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::os::unix::net::UnixDatagram;

    use super::super::Sender;
    use super::*;
    use crate::backend::Target;

    async fn next(port: &Port) -> Vec<(Sender, Vec<Vec<u8>>)> {
        let mut batch = Batch::default();
        poll_fn(|cx| port.poll_recv(cx, &mut batch)).await.unwrap();
        let bursts = batch.bursts();
        bursts
            .map(|burst| (burst.from.clone(), burst.datagrams().map(<[u8]>::to_vec).collect()))
            .collect()
    }

    #[tokio::test]
    async fn who_has_a_name_is_answered() {
        let name = format!("hemi-datagrams-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let bound = UnixDatagram::bind(&path).unwrap();
        bound.set_nonblocking(true).unwrap();
        let server = Port::bound_to_path(bound.into()).unwrap();
        let at = Target::Unix(path.clone());
        let [one, other] = [(); 2].map(|()| server.connect(&at).unwrap());
        // The last is longer than any may be.
        let nameless = UnixDatagram::unbound().unwrap();
        for bytes in [&b"who"[..], b"", &[0; BURST + 1]] {
            nameless.send_to(bytes, &path).unwrap();
        }
        assert_eq!(one.pass(&at, b"abcde", 2).unwrap(), 3);
        assert_eq!(other.pass(&at, b"", 0).unwrap(), 1);
        let got = next(&server).await;
        let datagrams: Vec<_> = got.iter().map(|(_, datagrams)| datagrams.clone()).collect();
        let text = |all: &[&str]| all.iter().map(|one| one.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(datagrams, [&["who"][..], &[""], &["ab", "cd"], &["e"], &[""]].map(text));
        assert_eq!((&got[0].0, &got[1].0), (&Sender::Unix(None), &Sender::Unix(None)));
        assert!(got[2].0 == got[3].0 && got[3].0 != got[4].0);
        assert_eq!(server.answer(&got[0].0, None, b"no", 2).unwrap(), 0);
        assert_eq!(server.answer(&got[2].0, None, b"yes", 3).unwrap(), 1);
        assert_eq!(next(&one).await[0].1, text(&["yes"]));
        drop(server);
        assert_eq!(one.pass(&at, b"gone", 4).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(server_is_gone(&one).is_err());
        std::fs::remove_file(path).unwrap();
    }

    /// Nobody can be connected to.
    fn server_is_gone(port: &Port) -> io::Result<Port> {
        port.connect(&Target::Unix("/nonexistent/hemi.sock".into()))
    }
}
