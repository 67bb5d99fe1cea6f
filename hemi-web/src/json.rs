//! JSON, as the content of requests and responses.

use http::StatusCode;
use http::header::HeaderValue;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::extract::{gather, media_type};
use crate::{Extract, Matched, Request, Respond, Response, WebError};

/// JSON: a handle takes it as the content of the request, and returns it as that of the response.
///
/// A request whose `content-type` is not `application/json`, or ends in `+json`, is answered 415; with
/// content beyond [`crate::Mapper::max_content`] 413; that is no JSON 400; that is no such value 422.
/// Nested deeper than 128 it counts as no JSON.
///
/// ```
/// use hemi_web::testing::Client;
/// use hemi_web::{Json, Mapper};
///
/// #[derive(serde::Deserialize, serde::Serialize)]
/// struct Item {
///     name: String,
/// }
///
/// async fn greet(Json(item): Json<Item>) -> Json<Item> {
///     Json(Item { name: format!("Hello, {}", item.name) })
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let client = Client::of(Mapper::new().post("/", greet));
/// let answer = client.post("/").json(&Item { name: "world".into() }).send().await;
/// assert_eq!(answer.json::<Item>().unwrap().name, "Hello, world");
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize> Respond for Json<T> {
    fn respond(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(json) => Response::typed(HeaderValue::from_static("application/json"), json),
            Err(e) => WebError::from(e).respond(),
        }
    }
}

impl<S, T> Extract<S> for Json<T>
where
    S: Send + Sync + 'static,
    T: DeserializeOwned + Send + 'static,
{
    type Error = WebError;

    async fn extract(req: &mut Request, at: &Matched<'_, S>) -> Result<Self, WebError> {
        let json =
            |media_type: &str| media_type == "application/json" || media_type.ends_with("+json");
        if !media_type(req).is_some_and(|media_type| json(&media_type)) {
            let message = "the content must be of the type application/json";
            return Err(WebError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let content = gather(req, at).await?;
        serde_json::from_slice(&content).map(Self).map_err(|e| {
            let status = match e.classify() {
                Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
                _ => StatusCode::BAD_REQUEST,
            };
            WebError::new(status, e.to_string())
        })
    }
}
