//! The parameters of a route.

use http::StatusCode;
use serde::de::DeserializeOwned;

use super::de;
use crate::{Extract, Matched, Request, WebError};

/// The parameters of the route, percent-decoded: one by itself, several as a tuple in their order, or a
/// struct by their names.
///
/// One that is no such value is answered 400. Parameters that the route does not have are a mistake of
/// the program: logged, and 500.
///
/// ```
/// use hemi_web::testing::Client;
/// use hemi_web::{Mapper, Path};
///
/// #[derive(serde::Deserialize)]
/// struct Place {
///     row: u8,
///     hall: char,
/// }
///
/// async fn one(Path(id): Path<u32>) -> String {
///     format!("item {id}")
/// }
/// async fn two(Path((year, month)): Path<(u16, u8)>) -> String {
///     format!("{month}/{year}")
/// }
/// async fn named(Path(place): Path<Place>) -> String {
///     format!("hall {}, row {}", place.hall, place.row)
/// }
/// async fn rest(Path(rest): Path<String>) -> String {
///     rest
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mapper = Mapper::new()
///     .get("/items/{id}", one)
///     .get("/archive/{year}/{month}", two)
///     .get("/seats/{hall}/{row}", named)
///     .get("/files/{*rest}", rest);
/// let client = Client::of(mapper);
/// assert_eq!(client.get("/items/7").send().await.text(), "item 7");
/// assert_eq!(client.get("/items/x").send().await.status(), 400);
/// assert_eq!(client.get("/archive/2026/11").send().await.text(), "11/2026");
/// assert_eq!(client.get("/seats/B/7").send().await.text(), "hall B, row 7");
/// assert_eq!(client.get("/files/a/b%20c").send().await.text(), "a/b c");
/// # }
/// ```
///
/// A `/` that is encoded as `%2F` does not end a parameter, and is part of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<T>(pub T);

impl<S, T> Extract<S> for Path<T>
where
    S: Send + Sync + 'static,
    T: DeserializeOwned + Send + 'static,
{
    type Error = WebError;
    const AT_ONCE: bool = true;

    async fn extract(req: &mut Request, at: &Matched<'_, S>) -> Result<Self, WebError> {
        let params: Vec<de::Pair<'_>> = at.params.of(req.path()).collect();
        de::from_params(&params).map(Self).map_err(|e| match e.misfit {
            true => e.into(),
            false => WebError::new(StatusCode::BAD_REQUEST, format!("the path is wrong: {e}")),
        })
    }
}
