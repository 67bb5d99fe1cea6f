//! A request that a second node is asked as well when the first takes long: who answers first is heard, and the
//! other one is asked no more.

use std::sync::Arc;
use std::time::Duration;

use hemi_core::BoxFuture;
use hemi_core::backend::{Endpoint, Pick};
use hemi_web::{Body, Response, Undelivered};
use http::header::HeaderValue;
use tokio::time::timeout;

use super::{Failover, RetryCause};
use crate::replay::Replay;

type Answered = Result<Response, Box<Undelivered>>;

/// What came of sending a request.
pub(super) struct Sent {
    pub(super) answer: Answered,
    /// Who was asked.
    pub(super) node: Arc<Endpoint>,
    /// Holds the node that was asked, if that is needed afterwards.
    pub(super) twin: Option<Pick>,
    /// What tells the client which node it was.
    pub(super) cookie: Option<HeaderValue>,
}

/// A request on its way to a node.
struct Asked<'s> {
    answer: BoxFuture<'s, Answered>,
    node: Arc<Endpoint>,
    twin: Option<Pick>,
    cookie: Option<HeaderValue>,
}

impl Asked<'_> {
    async fn finish(mut self) -> Sent {
        let answer = (&mut self.answer).await;
        self.with(answer)
    }

    fn with(self, answer: Answered) -> Sent {
        Sent { answer, node: self.node, twin: self.twin, cookie: self.cookie }
    }
}

impl Failover<'_> {
    /// Sends it to the node that was picked, and to another one if that takes too long and may be done.
    ///
    /// `tried` gets a node that has failed meanwhile.
    pub(super) async fn send<'s>(
        &self,
        pick: Pick,
        body: Body,
        tried: &mut Vec<Pick>,
        replay: Option<&Replay>,
        send: &mut (impl FnMut(Pick, Body) -> BoxFuture<'s, Answered> + Send),
    ) -> Sent {
        let left = self.repeatable && tried.len() + 1 < self.max_tries;
        let hedge_after = self.hedge_after.filter(|_| left);
        let mut first = self.ask(pick, body, hedge_after, send);
        let Some(after) = hedge_after else { return first.finish().await };
        // One of a core's deadlines would be too coarse.
        if let Ok(answer) = timeout(after, &mut first.answer).await {
            return first.with(answer);
        }
        // Of a content that is still on its way there can't be another copy.
        let copy = replay.map_or_else(|| Some(Body::empty()), Replay::whole);
        let Some(copy) = copy else { return first.finish().await };
        tried.extend(first.twin.as_ref().map(Pick::twin));
        let other = self.nodes.pick(&self.by, tried);
        tried.pop();
        match other {
            Ok(other) if self.nodes.may_retry() => {
                let second = self.ask(other, copy, hedge_after, send);
                self.race(first, second, tried).await
            }
            _ => first.finish().await,
        }
    }

    fn ask<'s>(
        &self,
        pick: Pick,
        body: Body,
        hedge_after: Option<Duration>,
        send: &mut impl FnMut(Pick, Body) -> BoxFuture<'s, Answered>,
    ) -> Asked<'s> {
        let by_status = self.causes.iter().any(|cause| matches!(cause, RetryCause::Status(_)));
        let twin = (by_status || hedge_after.is_some()).then(|| pick.twin());
        let (node, cookie) = (pick.endpoint().clone(), self.cookie(&pick));
        Asked { node, twin, cookie, answer: send(pick, body) }
    }

    /// The first answer that is none to be held against its node; else the last.
    async fn race(&self, mut one: Asked<'_>, mut other: Asked<'_>, tried: &mut Vec<Pick>) -> Sent {
        let (sent, left) = tokio::select! {
            biased;
            answer = &mut one.answer => (one.with(answer), other),
            answer = &mut other.answer => (other.with(answer), one),
        };
        match sent.answer {
            Ok(ref response) if !self.is_held_against(response.status()) => return sent,
            Err(ref undelivered) if !undelivered.error.is_of_node() => return sent,
            _ => {}
        }
        let last = left.finish().await;
        match (&last.answer, sent.answer) {
            // One that says something is better than one that says nothing.
            (Err(_), Ok(answer)) => Sent { answer: Ok(answer), ..sent },
            (_, Ok(_)) => {
                self.nodes.failed_at(&sent.node);
                tried.extend(sent.twin);
                last
            }
            (_, Err(undelivered)) => {
                self.tell(&undelivered.error, &undelivered.pick);
                self.nodes.failed(&undelivered.pick);
                tried.push(undelivered.pick);
                last
            }
        }
    }
}
