//! Forms, typed or part by part.

use std::sync::{Arc, LazyLock};

use serde::de::DeserializeOwned;

use crate::form::{FormLimits, FormPairs};
use crate::multipart::{Multipart, MultipartConfig};
use crate::{Extract, Matched, Request, WebError};

/// A form that came as `application/x-www-form-urlencoded`: a struct takes its fields by name, and a list
/// those that are there several times.
///
/// Content of another type is answered 415, beyond [`crate::Mapper::max_content`] or of more than 1,000
/// fields 413, with fields that are missing or no such values 400.
///
/// ```
/// use hemi_web::testing::Client;
/// use hemi_web::{Form, Mapper, Redirect};
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     item: u32,
///     #[serde(default)]
///     extras: Vec<String>,
/// }
///
/// async fn order(Form(order): Form<Order>) -> Redirect {
///     Redirect::see_other(format!("/items/{}?{}", order.item, order.extras.join("&")))
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let client = Client::of(Mapper::new().post("/orders", order));
/// let form = client.post("/orders").header("content-type", "application/x-www-form-urlencoded");
/// let answer = form.body("item=7&extras=ice&extras=lime").send().await;
/// assert_eq!(answer.header("location"), Some("/items/7?ice&lime"));
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form<T>(pub T);

impl<S, T> Extract<S> for Form<T>
where
    S: Send + Sync + 'static,
    T: DeserializeOwned + Send + 'static,
{
    type Error = WebError;

    async fn extract(req: &mut Request, at: &Matched<'_, S>) -> Result<Self, WebError> {
        let pairs = FormPairs::extract(req, at).await?;
        Ok(Self(pairs.read()?))
    }
}

/// As [`Form`], with the names and values as they came.
impl<S: Send + Sync + 'static> Extract<S> for FormPairs {
    type Error = WebError;

    async fn extract(req: &mut Request, at: &Matched<'_, S>) -> Result<Self, WebError> {
        let limits = FormLimits { size: at.max_content(), ..FormLimits::default() };
        Ok(req.form(limits).await?)
    }
}

/// With the limits of [`MultipartConfig::default`]. For others, take the [`Request`] in an [`Extract`] of
/// your own, and ask [`Request::multipart`].
impl<S: Send + Sync + 'static> Extract<S> for Multipart {
    type Error = WebError;

    async fn extract(req: &mut Request, _: &Matched<'_, S>) -> Result<Self, WebError> {
        static CONFIG: LazyLock<Arc<MultipartConfig>> = LazyLock::new(Arc::default);
        Ok(req.multipart(CONFIG.clone())?)
    }
}
