//! The UDP socket of a core, whose datagrams are passed to the core that they are meant for.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use tokio::sync::mpsc::{Receiver, Sender};

use super::ids::core_of;

/// A datagram that came to the socket of another core.
#[derive(Debug)]
pub(super) struct Forwarded {
    bytes: Box<[u8]>,
    meta: RecvMeta,
}

/// quinn's socket, with what comes to and goes to other cores.
#[derive(Debug)]
pub(super) struct Steered {
    socket: Arc<dyn AsyncUdpSocket>,
    core: usize,
    /// Locked by its core only.
    forwarded: Mutex<Receiver<Forwarded>>,
    cores: Arc<[Sender<Forwarded>]>,
}

impl Steered {
    pub(super) fn new(
        socket: UdpSocket,
        core: usize,
        forwarded: Receiver<Forwarded>,
        cores: Arc<[Sender<Forwarded>]>,
    ) -> io::Result<Self> {
        let socket = TokioRuntime.wrap_udp_socket(socket)?;
        Ok(Self { socket, core, forwarded: Mutex::new(forwarded), cores })
    }

    /// Takes what other cores have passed on.
    fn poll_forwarded(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> usize {
        let mut forwarded = self.forwarded.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = 0;
        for (buf, meta) in bufs.iter_mut().zip(metas) {
            let Poll::Ready(Some(datagram)) = forwarded.poll_recv(cx) else { break };
            if let Some(room) = buf.get_mut(..datagram.bytes.len()) {
                room.copy_from_slice(&datagram.bytes);
                *meta = datagram.meta;
                taken += 1;
            }
        }
        taken
    }

    /// Passes on what is of other cores, and leaves the rest in the buffer.
    fn steer(&self, buf: &mut [u8], meta: &mut RecvMeta) {
        let is_ours = |datagram: &[u8]| {
            core_of(datagram).is_none_or(|core| core == self.core || core >= self.cores.len())
        };
        let (len, stride) = (meta.len.min(buf.len()), meta.stride.max(1));
        if buf[..len].chunks(stride).all(is_ours) {
            return;
        }
        let mut kept = 0;
        for start in (0..len).step_by(stride) {
            let end = (start + stride).min(len);
            let datagram = &buf[start..end];
            let of = core_of(datagram).and_then(|core| self.cores.get(core));
            match of.filter(|_| !is_ours(datagram)) {
                Some(core) => {
                    let mut meta = *meta;
                    (meta.len, meta.stride) = (datagram.len(), datagram.len());
                    // Lost if there is no room.
                    let _ = core.try_send(Forwarded { bytes: datagram.into(), meta });
                }
                None => {
                    buf.copy_within(start..end, kept);
                    kept += end - start;
                }
            }
        }
        meta.len = kept;
    }
}

impl AsyncUdpSocket for Steered {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let alone = self.cores.len() == 1;
        if !alone {
            let taken = self.poll_forwarded(cx, bufs, metas);
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
        }
        let received = std::task::ready!(self.socket.poll_recv(cx, bufs, metas))?;
        if !alone {
            // What nothing is left of is skipped by who reads it.
            bufs.iter_mut().zip(metas).take(received).for_each(|(buf, meta)| self.steer(buf, meta));
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A datagram with a short header, of this core.
    fn of(core: u8, payload: &[u8]) -> Vec<u8> {
        [&[0x40, 0, core, 1, 2, 3, 4, 5, 6], payload].concat()
    }

    #[tokio::test]
    async fn what_is_of_another_core_comes_there_and_nothing_else() {
        let (senders, mut receivers): (Vec<_>, Vec<_>) =
            (0..2).map(|_| tokio::sync::mpsc::channel(4)).unzip();
        let (senders, socket) = (Arc::from(senders), UdpSocket::bind("127.0.0.1:0").unwrap());
        socket.set_nonblocking(true).unwrap();
        let other = receivers.pop().unwrap();
        let own = receivers.pop().unwrap();
        let first =
            Steered::new(socket.try_clone().unwrap(), 0, own, Arc::clone(&senders)).unwrap();
        let second = Steered::new(socket, 1, other, senders).unwrap();
        // Of several that came at once only the middle one is of the other core, and one of no core.
        let all = [of(0, b"one"), of(1, b"two"), of(0, b"thr"), of(7, b"4")];
        let mut buf = all.concat();
        let mut meta = RecvMeta { len: buf.len(), stride: 12, ..RecvMeta::default() };
        first.steer(&mut buf, &mut meta);
        assert_eq!(buf[..meta.len], [&all[0][..], &all[2], &all[3]].concat());
        let mut room = [0; 64];
        let mut metas = [RecvMeta::default()];
        let got = std::future::poll_fn(|cx| {
            second.poll_recv(cx, &mut [IoSliceMut::new(&mut room)], &mut metas)
        });
        assert_eq!(got.await.unwrap(), 1);
        assert_eq!((&room[..metas[0].len], metas[0].stride), (&all[1][..], 12));
    }
}
