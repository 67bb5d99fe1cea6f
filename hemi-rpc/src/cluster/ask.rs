//! One call of a cluster.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hemi_core::clock::{self, Moment};
use hemi_proto::rpcx::CodecId;
use tokio::time::sleep;

use super::node::Node;
use super::{Cluster, FailMode};
use crate::client::Options;
use crate::{Payload, RpcError};

/// A call that is being put together.
#[must_use = "it is made by `call` and its like"]
#[derive(Clone, Debug)]
pub struct ClusterAsk<'a> {
    cluster: &'a Cluster,
    service: &'a str,
    method: &'a str,
    key: &'a str,
    options: Options,
    fail_mode: FailMode,
    once: bool,
}

/// What one node has answered.
#[derive(Clone, Debug)]
pub struct Receipt<R> {
    /// The node.
    pub address: String,
    /// Its reply, or why there is none.
    pub result: Result<R, RpcError>,
}

impl<'a> ClusterAsk<'a> {
    pub(super) fn new(cluster: &'a Cluster, service: &'a str, method: &'a str) -> Self {
        let (options, fail_mode) = (Options::default(), cluster.config().fail_mode);
        Self { cluster, service, method, key: "", options, fail_mode, once: false }
    }

    pub(super) fn service(&self) -> &str {
        self.service
    }

    pub(super) fn method(&self) -> &str {
        self.method
    }

    pub(super) fn key_text(&self) -> &str {
        self.key
    }

    pub(crate) fn with(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// What decides which node is called, where that is decided by a hash.
    pub fn key(mut self, key: &'a str) -> Self {
        self.key = key;
        self
    }

    /// Says something besides.
    pub fn metadata(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.options.metadata.set(key, value);
        self
    }

    /// Writes the argument in this, and is answered in it.
    pub fn codec(mut self, codec: CodecId) -> Self {
        self.options.codec = Some(codec);
        self
    }

    /// Waits no longer than this, for all that is tried together.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// Has this done when it comes to nothing.
    pub fn fail_mode(mut self, mode: FailMode) -> Self {
        self.fail_mode = mode;
        self
    }

    /// Is made again only if no node can have seen it: for what must not be done twice.
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Makes the call.
    ///
    /// # Errors
    /// When it fails there, or no node can be asked.
    pub async fn call<A: Payload, R: Payload>(self, args: &A) -> Result<R, RpcError> {
        self.cluster.0.budget.earn();
        match self.fail_mode {
            FailMode::Failbackup if !self.once => self.call_twice(args).await,
            _ => self.call_again(args).await,
        }
    }

    async fn call_again<A: Payload, R: Payload>(&self, args: &A) -> Result<R, RpcError> {
        let config = self.cluster.config();
        let until = self.until();
        let retries = match self.fail_mode {
            FailMode::Failtry | FailMode::Failover => config.retries,
            FailMode::Failfast | FailMode::Failbackup => 0,
        };
        let mut failed: Vec<Arc<Node>> = Vec::new();
        let mut node = self.cluster.select(self, &[]).ok_or(RpcError::NoNode)?;
        for attempt in 0.. {
            let e = match self.ask(&node, args, until).await {
                Ok(reply) => return Ok(reply),
                Err(e) => e,
            };
            let again = e.is_unsent() || !self.once && matches!(e, RpcError::Lost(_));
            let unwritable = matches!(e, RpcError::Unwritable(_));
            if !again || unwritable || attempt >= retries || clock::now() >= until {
                return Err(e);
            }
            if !self.cluster.0.budget.spend() {
                return Err(e);
            }
            if self.fail_mode == FailMode::Failover {
                failed.push(node);
                let Some(other) = self.cluster.select(self, &failed) else { return Err(e) };
                node = other;
            }
            let interval = config.retry_interval * (1 << attempt.min(10));
            if !interval.is_zero() {
                sleep(interval.mul_f64(0.5 + self.cluster.0.selecting.chance())).await;
            }
        }
        Err(RpcError::NoNode)
    }

    /// Calls a second node if the first is slow, or has failed; the first reply is taken.
    async fn call_twice<A: Payload, R: Payload>(&self, args: &A) -> Result<R, RpcError> {
        let until = self.until();
        let first = self.cluster.select(self, &[]).ok_or(RpcError::NoNode)?;
        let second;
        let mut calls = FuturesUnordered::new();
        calls.push(self.ask(&first, args, until));
        let early = tokio::select! {
            biased;
            done = calls.next() => done,
            () = sleep(self.cluster.config().backup_latency) => None,
        };
        let error = match early {
            Some(Ok(reply)) => return Ok(reply),
            Some(Err(e @ (RpcError::Failed(_) | RpcError::Unwritable(_)))) => return Err(e),
            Some(Err(e)) => Some(e),
            None => None,
        };
        if self.cluster.0.budget.spend() {
            second = self.cluster.select(self, std::slice::from_ref(&first));
            calls.extend(second.as_ref().map(|second| self.ask(second, args, until)));
        }
        let mut last = error.unwrap_or(RpcError::NoNode);
        while let Some(done) = calls.next().await {
            match done {
                Ok(reply) => return Ok(reply),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// Calls all nodes; the first reply is taken.
    ///
    /// # Errors
    /// When all fail: with the error of the last.
    pub async fn fork<A: Payload, R: Payload>(self, args: &A) -> Result<R, RpcError> {
        let (nodes, until) = (self.cluster.nodes(), self.until());
        let mut calls: FuturesUnordered<_> =
            nodes.iter().map(|node| self.ask(node, args, until)).collect();
        let mut last = RpcError::NoNode;
        while let Some(done) = calls.next().await {
            match done {
                Ok(reply) => return Ok(reply),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// Calls all nodes, and waits for all; comes back with the reply of one.
    ///
    /// # Errors
    /// When one fails.
    pub async fn broadcast<A: Payload, R: Payload>(self, args: &A) -> Result<R, RpcError> {
        let mut reply = Err(RpcError::NoNode);
        for receipt in self.inform(args).await {
            reply = Ok(receipt.result?);
        }
        reply
    }

    /// Calls all nodes, and comes back with what each has answered, in the order of their addresses.
    pub async fn inform<A: Payload, R: Payload>(self, args: &A) -> Vec<Receipt<R>> {
        let (nodes, until, this) = (self.cluster.nodes(), self.until(), &self);
        let calls = nodes.iter().map(|node| async move {
            let result = this.ask(node, args, until).await;
            Receipt { address: node.info.address.clone(), result }
        });
        let mut calls: FuturesUnordered<_> = calls.collect();
        let mut receipts = Vec::new();
        while let Some(receipt) = calls.next().await {
            receipts.push(receipt);
        }
        receipts.sort_by(|a, b| a.address.cmp(&b.address));
        receipts
    }

    async fn ask<A: Payload, R: Payload>(
        &self,
        node: &Node,
        args: &A,
        until: Moment,
    ) -> Result<R, RpcError> {
        let mut options = self.options.clone();
        options.timeout = Some(until.since(clock::now()));
        let ask = node.client.ask(self.service, self.method).with(options);
        node.watch(ask.call(args)).await
    }

    fn until(&self) -> Moment {
        let usual = self.cluster.config().client.call_timeout;
        clock::now().after(self.options.timeout.unwrap_or(usual))
    }
}
