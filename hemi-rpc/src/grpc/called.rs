//! A call under way: how long it may take, and what is counted of it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hemi_core::cores::Counter;
use hemi_core::deadline::Patience;
use hemi_core::metrics::Measures;
use hemi_core::panics::catch;
use tonic::body::Body as TonicBody;
use tonic::{Code, Status};
use tracing::error;

use super::service::Answering;

/// Codes that a call may end with.
const CODES: usize = 17;

/// What is counted.
#[derive(Debug)]
pub(super) struct Counters {
    calls: Counter,
    panics: Counter,
    ended: [Counter; CODES],
}

impl Counters {
    pub(super) fn new(cores: usize) -> Self {
        let counter = || Counter::new(cores);
        let ended = std::array::from_fn(|_| counter());
        Self { calls: counter(), panics: counter(), ended }
    }

    pub(super) fn began(&self) {
        self.calls.add(1);
    }

    pub(super) fn ended(&self, code: Code) {
        if let Some(counter) = self.ended.get(code as usize) {
            counter.add(1);
        }
    }

    pub(super) fn measure(&self, out: &mut Measures) {
        out.counter("hemi_grpc_calls", "Calls of gRPC that have begun.", &[], self.calls.sum());
        out.counter("hemi_grpc_panics", "Panics of methods.", &[], self.panics.sum());
        for (code, counter) in self.ended.iter().enumerate() {
            let sum = counter.sum();
            if sum > 0 {
                let code = code.to_string();
                out.counter(
                    "hemi_grpc_ended",
                    "Calls, by the code they ended with.",
                    &[("code", &code)],
                    sum,
                );
            }
        }
    }

    /// What they counted, by their names in the status of a server.
    pub(super) fn named(&self) -> Vec<(&'static str, u64)> {
        let ended = self.ended.iter().map(Counter::sum).sum();
        let failed: u64 = self.ended.iter().skip(1).map(Counter::sum).sum();
        let (calls, panics) = (self.calls.sum(), self.panics.sum());
        [("calls", calls), ("ended", ended), ("failed", failed), ("panics", panics)].into()
    }
}

/// How long a call may still take.
#[derive(Debug, Default)]
pub(super) struct TimeLimit(Option<(Duration, Patience)>);

impl TimeLimit {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self(limit.map(|limit| (limit, Patience::default())))
    }

    /// To be asked whenever the call has to wait; ready with what its caller is told when that took too long.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Status> {
        let Some((limit, patience)) = &mut self.0 else { return Poll::Pending };
        if !patience.is_over(cx, *limit) {
            return Poll::Pending;
        }
        Poll::Ready(Status::deadline_exceeded("the call takes too long"))
    }
}

/// The answer of a service, which has to be there in time.
pub(super) async fn answer(
    mut answering: Answering,
    time: &mut TimeLimit,
    counters: &Arc<Counters>,
) -> http::Response<TonicBody> {
    let answer = poll_fn(|cx| match answering.as_mut().poll(cx) {
        Poll::Pending => time.poll(cx).map(Status::into_http),
        ready => ready,
    });
    match catch(pin!(answer)).await {
        Ok(answer) => answer,
        Err(panic) => {
            counters.panics.add(1);
            error!("a method panicked: {panic}");
            Status::internal("the method has failed").into_http()
        }
    }
}
