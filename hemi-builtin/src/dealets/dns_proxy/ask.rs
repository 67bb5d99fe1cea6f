//! Asks servers: the same question once at a time, by UDP, and by TCP where that has no room for the answer.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::backend::{By, NoNode, Target};
use hemi_core::clock;
use hemi_core::cores::PerCore;
use hemi_core::deadline::within;
use hemi_core::io::{Dialing, NotReceived, Socket, receive, send};
use hemi_net::UdpxBackend;
use hemi_proto::dns::forward::{Answer, Code, Key, Question};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tracing::debug;

use super::cache::Cached;
use super::take_message;

/// What has become of a question; none while it is being asked.
type Outcome = Option<Option<Arc<Cached>>>;

/// Asks servers.
#[derive(Debug)]
pub(super) struct Asking {
    servers: Arc<Servers>,
    /// What each core asks now.
    asked: Arc<PerCore<HashMap<Key, watch::Receiver<Outcome>>>>,
}

#[derive(Debug)]
struct Servers {
    backend: Arc<UdpxBackend>,
    timeout: Duration,
    tries: usize,
    /// Bytes of an answer by datagram.
    size: u16,
}

/// A question that is being asked, until this is dropped.
struct Asked {
    key: Key,
    all: Arc<PerCore<HashMap<Key, watch::Receiver<Outcome>>>>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.all.mine().remove(&self.key);
    }
}

impl Asking {
    pub(super) fn new(
        backend: Arc<UdpxBackend>,
        timeout: Duration,
        tries: usize,
        size: u16,
        cores: usize,
    ) -> Self {
        let servers = Arc::new(Servers { backend, timeout, tries, size });
        Self { servers, asked: Arc::new(PerCore::new(cores, HashMap::new)) }
    }

    /// What servers answer, as `remember` has it; none if none does. Who asks the same meanwhile gets the same.
    pub(super) async fn ask(
        &self,
        question: &Question,
        remember: impl FnOnce(&Question, Answer) -> Arc<Cached> + Send + 'static,
    ) -> Option<Arc<Cached>> {
        let mut outcome = {
            let mut asked = self.asked.mine();
            match asked.get(&question.key) {
                Some(outcome) => outcome.clone(),
                None => {
                    let (tell, outcome) = watch::channel(None);
                    asked.insert(question.key.clone(), outcome.clone());
                    let is = Asked { key: question.key.clone(), all: self.asked.clone() };
                    let (servers, question) = (self.servers.clone(), question.clone());
                    // It goes on though a client may have gone: others may wait for it too.
                    tokio::spawn(async move {
                        let answer = servers.ask(&question).await;
                        let found = answer.map(|answer| remember(&question, answer));
                        drop(is);
                        let _ = tell.send(Some(found));
                    });
                    outcome
                }
            }
        };
        let found = outcome.wait_for(Option::is_some).await.ok()?;
        found.clone().flatten()
    }
}

impl Servers {
    /// Asks one after the other, until one has an answer; else one that says why it has none.
    async fn ask(&self, question: &Question) -> Option<Answer> {
        let (mut tried, mut failed) = (Vec::new(), None);
        for _ in 0..self.tries {
            let picked = match self.backend.pick(&By::default(), &tried) {
                Err(NoNode::Left) => {
                    // All were asked: datagrams may have been lost.
                    tried.clear();
                    self.backend.pick(&By::default(), &tried)
                }
                picked => picked,
            };
            let Ok(pick) = picked else { break };
            let (began, server) = (clock::now(), pick.endpoint().target());
            let asked = within(self.timeout, self.ask_one(question, server)).await;
            match asked.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into())) {
                Ok(answer) => {
                    pick.answered(clock::now().since(began));
                    if !matches!(answer.code, Code::FAILED | Code::REFUSED | Code::NOT_IMPLEMENTED)
                    {
                        return Some(answer);
                    }
                    failed = Some(answer);
                }
                Err(e) => {
                    debug!(%server, "a server of the DNS does not answer: {e}");
                    self.backend.nodes().failed(&pick);
                }
            }
            tried.push(pick);
        }
        failed
    }

    async fn ask_one(&self, question: &Question, server: &Target) -> io::Result<Answer> {
        let Target::Tcp(server) = *server else {
            return Err(io::Error::other("DNS is not asked by Unix sockets"));
        };
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        // A port that the system chooses anew for each question.
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(server).await?;
        let id = getrandom::u32().map_err(io::Error::other)? as u16;
        socket.send(&question.ask(id, self.size)).await?;
        loop {
            let mut message = Vec::with_capacity(self.size.into());
            socket.recv_buf(&mut message).await?;
            match Answer::read(message, id, question) {
                Ok(answer) if answer.truncated => {
                    return self.ask_by_tcp(question, server, id).await;
                }
                Ok(answer) => return Ok(answer),
                // Somebody may try to guess what was asked: the server's answer is waited for.
                Err(e) => debug!(%server, "not believed: {e}"),
            }
        }
    }

    async fn ask_by_tcp(
        &self,
        question: &Question,
        server: SocketAddr,
        id: u16,
    ) -> io::Result<Answer> {
        let mut socket = Socket::dial(&Target::Tcp(server), &Dialing::default()).await?;
        let message = question.ask(id, self.size);
        let framed = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
        send(&mut socket, &framed, self.timeout).await?;
        let mut buf = BytesMut::new();
        let message = receive(&mut socket, &mut buf, self.timeout, take_message).await;
        let message = message.map_err(|e| match e {
            NotReceived::Io(e) => e,
            _ => io::ErrorKind::UnexpectedEof.into(),
        })?;
        Answer::read(message.to_vec(), id, question).map_err(io::Error::other)
    }
}
