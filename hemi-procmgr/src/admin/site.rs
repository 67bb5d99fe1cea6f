//! What all connections of the admin servers share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hemi_core::clock::{self, Moment};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex as AsyncMutex, broadcast};
use tokio::time::{Interval, MissedTickBehavior};

use super::Token;
use crate::control::{Act, Control, Done, Event, Overview, Refused};

/// What all connections share.
pub(crate) struct Site {
    pub(super) control: Arc<dyn Control>,
    pub(super) token: Token,
    /// Names by which the servers may be asked for, besides addresses and `localhost`.
    pub(super) hosts: Vec<String>,
    /// The name of the cookie of sessions.
    pub(super) cookie: String,
    overview: AsyncMutex<Option<(Moment, Arc<Overview>)>>,
    events: AsyncMutex<broadcast::Receiver<Event>>,
    /// The last of them last.
    happened: Mutex<VecDeque<Event>>,
}

/// How old an overview may be: however many look, the worker is asked so often.
const FRESH: Duration = Duration::from_millis(500);

/// Between two looks of those who watch.
const BEAT: Duration = Duration::from_secs(1);

/// Events that are remembered.
const EVENTS: usize = 30;

impl Site {
    pub(crate) fn new(
        program: &str,
        control: Arc<dyn Control>,
        token: Token,
        hosts: Vec<String>,
    ) -> Self {
        let events = control.events();
        Self {
            control,
            token,
            hosts,
            cookie: format!("{program}-session"),
            overview: AsyncMutex::default(),
            events: AsyncMutex::new(events),
            happened: Mutex::default(),
        }
    }

    /// How all stands, or stood half a second ago.
    pub(super) async fn overview(&self) -> Arc<Overview> {
        let mut kept = self.overview.lock().await;
        match &*kept {
            Some((at, overview)) if clock::now().since(*at) < FRESH => overview.clone(),
            _ => {
                let overview = Arc::new(self.control.overview().await);
                *kept = Some((clock::now(), overview.clone()));
                overview
            }
        }
    }

    /// Does something. What is seen afterwards is how it stands then.
    pub(super) async fn act(&self, act: Act) -> Result<Done, Refused> {
        let done = self.control.act(act).await;
        *self.overview.lock().await = None;
        done
    }

    /// What has happened lately, the last first.
    pub(super) fn happened(&self) -> Vec<Event> {
        let happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        happened.iter().rev().cloned().collect()
    }

    /// Remembers what happens, for as long as it is asked to. Of several that ask one does.
    pub(super) async fn remember(&self) {
        let mut events = self.events.lock().await;
        loop {
            match events.recv().await {
                Ok(event) => {
                    // What was seen before is not so any more.
                    *self.overview.lock().await = None;
                    let mut happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
                    if happened.len() == EVENTS {
                        happened.pop_front();
                    }
                    happened.push_back(event);
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Begins to watch.
    pub(super) fn watch(&self) -> Watch {
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Watch { events: self.control.events(), beats }
    }
}

/// What somebody sees who watches.
pub(super) struct Watch {
    events: broadcast::Receiver<Event>,
    beats: Interval,
}

/// A reason to look.
pub(super) enum Seen {
    Event(Event),
    /// Another second has passed.
    Beat,
}

impl Watch {
    /// The next; none if the leader ends.
    pub(super) async fn next(&mut self) -> Option<Seen> {
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Ok(event) => return Some(Seen::Event(event)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
                _ = self.beats.tick() => return Some(Seen::Beat),
            }
        }
    }
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Site")
    }
}
