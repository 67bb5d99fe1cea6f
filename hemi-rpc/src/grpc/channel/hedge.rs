//! Calls that are made again before their answer is there (proposal A6): whichever comes first is heard, and the others
//! are given up.

use std::pin::pin;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::body::Content;
use super::conn::Sent;
use super::retry::{Pushback, pushback};
use super::service_config::Hedging;
use super::{Answer, Call, code_of};

impl Call<'_> {
    pub(super) async fn hedged(&self, hedging: &Hedging, content: Bytes) -> Result<Answer, Status> {
        let budget = &self.channel.budget;
        let (mut calls, mut sent, mut most) = (FuturesUnordered::new(), 0, hedging.attempts);
        let mut turn = pin!(sleep_until(Instant::now()));
        let mut last = None;
        loop {
            if calls.is_empty()
                && sent >= most
                && let Some(outcome) = last.take()
            {
                return outcome;
            }
            tokio::select! {
                biased;
                Some(ended) = calls.next(), if !calls.is_empty() => {
                    let outcome = match ended {
                        Sent::Answered(answer, _) => Ok(answer),
                        Sent::Lost(status, _) | Sent::Unseen(status, _) => Err(status),
                    };
                    if !code_of(&outcome).is_some_and(|code| hedging.codes.contains(&code)) {
                        budget.succeeded();
                        return outcome;
                    }
                    budget.failed();
                    match outcome.as_ref().map_or(Pushback::None, pushback) {
                        Pushback::None => turn.as_mut().reset(Instant::now()),
                        Pushback::After(pause) => turn.as_mut().reset(Instant::now() + pause),
                        Pushback::Never => most = sent,
                    }
                    last = Some(outcome);
                }
                () = &mut turn, if sent < most => {
                    if sent > 0 && !budget.spend() {
                        most = sent;
                        continue;
                    }
                    calls.push(self.once(Content::Whole(content.clone()), sent));
                    sent += 1;
                    turn.as_mut().reset(Instant::now() + hedging.delay);
                }
            }
        }
    }
}
