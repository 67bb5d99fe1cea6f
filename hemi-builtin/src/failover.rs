//! Sends a request to one node after the other, until one answers.

use hemi_core::BoxFuture;
use hemi_core::backend::{By, NoNode, Nodes, Pick};
use hemi_web::{Body, Response, Undelivered};
use http::StatusCode;
use tracing::warn;

/// A request that may go to several nodes.
pub(crate) struct Failover<'a> {
    pub(crate) nodes: &'a Nodes,
    pub(crate) by: By<'a>,
    /// Nodes that it is sent to, at most.
    pub(crate) max_tries: usize,
    /// Doing what it asks for twice comes to the same (RFC 9110, 9.2.2).
    pub(crate) repeatable: bool,
    /// Its id, for the log.
    pub(crate) request: &'a str,
}

impl Failover<'_> {
    /// Sends it; the status to answer with, if no node does.
    ///
    /// After a failure it is sent again if nobody can have seen it, or it may be repeated; and never when
    /// some of its content was taken.
    pub(crate) async fn run<'s>(
        self,
        mut body: Body,
        mut send: impl FnMut(Pick, Body) -> BoxFuture<'s, Result<Response, Box<Undelivered>>> + Send,
    ) -> Result<Response, StatusCode> {
        let (request, mut tried) = (self.request, Vec::new());
        let mut status = StatusCode::SERVICE_UNAVAILABLE;
        loop {
            let pick = self.nodes.pick(&self.by, &tried).map_err(|e| {
                if e == NoNode::Fit {
                    warn!(request, "cannot pass the request on: {e}");
                }
                status
            })?;
            let undelivered = match send(pick, body).await {
                Ok(response) => return Ok(response),
                Err(undelivered) => *undelivered,
            };
            let (error, node) = (undelivered.error, undelivered.pick.endpoint().target());
            warn!(request, %node, "no answer from the node: {error}");
            status = error.status();
            if !error.is_of_node() {
                return Err(status);
            }
            self.nodes.failed(&undelivered.pick);
            tried.push(undelivered.pick);
            let again = undelivered.unseen || self.repeatable;
            match undelivered.body.filter(|_| again && tried.len() < self.max_tries) {
                Some(untouched) => body = untouched,
                None => return Err(status),
            }
        }
    }
}
