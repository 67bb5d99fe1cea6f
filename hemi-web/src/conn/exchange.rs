//! What becomes of a request between its head and its answer, by whatever version of HTTP it came.

use std::pin::pin;
use std::time::Instant;

use hemi_core::clock;
use hemi_core::listen::Peer;
use hemi_core::panics::{Panicked, catch, catch_call};
use http::{Method, StatusCode};
use tracing::{debug, error};

use crate::http_config::Limit;
use crate::httpx::Shared;
use crate::meter::Done;
use crate::record::Exchange;
use crate::webapp::{Answered, Begun, Position, Start, Webapp};
use crate::{Request, Response, trace};

/// When an exchange began, if that is of interest, and how many bytes of content it has moved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    pub(super) began: Option<Instant>,
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Shared {
    /// Asks the webapp, until somebody has to wait.
    pub(super) fn ask(&self, webapp: &Webapp, req: &mut Request) -> Begun {
        self.start(webapp, req).into()
    }

    /// The same, for who can do with an answer that is lent.
    pub(super) fn start<'w>(&self, webapp: &'w Webapp, req: &mut Request) -> Start<'w> {
        let refused = |status| Start::Begun(Begun::Done(Answered::without_rule(status)));
        webapp.trace(req);
        if req.tls().is_some_and(|tls| self.is_misdirected(req, tls)) {
            self.hit(&req.peer(), Limit::Misdirected);
            return refused(StatusCode::MISDIRECTED_REQUEST);
        }
        if req.body().len().is_some_and(|len| len > webapp.body_limit()) {
            self.hit(&req.peer(), Limit::BodySize);
            return refused(StatusCode::PAYLOAD_TOO_LARGE);
        }
        if let Some(answered) = Answered::options(req) {
            return Start::Begun(Begun::Done(answered));
        }
        let start = catch_call(|| webapp.start(req));
        start.unwrap_or_else(|panic| Start::Begun(Begun::Done(self.panicked(req, &panic))))
    }

    /// Asks on, where somebody has to wait.
    pub(super) async fn ask_on(
        &self,
        webapp: &Webapp,
        req: &mut Request,
        at: Position,
    ) -> Answered {
        let answered = catch(pin!(webapp.go_on(req, at))).await;
        answered.unwrap_or_else(|panic| self.panicked(req, &panic))
    }

    /// Puts the last hand to an answer: a final one, or 101 if the request wants an upgrade.
    pub(super) fn finish(
        &self,
        webapp: Option<&Webapp>,
        req: &mut Request,
        response: &mut Response,
    ) {
        if let Some(webapp) = webapp
            && let Err(panic) = catch_call(|| webapp.finish(req, response))
        {
            self.count_panic(req, &panic);
            *response = StatusCode::INTERNAL_SERVER_ERROR.into();
        }
        let status = response.status();
        let upgrades = status == StatusCode::SWITCHING_PROTOCOLS && req.wants_upgrade();
        if status.is_informational() && !upgrades {
            error!(request = %req.id(), "a handlet answered {status}, which is no answer");
            *response = StatusCode::INTERNAL_SERVER_ERROR.into();
        }
        if req.head().method == Method::CONNECT && !upgrades {
            // Any 2xx would tell the client that it has a tunnel (RFC 9110, 9.3.6).
            let status = response.status();
            if status.is_success() || status == StatusCode::NOT_FOUND {
                *response = StatusCode::NOT_IMPLEMENTED.into();
            }
        }
        if response.status().is_server_error() {
            self.counters.errors.add(1);
        }
    }

    /// Tells those who want to hear of it that the exchange is over.
    pub(super) fn record(
        &self,
        webapp: Option<&Webapp>,
        req: &mut Request,
        answered: &Answered,
        moved: Moved,
    ) {
        if let Some(webapp) = webapp {
            count(webapp, req, answered, moved);
        }
        trace::end(req, &answered.response, moved.sent);
    }

    /// The same of a request that nobody was asked about, for its head is none: where those of unknown hosts are, if
    /// its host is not known.
    pub(super) fn record_refused(&self, req: &mut Request, status: StatusCode) {
        if let Some(webapp) = self.route(req) {
            let answered = Answered::without_rule(status);
            self.record(Some(webapp), req, &answered, Moved::default());
        }
    }

    /// Counts that a limit was hit.
    pub(super) fn hit(&self, peer: &Peer, limit: Limit) {
        self.counters.limit(limit).add(1);
        debug!(%peer, limit = limit.name(), "limit hit");
    }

    pub(super) fn count_panic(&self, req: &Request, panic: &Panicked) {
        self.counters.panics.add(1);
        error!(peer = %req.peer(), request = %req.id(), "handlet panicked: {panic}");
    }

    fn panicked(&self, req: &Request, panic: &Panicked) -> Answered {
        self.count_panic(req, panic);
        Answered::without_rule(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Counts the exchange, and writes it to the access logs, if that is to be.
fn count(webapp: &Webapp, req: &Request, answered: &Answered, moved: Moved) {
    let Moved { began, received, sent } = moved;
    let took = began.map(|began| began.elapsed());
    if let (Some(meter), Some(took)) = (webapp.meter(), took) {
        let status = answered.response.status();
        meter.count(Done { rule: answered.rule, status, took, received, sent });
    }
    let [first, rest @ ..] = webapp.logs() else { return };
    if !answered.logged {
        return;
    }
    let exchange = Exchange {
        req,
        webapp: webapp.name(),
        response: &answered.response,
        sent,
        at: clock::calendar(),
        took,
    };
    first.log(&exchange);
    rest.iter().for_each(|log| log.log(&exchange));
}
