//! The kind `handlet`: answers requests.

use std::future::Future;
use std::sync::Arc;

use hemi_core::config::KindName;
use hemi_core::{BoxFuture, Component, Kind, Lifecycle, Place, Rank, Registry};

use crate::{Request, Respond, Response};

/// The kind of handlets.
#[derive(Debug)]
pub struct HandletKind;

impl KindName for HandletKind {
    const NAME: &'static str = "handlet";
}

impl Kind for HandletKind {
    type Object = dyn DynHandlet;
    const RANK: Rank = Rank::PART;
    const PLACE: Place = Place::Inside;
}

/// What a handlet says to a request.
#[derive(Debug)]
pub enum Reply {
    /// This is the answer.
    Done(Response),
    /// Not mine: let the next handlet try, then the next rule that matches.
    Next,
    /// The request is another now, most often by [`Request::set_target`]: let the webapp's rules try from
    /// the first on. More than 10 times for one request is answered 500.
    Again,
}

impl<R: Respond> From<R> for Reply {
    fn from(answer: R) -> Self {
        Self::Done(answer.respond())
    }
}

/// Answers requests. Written as a plain `async fn`.
///
/// ```
/// use hemi_core::Lifecycle;
/// use hemi_web::{Handlet, Reply, Request};
///
/// struct Hello;
/// impl Lifecycle for Hello {}
/// impl Handlet for Hello {
///     async fn handle(&self, req: &mut Request) -> Reply {
///         format!("Hello, {}\n", req.path()).into()
///     }
/// }
/// ```
pub trait Handlet: Lifecycle {
    /// Answers, or leaves it to the next, once [`Handlet::handle_now`] has given none. A panic here
    /// becomes a 500.
    fn handle(&self, req: &mut Request) -> impl Future<Output = Reply> + Send;

    /// Answers at once what needs no waiting, at less cost; none leaves it to [`Handlet::handle`]. Is
    /// always asked first.
    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        let _ = req;
        None
    }

    /// [`Handlet::handle`] as a webapp stores it: to be written by those whose future is boxed already.
    fn handle_boxed<'a>(&'a self, req: &'a mut Request) -> BoxFuture<'a, Reply>
    where
        Self: Sized,
    {
        Box::pin(self.handle(req))
    }
}

/// The form of [`Handlet`] that a webapp stores.
pub trait DynHandlet: Send + Sync {
    /// See [`Handlet::handle`].
    fn handle<'a>(&'a self, req: &'a mut Request) -> BoxFuture<'a, Reply>;

    /// See [`Handlet::handle_now`].
    fn handle_now(&self, req: &mut Request) -> Option<Reply>;
}

impl<H: Handlet> DynHandlet for H {
    fn handle<'a>(&'a self, req: &'a mut Request) -> BoxFuture<'a, Reply> {
        self.handle_boxed(req)
    }

    fn handle_now(&self, req: &mut Request) -> Option<Reply> {
        Handlet::handle_now(self, req)
    }
}

/// Registers handlets.
pub trait HandletRegistry {
    /// Adds a handlet.
    fn handlet<H: Handlet + Component>(&mut self) -> &mut Self;
}

impl HandletRegistry for Registry {
    fn handlet<H: Handlet + Component>(&mut self) -> &mut Self {
        self.add::<HandletKind, H>(|handlet: Arc<H>| handlet)
    }
}
