//! The UDP socket of a core, whose datagrams are passed to the core, or the process, that they are meant for.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use tokio::sync::mpsc::{Receiver, Sender};

use super::ids::{Home, home_of};
use super::relay::Kin;

/// A datagram that came to the socket of another core, or to another process.
#[derive(Debug)]
pub(super) struct Forwarded {
    pub(super) bytes: Box<[u8]>,
    pub(super) meta: RecvMeta,
}

/// Where the datagrams that come to an address can go.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) address: SocketAddr,
    pub(super) cores: Box<[Sender<Forwarded>]>,
    pub(super) kin: Arc<Kin>,
    /// Another process reads from the sockets.
    pub(super) left: AtomicBool,
}

impl Routes {
    /// Gives a datagram to the core that it is for. It is lost if there is no room.
    pub(super) fn deliver(&self, datagram: Forwarded) {
        let core = home_of(&datagram.bytes).map(Home::core);
        if let Some(core) = core.and_then(|core| self.cores.get(core)) {
            let _ = core.try_send(datagram);
        }
    }
}

/// quinn's socket, with what comes to and goes to other cores and processes.
#[derive(Debug)]
pub(super) struct Steered {
    socket: Arc<dyn AsyncUdpSocket>,
    core: usize,
    /// Locked by its core only.
    forwarded: Mutex<Receiver<Forwarded>>,
    routes: Arc<Routes>,
}

impl Steered {
    pub(super) fn new(
        socket: UdpSocket,
        core: usize,
        forwarded: Receiver<Forwarded>,
        routes: Arc<Routes>,
    ) -> io::Result<Self> {
        let socket = TokioRuntime.wrap_udp_socket(socket)?;
        Ok(Self { socket, core, forwarded: Mutex::new(forwarded), routes })
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

    /// Passes on what is for others, and leaves the rest in the buffer.
    fn steer(&self, buf: &mut [u8], meta: &mut RecvMeta) {
        let (len, stride) = (meta.len.min(buf.len()), meta.stride.max(1));
        if buf[..len].chunks(stride).all(|datagram| self.is_ours(datagram)) {
            return;
        }
        let mut kept = 0;
        for start in (0..len).step_by(stride) {
            let end = (start + stride).min(len);
            if self.is_ours(&buf[start..end]) || !self.pass(&buf[start..end], meta) {
                buf.copy_within(start..end, kept);
                kept += end - start;
            }
        }
        meta.len = kept;
    }

    /// Whether a datagram is for this core, as far as its id tells.
    fn is_ours(&self, datagram: &[u8]) -> bool {
        let Routes { kin, cores, .. } = &*self.routes;
        home_of(datagram).is_none_or(|home| match home.process == kin.process {
            true => home.core() == self.core || home.core() >= cores.len(),
            false => !kin.knows(home.process),
        })
    }

    /// Passes a datagram on; whether there is somebody who takes it.
    fn pass(&self, datagram: &[u8], meta: &RecvMeta) -> bool {
        let Some(home) = home_of(datagram) else { return false };
        let mut meta = *meta;
        (meta.len, meta.stride) = (datagram.len(), datagram.len());
        let routes = &self.routes;
        if home.process != routes.kin.process {
            return routes.kin.pass(home.process, routes.address, datagram, &meta);
        }
        routes.deliver(Forwarded { bytes: datagram.into(), meta });
        true
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
        let alone = self.routes.cores.len() == 1 && !self.routes.kin.hears();
        if !alone {
            let taken = self.poll_forwarded(cx, bufs, metas);
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
        }
        if self.routes.left.load(Ordering::Acquire) {
            return Poll::Pending;
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
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::super::ids::CoreIds;
    use super::*;

    /// A datagram with a short header, for this process and core.
    fn of(process: u32, core: u16, payload: &[u8]) -> Vec<u8> {
        use quinn::ConnectionIdGenerator as _;
        let id = CoreIds::new(Home { process, core }).generate_cid();
        [&[0x40][..], &id, payload].concat()
    }

    #[tokio::test]
    async fn what_is_for_another_core_or_process_comes_there_and_nothing_else() {
        let (senders, mut receivers): (Vec<_>, Vec<_>) =
            (0..2).map(|_| tokio::sync::mpsc::channel(4)).unzip();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let pair = || {
            let flags = SocketFlags::NONBLOCK;
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
        };
        let ((inbox, to_two), (_, to_three)) = (pair(), pair());
        let kin = Kin {
            process: 1,
            secret: [0; 32],
            inbox: None,
            others: vec![(2, to_two), (3, to_three)],
        };
        let address = socket.local_addr().unwrap();
        let (cores, left) = (senders.into(), AtomicBool::new(false));
        let routes = Arc::new(Routes { address, cores, kin: Arc::new(kin), left });
        let other = receivers.pop().unwrap();
        let own = receivers.pop().unwrap();
        let first = Steered::new(socket.try_clone().unwrap(), 0, own, routes.clone()).unwrap();
        let second = Steered::new(socket, 1, other, routes).unwrap();
        // For another core, for a process, for one that has ended, for no core, and for an unknown process.
        let all = [(1, 0), (1, 1), (1, 0), (2, 0), (3, 0), (1, 7), (4, 1)];
        let all: Vec<_> = all.iter().map(|(process, core)| of(*process, *core, b"text")).collect();
        let mut buf = all.concat();
        let mut meta = RecvMeta { len: buf.len(), stride: 17, ..RecvMeta::default() };
        first.steer(&mut buf, &mut meta);
        assert_eq!(buf[..meta.len], [&*all[0], &all[2], &all[4], &all[5], &all[6]].concat());
        let mut room = [0; 200];
        let mut metas = [RecvMeta::default()];
        let got = std::future::poll_fn(|cx| {
            second.poll_recv(cx, &mut [IoSliceMut::new(&mut room)], &mut metas)
        });
        assert_eq!(got.await.unwrap(), 1);
        assert_eq!((&room[..metas[0].len], metas[0].stride), (&all[1][..], 17));
        let (got, _) =
            rustix::net::recv(&inbox, &mut room, rustix::net::RecvFlags::empty()).unwrap();
        assert!(room[..got].ends_with(&all[3]));
    }
}
