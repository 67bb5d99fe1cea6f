//! Handles: functions from helpers to something that becomes a response.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hemi_core::BoxFuture;

use super::params::Params;
use crate::{DynHandlet, Extract, Matched, Reply, Request, Respond};

/// A function that answers requests: an `async fn`, or a `fn` if it need not wait, or a closure like
/// them. It takes up to eight helpers, each of which implements [`Extract`], and returns something that
/// implements [`Respond`].
///
/// `S` is the state of the [`crate::Mapper`]; `Args` keeps functions of different arguments apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a handle of a mapper with the state `{S}`",
    note = "a handle is an `async fn` or a `fn` of up to eight arguments",
    note = "each argument must implement `Extract<{S}>`: `State<T>` does where `T` is `{S}`",
    note = "what it returns must implement `Respond`, and its future be `Send`"
)]
pub trait Handle<S, Args>: Send + Sync + 'static {
    /// Takes the helpers, and answers.
    fn call<'a>(&'a self, req: &'a mut Request, at: Matched<'a, S>) -> BoxFuture<'a, Reply>;

    /// The same, if it needs no waiting.
    fn call_now(&self, req: &mut Request, at: &Matched<'_, S>) -> Option<Reply> {
        let _ = (req, at);
        None
    }

    /// Whether it never does.
    const AT_ONCE: bool = false;
}

/// Marks a handle that is an `async fn`.
#[derive(Debug)]
pub struct Waits;

/// Marks a handle that is a plain `fn`.
#[derive(Debug)]
pub struct AtOnce;

/// Takes the helpers, or answers with the error of the first that can't be had.
macro_rules! take {
    ($req:ident, $at:expr, $($arg:ident)*) => {
        $(let $arg = match $arg::extract($req, $at).await {
            Ok(helper) => helper,
            Err(e) => return Reply::Done(e.respond()),
        };)*
    };
}

macro_rules! handles {
    ($($arg:ident)*) => {
        #[allow(non_snake_case, unused_variables, reason = "arguments are named by their types")]
        impl<F, Fut, S, $($arg),*> Handle<S, (Waits, $($arg,)*)> for F
        where
            F: Fn($($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: Respond> + Send,
            S: Send + Sync + 'static,
            $($arg: Extract<S>,)*
        {
            fn call<'a>(&'a self, req: &'a mut Request, at: Matched<'a, S>) -> BoxFuture<'a, Reply> {
                Box::pin(async move {
                    take!(req, &at, $($arg)*);
                    Reply::Done(self($($arg),*).await.respond())
                })
            }
        }

        #[allow(non_snake_case, unused_variables, reason = "arguments are named by their types")]
        impl<F, R, S, $($arg),*> Handle<S, (AtOnce, $($arg,)*)> for F
        where
            F: Fn($($arg),*) -> R + Send + Sync + 'static,
            R: Respond,
            S: Send + Sync + 'static,
            $($arg: Extract<S>,)*
        {
            const AT_ONCE: bool = true $(&& $arg::AT_ONCE)*;

            fn call<'a>(&'a self, req: &'a mut Request, at: Matched<'a, S>) -> BoxFuture<'a, Reply> {
                Box::pin(async move {
                    take!(req, &at, $($arg)*);
                    Reply::Done(self($($arg),*).respond())
                })
            }

            fn call_now(&self, req: &mut Request, at: &Matched<'_, S>) -> Option<Reply> {
                if !<Self as Handle<S, (AtOnce, $($arg,)*)>>::AT_ONCE {
                    return None;
                }
                let answer = pin!(async move {
                    take!(req, at, $($arg)*);
                    Reply::Done(self($($arg),*).respond())
                });
                match answer.poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(reply) => Some(reply),
                    Poll::Pending => None,
                }
            }
        }
    };
}

handles!();
handles!(A);
handles!(A B);
handles!(A B C);
handles!(A B C D);
handles!(A B C D E);
handles!(A B C D E G);
handles!(A B C D E G H);
handles!(A B C D E G H I);

/// What a route leads to, whatever its state and arguments.
pub(super) trait Endpoint: Send + Sync {
    fn call<'a>(&'a self, req: &'a mut Request, found: Found<'a>) -> BoxFuture<'a, Reply>;

    fn call_now(&self, req: &mut Request, found: Found<'_>) -> Option<Reply>;

    /// Whether it may answer at once.
    fn at_once(&self) -> bool;
}

/// What was found out about a request on the way to its endpoint.
pub(super) struct Found<'a> {
    pub(super) params: Params<'a>,
    pub(super) max_content: u64,
}

/// A handle with its state.
pub(super) struct Bound<H, S, Args> {
    handle: H,
    state: Arc<S>,
    args: PhantomData<fn(Args)>,
}

impl<H, S, Args> Bound<H, S, Args> {
    pub(super) fn new(handle: H, state: Arc<S>) -> Self {
        Self { handle, state, args: PhantomData }
    }

    fn at<'a>(&'a self, found: Found<'a>) -> Matched<'a, S> {
        Matched { state: &self.state, params: found.params, max_content: found.max_content }
    }
}

impl<H: Handle<S, Args>, S: Send + Sync + 'static, Args: 'static> Endpoint for Bound<H, S, Args> {
    fn call<'a>(&'a self, req: &'a mut Request, found: Found<'a>) -> BoxFuture<'a, Reply> {
        self.handle.call(req, self.at(found))
    }

    fn call_now(&self, req: &mut Request, found: Found<'_>) -> Option<Reply> {
        self.handle.call_now(req, &self.at(found))
    }

    fn at_once(&self) -> bool {
        H::AT_ONCE
    }
}

/// A handlet at the end of a route.
pub(super) struct Mounted(pub(super) Arc<dyn DynHandlet>);

impl Endpoint for Mounted {
    fn call<'a>(&'a self, req: &'a mut Request, _: Found<'a>) -> BoxFuture<'a, Reply> {
        self.0.handle(req)
    }

    fn call_now(&self, req: &mut Request, _: Found<'_>) -> Option<Reply> {
        self.0.handle_now(req)
    }

    fn at_once(&self) -> bool {
        true
    }
}
