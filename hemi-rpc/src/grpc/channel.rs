//! Calls services of gRPC elsewhere: what clients of tonic-build are made with.

mod body;
mod conn;
mod hedge;
mod hrpc;
mod retry;
mod service_config;

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
use self::retry::{Budget, Pushback, pushback, status_of};
use self::service_config::{Again, MethodConfig};
pub use self::service_config::{BadServiceConfig, ServiceConfig};
use crate::client::BadEndpoint;
use crate::{Discovery, NodeInfo, Several};

pub use self::body::AnswerBody;

const TIMEOUT: &str = "grpc-timeout";
const ATTEMPTS: &str = "grpc-previous-rpc-attempts";

/// How services are called.
#[derive(Clone, Debug)]
pub struct GrpcChannelConfig {
    /// How many connections there are to each node: one by default. There are more for as long as these carry as many
    /// calls as the node takes.
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
    /// What the owners of the services say of that, and of how long calls may take: none by default. For methods that it
    /// names `retry` does not count.
    pub service_config: Option<ServiceConfig>,
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
            service_config: None,
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
    budget: Budget,
    /// For methods that no service config names.
    unnamed: MethodConfig,
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
        let throttling = config.service_config.as_ref().and_then(|config| config.throttling);
        let budget = Budget::new(throttling);
        let next = AtomicUsize::new(0);
        let again = Again::Retry(config.retry.clone());
        let unnamed = MethodConfig { again, ..MethodConfig::default() };
        Self(Arc::new(Inner { config, view: Mutex::new(view), next, budget, unnamed }))
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
        let method = self.config.service_config.as_ref();
        let method = method.and_then(|config| config.method(parts.uri.path()));
        let method = method.unwrap_or(&self.unnamed);
        let said = parts.headers.get(TIMEOUT).and_then(|text| parse_timeout(text.as_bytes()));
        let shortest = said.into_iter().chain(method.timeout).min();
        let limit = shortest.or(self.config.call_timeout);
        if let Some(limit) = limit.filter(|limit| said != Some(*limit)) {
            let text = HeaderValue::try_from(show_timeout(limit));
            let _ = text.map(|text| parts.headers.insert(TIMEOUT, text));
        }
        // None if it would be later than clocks go.
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        let content = Content::of(body)?;
        let call = Call { channel: self, parts: &parts, method, until };
        let calling = call.make(content);
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

    fn head(
        &self,
        node: &Node,
        parts: &http::request::Parts,
        failed: u32,
    ) -> Result<http::Request<()>, Status> {
        let mut head = http::Request::new(());
        *head.method_mut() = parts.method.clone();
        *head.headers_mut() = parts.headers.clone();
        *head.version_mut() = http::Version::HTTP_2;
        *head.uri_mut() = self.uri(node, &parts.uri)?;
        head.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        if failed > 0 {
            head.headers_mut().insert(ATTEMPTS, failed.into());
        }
        Ok(head)
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

/// A call, made once or more often.
struct Call<'a> {
    channel: &'a Inner,
    parts: &'a http::request::Parts,
    method: &'a MethodConfig,
    until: Option<Instant>,
}

type Answer = http::Response<AnswerBody>;

impl Call<'_> {
    async fn make(&self, content: Content) -> Result<Answer, Status> {
        self.channel.budget.began();
        match (&self.method.again, content) {
            (Again::Retry(retry), content) => self.retried(retry, content).await,
            (Again::Hedge(hedging), Content::Whole(bytes)) => self.hedged(hedging, bytes).await,
            (Again::Never | Again::Hedge(_), content) => match self.once(content, 0).await {
                Sent::Answered(answer, _) => Ok(answer),
                Sent::Unseen(status, _) | Sent::Lost(status, _) => Err(status),
            },
        }
    }

    /// Makes the call again when it has come to nothing, for as long as that is allowed.
    async fn retried(&self, retry: &Retry, mut content: Content) -> Result<Answer, Status> {
        let budget = &self.channel.budget;
        let mut failed = 0;
        loop {
            let (outcome, back) = match self.once(content, failed).await {
                Sent::Answered(answer, back) => (Ok(answer), back),
                Sent::Lost(status, back) => (Err(status), back),
                Sent::Unseen(status, _) => return Err(status),
            };
            let nothing = code_of(&outcome).is_some_and(|code| retry.covers(code));
            let (true, Some(back)) = (nothing, back) else {
                if outcome.is_ok() && !nothing {
                    budget.succeeded();
                }
                return outcome;
            };
            budget.failed();
            failed += 1;
            let pushback = outcome.as_ref().map_or(Pushback::None, pushback);
            if failed >= retry.attempts || pushback == Pushback::Never || !budget.spend() {
                return outcome;
            }
            tokio::time::sleep(match pushback {
                Pushback::After(pause) => pause,
                _ => retry.pause(failed),
            })
            .await;
            content = back;
        }
    }

    /// Sends the call to a node, and to the next one if no node can have seen it.
    async fn once(&self, mut content: Content, failed: u32) -> Sent {
        let channel = self.channel;
        let (mut unseen, mut pause) = (0, FIRST_WAIT);
        loop {
            let (status, back) = match channel.pick() {
                Err(status) => (status, content),
                Ok(node) => {
                    let head = match channel.head(&node, self.parts, failed) {
                        Ok(head) => head,
                        Err(status) => return Sent::Unseen(status, content),
                    };
                    let asked = Asked { head, content, until: self.until };
                    match node.send(&channel.config, asked).await {
                        Sent::Unseen(status, back) => (status, back),
                        sent => return sent,
                    }
                }
            };
            unseen += 1;
            content = back;
            // Each node once, and once more for a connection that was closed meanwhile.
            if unseen > channel.nodes().len() {
                if !self.method.waits {
                    return Sent::Unseen(status, content);
                }
                tokio::time::sleep(pause).await;
                (unseen, pause) = (0, (pause * 2).min(LONGEST_WAIT));
            }
        }
    }
}

/// How long a call that waits for a node lets all of them alone, at first and at most.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What a call has come to; none if messages follow.
fn code_of(outcome: &Result<Answer, Status>) -> Option<Code> {
    match outcome {
        Ok(answer) => status_of(answer).map(|status| status.code()),
        Err(status) => Some(status.code()),
    }
}

fn too_late() -> Status {
    Status::new(Code::DeadlineExceeded, "the call takes too long")
}
