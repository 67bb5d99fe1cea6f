//! The query of a request, typed.

use http::StatusCode;
use serde::de::DeserializeOwned;

use crate::{Extract, Matched, Request, WebError};

/// The query, decoded: a struct or a map takes its fields by name, a list of pairs all of them.
///
/// What may be there several times is a list; what may be missing has `#[serde(default)]` or is an
/// `Option`, which is none for an empty value too unless it is of text. All else is answered 400: a field that is missing or no
/// such value, or is there twice and no list.
///
/// ```
/// use hemi_web::testing::Client;
/// use hemi_web::{Mapper, Query};
///
/// #[derive(serde::Deserialize)]
/// struct Search {
///     q: String,
///     page: Option<u32>,
///     #[serde(default)]
///     tag: Vec<String>,
/// }
///
/// async fn search(Query(search): Query<Search>) -> String {
///     format!("{} {} {:?}", search.q, search.page.unwrap_or(1), search.tag)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let client = Client::of(Mapper::new().get("/", search));
/// let answer = client.get("/?q=two+words&tag=a&tag=%C3%A4").send().await;
/// assert_eq!(answer.text(), r#"two words 1 ["a", "ä"]"#);
/// let answer = client.get("/?page=2").send().await;
/// assert_eq!(answer.text(), "the query is wrong: missing field `q`\n");
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<T>(pub T);

impl<S, T> Extract<S> for Query<T>
where
    S: Send + Sync + 'static,
    T: DeserializeOwned + Send + 'static,
{
    type Error = WebError;
    const AT_ONCE: bool = true;

    async fn extract(req: &mut Request, _: &Matched<'_, S>) -> Result<Self, WebError> {
        serde_html_form::from_str(req.query().unwrap_or_default())
            .map(Self)
            .map_err(|e| WebError::new(StatusCode::BAD_REQUEST, format!("the query is wrong: {e}")))
    }
}
