//! Calls services of gRPC elsewhere: what clients of tonic-build are made with.

mod body;
mod conn;
mod hrpc;
mod retry;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hemi_core::BoxFuture;
use hemi_core::tls::Connector;
use hemi_proto::grpc::{parse_timeout, show_timeout};
use http::HeaderValue;
use http::uri::{Authority, Scheme, Uri};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::body::Body as TonicBody;
use tonic::{Code, Status};

use self::body::{Asked, Content};
use self::conn::{Node, Sent};
pub use self::retry::Retry;
use crate::client::BadEndpoint;
use crate::{Discovery, NodeInfo, Several};

pub use self::body::AnswerBody;

const TIMEOUT: &str = "grpc-timeout";
const ATTEMPTS: &str = "grpc-previous-rpc-attempts";

/// How services are called.
#[derive(Clone, Debug)]
pub struct GrpcChannelConfig {
    /// How many connections there are to each node: one by default.
    pub conns: usize,
    /// How long connecting may take: five seconds by default.
    pub connect_timeout: Duration,
    /// What connections are encrypted by, if they are: one for the protocol `h2`, or none where HRPC is spoken.
    pub tls: Option<Arc<Connector>>,
    /// How long a call may take that does not say so itself: no such limit by default, for streams may go on for long.
    pub call_timeout: Option<Duration>,
    /// How often a node with calls under way is asked for a sign of life, and how long it may take to give one: 310 and
    /// 20 seconds by default. Servers of others hold it against who asks more often than each five minutes.
    pub keepalive: (Duration, Duration),
    /// Whether and when a call is made again that a node has failed.
    pub retry: Retry,
}

impl Default for GrpcChannelConfig {
    fn default() -> Self {
        Self {
            conns: 1,
            connect_timeout: Duration::from_secs(5),
            tls: None,
            call_timeout: None,
            keepalive: (Duration::from_secs(310), Duration::from_secs(20)),
            retry: Retry::default(),
        }
    }
}

/// The way to a service: `GreeterClient::new(GrpcChannel::to("127.0.0.1:50051")?)`. Clones share its connections, which are
/// made when they are first needed, and again when they were lost.
///
/// Calls go to the nodes one after the other. A node that can't be connected to is left out for a while; a call that no
/// node can have seen goes to another, and so do others if [`Retry`] says so.
#[derive(Clone)]
pub struct GrpcChannel(Arc<Inner>);

struct Inner {
    config: GrpcChannelConfig,
    view: Mutex<View>,
    next: AtomicUsize,
    budget: retry::Budget,
}

struct View {
    found: watch::Receiver<Vec<NodeInfo>>,
    nodes: Arc<[Arc<Node>]>,
    unread: bool,
}

impl GrpcChannel {
    /// The way to the server at this address: a host and port, or the path of a Unix socket;
    /// after `hrpc@` it is called by HRPC.
    ///
    /// # Errors
    /// When that is none.
    pub fn to(address: &str) -> Result<Self, BadEndpoint> {
        address.parse::<crate::Endpoint>()?;
        Ok(Self::over(&Several::at([address]), GrpcChannelConfig::default()))
    }

    /// The way to the nodes that are found. It is used within a runtime of tokio.
    #[must_use]
    pub fn over(discovery: &impl Discovery, config: GrpcChannelConfig) -> Self {
        let view = View { found: discovery.nodes(), nodes: Arc::default(), unread: true };
        let budget = retry::Budget::default();
        let next = AtomicUsize::new(0);
        Self(Arc::new(Inner { config, view: Mutex::new(view), next, budget }))
    }
}

impl fmt::Debug for GrpcChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcChannel").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl tower_service::Service<http::Request<TonicBody>> for GrpcChannel {
    type Response = http::Response<AnswerBody>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<http::Response<AnswerBody>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<TonicBody>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move { inner.call(request).await })
    }
}

impl Inner {
    async fn call(
        &self,
        request: http::Request<TonicBody>,
    ) -> Result<http::Response<AnswerBody>, Status> {
        let (mut parts, body) = request.into_parts();
        let said = parts.headers.get(TIMEOUT).and_then(|text| parse_timeout(text.as_bytes()));
        let limit = said.or(self.config.call_timeout);
        if let (None, Some(limit)) = (said, limit) {
            let text = HeaderValue::try_from(show_timeout(limit));
            let _ = text.map(|text| parts.headers.insert(TIMEOUT, text));
        }
        // None if it would be later than clocks go.
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        let content = Content::of(body)?;
        let calling = self.attempts(&parts, content, until);
        match until {
            None => calling.await,
            Some(until) => {
                match tokio::time::timeout_at(until, calling).await {
                    // A server gives a call up at about the same time.
                    Ok(Err(_)) if Instant::now() >= until => Err(too_late()),
                    Ok(answered) => answered,
                    Err(_) => Err(too_late()),
                }
            }
        }
    }

