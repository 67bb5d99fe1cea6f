//! An HTTP/3 connection (RFC 9114): its task accepts streams, answers at once what can be, and gives what has
//! to wait a task of its own.

mod flow;
mod link;
mod receive;
mod respond;
mod stream;
mod tunnel;
mod uni;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hemi_core::clock::{self, Moment};
use hemi_core::gate::{Phase, Ticket};
use hemi_core::panics::catch;
use hemi_core::quic::QuicAccepted;
use hemi_core::quic::quinn::{Connection, RecvStream, SendStream};
use hemi_proto::http3::{Code, Fault, Settings, put_goaway, varint};
use tracing::error;

pub(crate) use self::flow::Flow;
use self::link::{Link, QPACK_BLOCKED, QPACK_CAPACITY};
use self::stream::{Spare, Step, Stream};
use super::watch::{Cut, Watch};
use crate::http_config::Limit;
use crate::httpx::Shared;

/// Requests of one client in a row, before others of the core get their turn.
const TURN: usize = 64;

/// Instructions for the client's tables that wait for it to make room, at most.
const INSTRUCTIONS: usize = 64 << 10;

/// So long what was sent last may take before the connection is closed, which would undo it.
const FAREWELL: Duration = Duration::from_secs(2);

/// Announced first when the server drains: requests that are on their way are answered still (RFC 9114
/// section 5.2).
const LAST_OF_ALL: u64 = varint::MAX - 3;

/// Why a connection or a request ends before its time.
#[derive(Debug)]
enum End {
    /// The client has broken the rules.
    Fault(Fault),
    Cut(Cut),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Code> for End {
    fn from(code: Code) -> Self {
        Self::Fault(Fault::Connection(code))
    }
}

impl From<Cut> for End {
    fn from(cut: Cut) -> Self {
        Self::Cut(cut)
    }
}

impl From<std::io::Error> for End {
    fn from(e: std::io::Error) -> Self {
        Self::Cut(Cut::Gone(e))
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(accepted: QuicAccepted, server: Arc<Shared>) {
    let QuicAccepted { conn: quic, peer, ticket } = accepted;
    let link = Arc::new(Link::new(quic.clone(), &ticket, server));
    let mut conn = Conn::new(link.clone(), ticket);
    match catch(pin!(conn.run(&quic))).await {
        // Before the streams that a connection must not lose are dropped.
        Ok(Ok(())) => link.close(Code::NoError),
        Ok(Err(End::Fault(Fault::Connection(code) | Fault::Stream(code)))) => link.close(code),
        Ok(Err(End::Cut(cut))) => {
            if let Cut::Limit(limit) = cut {
                link.hit(limit);
            }
            link.close(Code::NoError);
        }
        Err(panic) => {
            error!(%peer, "connection panicked: {panic}");
            link.close(Code::InternalError);
        }
    }
    // Tasks of requests see the connection closed; the server counts it until they have ended.
    link.all_ended().await;
}

struct Conn {
    link: Arc<Link>,
    watch: Watch,
    /// Streams on which the server says what concerns the connection, once they are open.
    out: Option<Out>,
    /// What requests that were answered at once leave for the next.
    spare: Option<Box<Spare>>,
    /// When the connection is too old for another request.
    until: Moment,
    requests: u32,
    /// The first stream that was not accepted.
    next: u64,
    leave: Leave,
    /// Requests have tasks.
    busy: bool,
    /// About when a request was last answered.
    answered: Moment,
}

/// How far the connection has come in taking leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Leave {
    No,
    /// The client knows that it should not send more.
    Told,
    /// Nothing more is accepted.
    Taken,
}

/// A stream that the server has opened, and what waits to be sent on it.
struct OutStream {
    stream: SendStream,
    waiting: BytesMut,
}

struct Out {
    control: OutStream,
    encoder: OutStream,
    decoder: OutStream,
}

impl OutStream {
    async fn open(quic: &Connection, start: &[u8]) -> Result<Self, Cut> {
        let stream = quic.open_uni().await.map_err(std::io::Error::from)?;
        // Answers can't be read without it.
        let _ = stream.set_priority(i32::MAX);
        Ok(Self { stream, waiting: start.into() })
    }

    /// Sends what waits, as far as there is room.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        while !self.waiting.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.waiting) {
                Poll::Ready(Ok(sent)) => self.waiting.advance(sent),
                Poll::Ready(Err(e)) => return Err(std::io::Error::from(e).into()),
                Poll::Pending if self.waiting.len() > INSTRUCTIONS => {
                    return Err(Code::ExcessiveLoad.into());
                }
                Poll::Pending => return Ok(()),
            }
        }
        Ok(())
    }
}

impl Out {
    /// Opens the three streams (RFC 9114 section 6.2.1, RFC 9204 section 4.2), and sends the settings.
    async fn open(quic: &Connection, server: &Shared) -> Result<Self, Cut> {
        let mut control = BytesMut::from(&[0x00][..]);
        let settings = Settings {
            qpack_max_table_capacity: QPACK_CAPACITY as u64,
            qpack_blocked_streams: QPACK_BLOCKED as u64,
            max_field_section_size: Some(server.heads.head_size as u64),
            enable_connect_protocol: true,
            h3_datagram: true,
        };
        settings.put(&mut control);
        Ok(Self {
            control: OutStream::open(quic, &control).await?,
            encoder: OutStream::open(quic, &[0x02]).await?,
            decoder: OutStream::open(quic, &[0x03]).await?,
        })
    }
}

