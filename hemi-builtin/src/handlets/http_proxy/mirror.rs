//! Copies of requests, for another backend to be tried with: nobody waits for its answers.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hemi_core::backend::By;
use hemi_proto::fields::FieldLines;
use hemi_web::{Body, DynHttpBackend, Outgoing};
use http::Method;
use tokio::sync::Notify;
use tracing::debug;

/// Copies under way at once, at most: what is more is not copied.
const MOST: usize = 256;

/// Bytes of an answer that are read, at most.
const READ: u64 = 1 << 20;

/// Where copies go.
pub(super) struct Mirror {
    backend: Arc<dyn DynHttpBackend>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    under_way: AtomicUsize,
    ended: AtomicBool,
    end: Notify,
}

/// A request as it was sent.
pub(super) struct Copied {
    pub(super) method: Method,
    pub(super) target: Vec<u8>,
    pub(super) authority: Vec<u8>,
    pub(super) secure: bool,
    pub(super) fields: FieldLines,
    pub(super) body: Body,
}

impl Mirror {
    pub(super) fn new(backend: Arc<dyn DynHttpBackend>) -> Self {
        Self { backend, shared: Arc::default() }
    }

    /// Sends a copy, if there are not too many already.
    pub(super) fn send(&self, copied: Copied) {
        let (backend, shared) = (self.backend.clone(), self.shared.clone());
        let before = shared.under_way.fetch_add(1, Ordering::Relaxed);
        // Counts down however it ends.
        let count = Count(shared.clone());
        if before >= MOST || shared.ended.load(Ordering::Acquire) {
            return;
        }
        tokio::spawn(async move {
            let mut end = pin!(shared.end.notified());
            end.as_mut().enable();
            if !shared.ended.load(Ordering::Acquire) {
                tokio::select! {
                    () = end => {}
                    () = send(&*backend, copied) => {}
                }
            }
            drop(count);
        });
    }

    /// Ends what is under way: the stage drains.
    pub(super) fn end(&self) {
        self.shared.ended.store(true, Ordering::Release);
        self.shared.end.notify_waiters();
    }
}

struct Count(Arc<Shared>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn send(backend: &dyn DynHttpBackend, copied: Copied) {
    let Copied { method, target, authority, secure, fields, body } = copied;
    let Ok(pick) = backend.nodes().pick(&By::default(), &[]) else { return };
    let outgoing = Outgoing {
        method: &method,
        target: &target,
        authority: authority.into(),
        secure,
        fields: &fields,
        upgrade: None,
        trailers: false,
        hints: None,
    };
    match backend.send(pick, outgoing, body).await {
        // Read, for its connection to be used again.
        Ok(mut response) => drop(response.take_body().bytes(READ).await),
        Err(undelivered) => {
            backend.nodes().failed(&undelivered.pick);
            debug!(node = %undelivered.pick.endpoint().target(), "copy not answered: {}", undelivered.error);
        }
    }
}
