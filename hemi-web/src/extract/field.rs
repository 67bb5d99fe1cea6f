//! Single fields of a request, typed.

use http::StatusCode;
use http::header::{HeaderName, HeaderValue};

use crate::{Extract, Matched, Request, WebError};

/// The value of a field, typed: see [`Header`].
pub trait Field: Sized + Send + 'static {
    /// The name of the field.
    const NAME: HeaderName;

    /// Reads its value; none if it is no such value.
    fn read(value: &HeaderValue) -> Option<Self>;
}

/// A single field of the request; of several the first. 400 if it is not there, or is no such value.
///
/// ```
/// use hemi_web::testing::Client;
/// use hemi_web::{Field, Header, Mapper};
/// use http::{HeaderName, HeaderValue};
///
/// struct Attempt(u32);
///
/// impl Field for Attempt {
///     const NAME: HeaderName = HeaderName::from_static("x-attempt");
///
///     fn read(value: &HeaderValue) -> Option<Self> {
///         value.to_str().ok()?.parse().ok().map(Self)
///     }
/// }
///
/// async fn index(Header(attempt): Header<Attempt>) -> String {
///     format!("attempt {}", attempt.0)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let client = Client::of(Mapper::new().get("/", index));
/// assert_eq!(client.get("/").header("x-attempt", "3").send().await.text(), "attempt 3");
/// assert_eq!(client.get("/").send().await.text(), "the field `x-attempt` is missing\n");
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<T>(pub T);

impl<S: Send + Sync + 'static, T: Field> Extract<S> for Header<T> {
    type Error = WebError;
    const AT_ONCE: bool = true;

    async fn extract(req: &mut Request, _: &Matched<'_, S>) -> Result<Self, WebError> {
        let wrong = |what| {
            let message = format!("the field `{}` {what}", T::NAME);
            WebError::new(StatusCode::BAD_REQUEST, message)
        };
        let value = req.headers().get(T::NAME).ok_or_else(|| wrong("is missing"))?;
        T::read(value).map(Self).ok_or_else(|| wrong("has a value it can't have"))
    }
}