impl Conn {
    fn new(link: Arc<Link>, ticket: Ticket) -> Self {
        let until = clock::now().after(link.server.conn_age(&link.peer()));
        Self {
            link,
            watch: Watch::new(ticket),
            out: None,
            spare: None,
            until,
            requests: 0,
            next: 0,
            leave: Leave::No,
            busy: false,
            answered: clock::now(),
        }
    }

    /// Serves until the connection is to be closed.
    async fn run(&mut self, quic: &Connection) -> Result<(), End> {
        let server = self.link.server.clone();
        let mut opening = pin!(Out::open(quic, &server));
        let mut requests = pin!(quic.accept_bi());
        let mut others = pin!(quic.accept_uni());
        let mut datagrams = pin!(quic.read_datagram());
        self.idle_from_now();
        std::future::poll_fn(|cx| {
            if self.out.is_none()
                && let Poll::Ready(opened) = opening.as_mut().poll(cx)
            {
                self.out = Some(opened?);
            }
            while let Poll::Ready(accepted) = others.as_mut().poll(cx) {
                let recv = accepted.map_err(std::io::Error::from)?;
                tokio::spawn(uni::read(self.link.clone(), recv));
                others.set(quic.accept_uni());
            }
            for turn in 0.. {
                if !self.link.has_flows() {
                    break;
                }
                let Poll::Ready(datagram) = datagrams.as_mut().poll(cx) else { break };
                self.link.deliver(datagram.map_err(std::io::Error::from)?)?;
                datagrams.set(quic.read_datagram());
                if turn == TURN {
                    cx.waker().wake_by_ref();
                    break;
                }
            }
            for turn in 0.. {
                let Poll::Ready(accepted) = requests.as_mut().poll(cx) else { break };
                let (send, recv) = accepted.map_err(std::io::Error::from)?;
                self.request(send, recv, &server, cx)?;
                requests.set(quic.accept_bi());
                if turn == TURN {
                    cx.waker().wake_by_ref();
                    break;
                }
            }
            self.take_leave();
            self.flush(cx)?;
            self.wait(cx)
        })
        .await
    }

    /// One request: answered at once, or given a task.
    fn request(
        &mut self,
        mut send: SendStream,
        mut recv: RecvStream,
        server: &Shared,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        if self.leave == Leave::Taken {
            let code = Code::RequestRejected.value().into();
            let _ = (send.reset(code), recv.stop(code));
            return Ok(());
        }
        self.requests += 1;
        self.next = u64::from(send.id()) + 4;
        let spare = self.spare.take().unwrap_or_else(|| Spare::new(&self.link));
        let mut stream = Stream::new(self.link.clone(), send, recv, spare);
        match stream.begin(server, cx) {
            Ok(Step::Over) => {}
            Ok(Step::GoOn(from)) => {
                stream.go_on(from);
                return Ok(());
            }
            Err(end) => stream.abort(end)?,
        }
        self.spare = Some(stream.into_spare());
        self.idle_from_now();
        Ok(())
    }

    fn idle_from_now(&mut self) {
        self.answered = clock::now();
        let wait = self.link.server.config.idle_timeout;
        self.watch.until(self.answered.after(wait), Limit::IdleTimeout);
    }

    /// Tells the client to leave, when it is time.
    fn take_leave(&mut self) {
        let config = &self.link.server.config;
        let worn = if self.requests >= config.max_requests_per_conn {
            Some(Limit::RequestsPerConn)
        } else if self.requests > 0 && clock::now() >= self.until {
            Some(Limit::ConnAge)
        } else {
            None
        };
        let leave = match self.watch.phase() {
            _ if worn.is_some() => Leave::Taken,
            Phase::Serving => return,
            _ if self.watch.lingers() => Leave::Told,
            _ => Leave::Taken,
        };
        let Some(out) = self.out.as_mut().filter(|_| self.leave < leave) else { return };
        if let Some(limit) = worn {
            self.link.hit(limit);
        }
        let last = if leave == Leave::Taken { self.next } else { LAST_OF_ALL };
        put_goaway(last, &mut out.control.waiting);
        self.leave = leave;
    }

    /// Sends what concerns the connection.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let Some(out) = &mut self.out else { return Ok(()) };
        let (encoder, decoder) = self.link.take_instructions();
        out.encoder.waiting.extend_from_slice(&encoder);
        out.decoder.waiting.extend_from_slice(&decoder);
        out.control.flush(cx)?;
        out.encoder.flush(cx)?;
        out.decoder.flush(cx)
    }

    /// Sees to it that this task is woken when there is something to do.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let (busy, fault) = self.link.wake_when_changed(cx);
        if let Some(code) = fault {
            return Poll::Ready(Err(code.into()));
        }
        if busy {
            self.watch.unlimited();
        } else if self.busy {
            self.idle_from_now();
        }
        self.busy = busy;
        self.watch.idle = !busy;
        if !busy && self.leave == Leave::Taken {
            // The client gets to read what it was sent last, unless the server can't wait any longer.
            let until = self.answered.after(FAREWELL);
            if clock::now() >= until {
                return Poll::Ready(Ok(()));
            }
            self.watch.idle = false;
            self.watch.until(until, Limit::IdleTimeout);
        }
        match self.watch.pending(cx) {
            Ok(()) => Poll::Pending,
            Err(cut) => Poll::Ready(Err(cut.into())),
        }
    }
}
