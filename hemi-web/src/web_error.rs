//! An error that any other becomes by `?`, and that becomes a response.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

use crate::body::{BodyError, BoxError};
use crate::form::FormError;
use crate::session::{CsrfError, SessionError};
use crate::{Respond, Response};

/// An error with the status that it is answered with.
///
/// Any other error becomes one by `?`, with 500: it is logged with all its causes, and the client learns
/// the status alone. One that is made with a message tells it, as plain text; so do the errors of this
/// crate that are the client's fault, such as a [`FormError`].
///
/// ```
/// use hemi_web::testing::Client;
/// use hemi_web::{Mapper, WebError};
/// use http::StatusCode;
///
/// async fn read(name: String) -> Result<String, WebError> {
///     if name.contains('/') {
///         return Err(WebError::new(StatusCode::BAD_REQUEST, "no such name"));
///     }
///     // The client does not learn what is missing here.
///     Ok(std::fs::read_to_string(format!("/nowhere/{name}"))?)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let client = Client::of(Mapper::new().post("/", read));
/// let answer = client.post("/").body("a/b").send().await;
/// assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
/// assert_eq!(answer.text(), "no such name\n");
/// let answer = client.post("/").body("a").send().await;
/// assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
/// assert!(!answer.text().contains("nowhere"));
/// # }
/// ```
///
/// It is no [`std::error::Error`] itself, or there could be no `?` for all that are.
pub struct WebError(Box<Inner>);

struct Inner {
    status: StatusCode,
    message: Cow<'static, str>,
    cause: Option<BoxError>,
}

impl WebError {
    /// An error that tells the client a message.
    pub fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { status, message: message.into(), cause: None }))
    }

    /// An error that tells no more than its status.
    #[must_use]
    pub fn of(status: StatusCode) -> Self {
        Self::new(status, "")
    }

    /// An error with a cause that is for the log only.
    pub fn caused(status: StatusCode, cause: impl Into<BoxError>) -> Self {
        let (message, cause) = (Cow::default(), Some(cause.into()));
        Self(Box::new(Inner { status, message, cause }))
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// What the client is told besides; empty for nothing.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for WebError {
    fn from(cause: E) -> Self {
        match status_of(&cause) {
            status if status.is_client_error() => Self::new(status, cause.to_string()),
            status => Self::caused(status, cause),
        }
    }
}

/// What answers an error: those of this crate know.
fn status_of(e: &(dyn std::error::Error + 'static)) -> StatusCode {
    let known = [
        e.downcast_ref::<BodyError>().map(BodyError::status),
        e.downcast_ref::<FormError>().map(FormError::status),
        e.downcast_ref::<SessionError>().map(SessionError::status),
        e.downcast_ref::<CsrfError>().map(CsrfError::status),
    ];
    known.into_iter().flatten().next().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Those errors of this crate that a handle may return as they are.
macro_rules! respond_by_status {
    ($($error:ty)+) => {
        $(
            /// As a [`WebError`] made of it.
            impl Respond for $error {
                fn respond(self) -> Response {
                    WebError::from(self).respond()
                }
            }
        )+
    };
}

respond_by_status! { BodyError FormError SessionError CsrfError }

impl Respond for WebError {
    fn respond(self) -> Response {
        let Inner { status, message, cause } = *self.0;
        let response = match &*message {
            "" => status.into(),
            text => (status, format!("{text}\n")).respond(),
        };
        match cause {
            Some(cause) => response.caused_by(cause),
            None => response,
        }
    }
}

impl fmt::Display for WebError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.status)?;
        if !self.0.message.is_empty() {
            write!(f, ": {}", self.0.message)?;
        }
        match &self.0.cause {
            Some(cause) => write!(f, ": {}", Chain(&**cause)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for WebError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebError({self})")
    }
}

/// An error and its causes.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        std::iter::successors(self.0.source(), |e| e.source()).try_for_each(|e| write!(f, ": {e}"))
    }
}