    /// Makes the call, and makes it again for as long as that is allowed.
    async fn attempts(
        &self,
        parts: &http::request::Parts,
        mut content: Content,
        until: Option<Instant>,
    ) -> Result<http::Response<AnswerBody>, Status> {
        self.budget.earn();
        let (mut failed, mut unseen) = (0, 0);
        loop {
            let node = self.pick()?;
            let mut head = http::Request::new(());
            *head.method_mut() = parts.method.clone();
            *head.headers_mut() = parts.headers.clone();
            *head.version_mut() = http::Version::HTTP_2;
            *head.uri_mut() = self.uri(&node, &parts.uri)?;
            head.headers_mut().insert("te", HeaderValue::from_static("trailers"));
            if failed > 0 {
                head.headers_mut().insert(ATTEMPTS, failed.into());
            }
            let asked = Asked { head, content, until };
            let (status, back) = match node.send(&self.config, asked).await {
                Sent::Answered(answer, back) => match retry::status_of(&answer) {
                    Some(status) if back.is_some() && self.config.retry.covers(status.code()) => {
                        let pushback = retry::pushback(&answer);
                        if !self.may_retry(&mut failed) || pushback == retry::Pushback::Never {
                            return Ok(answer);
                        }
                        if let retry::Pushback::After(pause) = pushback {
                            tokio::time::sleep(pause).await;
                        }
                        (status, back)
                    }
                    _ => return Ok(answer),
                },
                Sent::Unseen(status, back) => {
                    unseen += 1;
                    // Each node once, and once more for a connection that was closed meanwhile.
                    if unseen > self.nodes().len() {
                        return Err(status);
                    }
                    content = back;
                    continue;
                }
                Sent::Lost(status, back) => {
                    let again = back.is_some() && self.config.retry.covers(status.code());
                    if !again || !self.may_retry(&mut failed) {
                        return Err(status);
                    }
                    (status, back)
                }
            };
            let Some(back) = back else { return Err(status) };
            content = back;
            tokio::time::sleep(self.config.retry.pause(failed)).await;
        }
    }

    fn may_retry(&self, failed: &mut u32) -> bool {
        *failed += 1;
        *failed < self.config.retry.attempts && self.budget.spend()
    }

    fn uri(&self, node: &Node, asked: &Uri) -> Result<Uri, Status> {
        let mut parts = http::uri::Parts::default();
        let secure = self.config.tls.is_some();
        parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
        let authority = Authority::try_from(node.authority());
        parts.authority = Some(authority.unwrap_or(Authority::from_static("localhost")));
        parts.path_and_query = asked.path_and_query().cloned();
        Uri::from_parts(parts).map_err(|e| Status::internal(e.to_string()))
    }

    /// The node whose turn it is; of those that can't be connected to the one that was left alone for longest, if there
    /// are no others.
    fn pick(&self) -> Result<Arc<Node>, Status> {
        let nodes = self.nodes();
        let now = Instant::now();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let turn = (0..nodes.len()).filter_map(|at| nodes.get((first + at) % nodes.len()));
        let ready = turn.clone().find(|node| node.is_ready(now));
        let least = || turn.min_by_key(|node| node.left_until());
        ready.or_else(least).cloned().ok_or_else(|| Status::unavailable("there is no node to call"))
    }

    /// The nodes there are now. Those that stay keep their connections.
    fn nodes(&self) -> Arc<[Arc<Node>]> {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = view.found.has_changed().unwrap_or(false);
        if std::mem::take(&mut view.unread) || changed {
            let found = view.found.borrow_and_update().clone();
            let before = view.nodes.clone();
            let wanted = found.into_iter().filter(|info| !info.inactive);
            let nodes = wanted.filter_map(|info| {
                let known = before.iter().find(|node| node.address() == info.address).cloned();
                known.or_else(|| Node::new(&info.address, &self.config).map(Arc::new))
            });
            view.nodes = nodes.collect();
        }
        view.nodes.clone()
    }
}

fn too_late() -> Status {
    Status::new(Code::DeadlineExceeded, "the call takes too long")
}
