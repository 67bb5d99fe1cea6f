//! What a handle takes: typed parts of the request.

mod cookies;
mod de;
mod field;
mod form;
mod path;
mod query;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use hemi_core::listen::Peer;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode, Uri};

pub use cookies::Cookies;
pub use field::{Field, Header};
pub use form::Form;
pub use path::Path;
pub use query::Query;

use crate::mapper::Params;
use crate::{Body, Request, Respond, Scheme, WebError};

/// Taken from a request, to be an argument of a handle. `S` is the state of the [`crate::Mapper`] that
/// the handle belongs to; what needs none is there for any.
///
/// ```
/// use hemi_web::testing::Client;
/// use hemi_web::{Extract, Mapper, Matched, Request, WebError};
/// use http::StatusCode;
///
/// struct Keys(Vec<&'static str>);
///
/// /// One who has shown a key.
/// struct Friend;
///
/// impl Extract<Keys> for Friend {
///     type Error = WebError;
///
///     async fn extract(req: &mut Request, at: &Matched<'_, Keys>) -> Result<Self, WebError> {
///         let known = req.header("x-key").is_some_and(|key| at.state().0.contains(&key));
///         known.then_some(Self).ok_or(WebError::of(StatusCode::FORBIDDEN))
///     }
/// }
///
/// async fn secret(_: Friend) -> &'static str {
///     "the secret"
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let client = Client::of(Mapper::with_state(Keys(vec!["k1"])).get("/", secret));
/// assert_eq!(client.get("/").header("x-key", "k1").send().await.text(), "the secret");
/// assert_eq!(client.get("/").send().await.status(), StatusCode::FORBIDDEN);
/// # }
/// ```
///
/// Helpers are taken in the order of the arguments; the content can be taken once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be taken from a request by a handle whose state is `{S}`",
    note = "`Path`, `Query`, `Header`, `Cookies`, `Session`, `State<{S}>`, `HeaderMap`, `Method` and \
            `Peer` can, of the content `Json`, `Form`, `Multipart`, `String`, `Bytes` and `Body`, and \
            `Option` and `Result` of what can"
)]
pub trait Extract<S>: Sized + Send + 'static {
    /// Why it can't be had: the answer, unless the handle takes a `Result`.
    type Error: Respond + Send;

    /// True for what is had without waiting: a handle that is a plain `fn` and takes nothing else then
    /// answers at less cost.
    const AT_ONCE: bool = false;

    /// Takes it.
    fn extract(
        req: &mut Request,
        at: &Matched<'_, S>,
    ) -> impl Future<Output = Result<Self, Self::Error>> + Send;
}

/// The route that a request came by: its parameters, and the state of its mapper.
#[derive(Debug)]
pub struct Matched<'a, S> {
    pub(crate) state: &'a Arc<S>,
    pub(crate) params: Params<'a>,
    pub(crate) max_content: u64,
}

impl<S> Matched<'_, S> {
    /// The state of the mapper.
    #[must_use]
    pub fn state(&self) -> &Arc<S> {
        self.state
    }

    /// Bytes of content that are to be held in memory, at most: see [`crate::Mapper::max_content`].
    #[must_use]
    pub fn max_content(&self) -> u64 {
        self.max_content
    }
}

/// The state of the mapper. That of another type does not compile.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// use hemi_web::testing::Client;
/// use hemi_web::{Mapper, State};
///
/// async fn count(State(number): State<AtomicU32>) -> String {
///     number.fetch_add(1, Ordering::Relaxed).to_string()
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let client = Client::of(Mapper::with_state(AtomicU32::new(7)).get("/", count));
/// assert_eq!(client.get("/").send().await.text(), "7");
/// assert_eq!(client.get("/").send().await.text(), "8");
/// # }
/// ```
///
/// ```compile_fail,E0277
/// # use std::sync::atomic::AtomicU32;
/// # use hemi_web::{Mapper, State};
/// # async fn count(State(number): State<AtomicU32>) {}
/// // There is no such state.
/// let mapper = Mapper::new().get("/", count);
/// ```
#[derive(Debug)]
pub struct State<S>(pub Arc<S>);

impl<S> std::ops::Deref for State<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S: Send + Sync + 'static> Extract<S> for State<S> {
    type Error = Infallible;
    const AT_ONCE: bool = true;

    async fn extract(_: &mut Request, at: &Matched<'_, S>) -> Result<Self, Infallible> {
        Ok(Self(at.state.clone()))
    }
}

/// None if it can't be had, for whatever reason.
impl<S: Send + Sync + 'static, E: Extract<S>> Extract<S> for Option<E> {
    type Error = Infallible;
    const AT_ONCE: bool = E::AT_ONCE;

    async fn extract(req: &mut Request, at: &Matched<'_, S>) -> Result<Self, Infallible> {
        Ok(E::extract(req, at).await.ok())
    }
}

/// Leaves it to the handle what to do when it can't be had.
impl<S: Send + Sync + 'static, E: Extract<S>> Extract<S> for Result<E, E::Error>
where
    E::Error: 'static,
{
    type Error = Infallible;
    const AT_ONCE: bool = E::AT_ONCE;

    async fn extract(req: &mut Request, at: &Matched<'_, S>) -> Result<Self, Infallible> {
        Ok(E::extract(req, at).await)
    }
}

/// What can be read off the head of every request.
macro_rules! of_head {
    ($($type:ty: $read:expr;)+) => {
        $(impl<S: Send + Sync + 'static> Extract<S> for $type {
            type Error = Infallible;
            const AT_ONCE: bool = true;

            async fn extract(req: &mut Request, _: &Matched<'_, S>) -> Result<Self, Infallible> {
                let read: fn(&mut Request) -> Self = $read;
                Ok(read(req))
            }
        })+
    };
}

of_head! {
    Method: |req| req.method().clone();
    HeaderMap: |req| req.to_headers();
    Peer: |req| req.peer();
    Scheme: |req| req.scheme();
    // As it arrives, up to the `maxBodySize` of the webapp.
    Body: |req| req.take_body();
}

/// Path and query; 400 if they have bytes that the `http` crate does not take.
impl<S: Send + Sync + 'static> Extract<S> for Uri {
    type Error = StatusCode;
    const AT_ONCE: bool = true;

    async fn extract(req: &mut Request, _: &Matched<'_, S>) -> Result<Self, StatusCode> {
        req.uri().map_err(|_| StatusCode::BAD_REQUEST)
    }
}

/// All of the content; 413 beyond [`crate::Mapper::max_content`].
impl<S: Send + Sync + 'static> Extract<S> for Bytes {
    type Error = WebError;

    async fn extract(req: &mut Request, at: &Matched<'_, S>) -> Result<Self, WebError> {
        gather(req, at).await
    }
}

/// All of the content as text; 400 if it is not UTF-8, 413 beyond [`crate::Mapper::max_content`].
impl<S: Send + Sync + 'static> Extract<S> for String {
    type Error = WebError;

    async fn extract(req: &mut Request, at: &Matched<'_, S>) -> Result<Self, WebError> {
        let bytes = gather(req, at).await?;
        Self::from_utf8(bytes.into())
            .map_err(|_| WebError::new(StatusCode::BAD_REQUEST, "the content is not UTF-8"))
    }
}

/// All of the content.
pub(crate) async fn gather<S>(req: &mut Request, at: &Matched<'_, S>) -> Result<Bytes, WebError> {
    Ok(req.body().bytes(at.max_content).await?)
}

/// The media type of the content in lower case, without parameters.
pub(crate) fn media_type(req: &Request) -> Option<String> {
    let value = req.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split_once(';').map_or(value, |(essence, _)| essence);
    Some(essence.trim().to_ascii_lowercase())
}
