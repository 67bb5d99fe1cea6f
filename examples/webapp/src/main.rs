//! A webapp written in Rust: a list of notes that browsers see change. Usage: `webapp [ADDRESS]`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hemi_core::{Error, Parts, Result, Run, serve_parts};
use hemi_web::{
    Event, Form, FormError, Html, HttpxServer, Json, Mapper, Multipart, Path, Query, Redirect,
    Rule, Sse, State, WebError, Webapp,
};
use http::StatusCode;
use tokio::sync::broadcast;

/// What all handles share.
struct Notes {
    all: Mutex<Vec<Note>>,
    /// New ones, to be told to whoever listens.
    added: broadcast::Sender<Note>,
}

#[derive(Clone, serde::Deserialize, serde::Serialize)]
struct Note {
    text: String,
    #[serde(default)]
    done: bool,
}

#[derive(serde::Deserialize)]
struct Filter {
    done: Option<bool>,
}

impl Notes {
    fn new() -> Self {
        Self { all: Mutex::default(), added: broadcast::channel(64).0 }
    }

    /// Changes the list, or reads it.
    fn with<R>(&self, work: impl FnOnce(&mut Vec<Note>) -> R) -> R {
        work(&mut self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, note: Note) -> Result<usize, WebError> {
        if note.text.trim().is_empty() {
            return Err(WebError::new(StatusCode::UNPROCESSABLE_ENTITY, "a note needs a text"));
        }
        // Nobody may be listening.
        let _ = self.added.send(note.clone());
        Ok(self.with(|all| {
            all.push(note);
            all.len() - 1
        }))
    }
}

/// What need not wait may be a plain `fn`, and costs less.
fn page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}

fn list(notes: State<Notes>, Query(filter): Query<Filter>) -> Json<Vec<Note>> {
    let wanted = |note: &Note| filter.done.is_none_or(|done| note.done == done);
    Json(notes.with(|all| all.iter().filter(|note| wanted(note)).cloned().collect()))
}

fn one(notes: State<Notes>, Path(id): Path<usize>) -> Option<Json<Note>> {
    notes.with(|all| all.get(id).cloned()).map(Json)
}

async fn add(
    notes: State<Notes>,
    Json(note): Json<Note>,
) -> Result<(StatusCode, Json<usize>), WebError> {
    Ok((StatusCode::CREATED, Json(notes.add(note)?)))
}

/// What the form of the page sends.
async fn add_by_form(notes: State<Notes>, Form(note): Form<Note>) -> Result<Redirect, WebError> {
    notes.add(note)?;
    Ok(Redirect::see_other("/"))
}

/// Measures the files of a form, however long: only a piece of them is in memory.
async fn measure(mut form: Multipart) -> Result<String, FormError> {
    let mut told = String::new();
    while let Some(mut part) = form.next_part().await? {
        let mut size = 0;
        while let Some(piece) = part.chunk().await? {
            size += piece.len();
        }
        told += &format!("{}: {size} bytes\n", part.file_name().as_deref().unwrap_or("no file"));
    }
    Ok(told)
}

async fn events(notes: State<Notes>) -> Sse {
    let mut added = notes.added.subscribe();
    let (events, sse) = Sse::channel(16);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                // Who is too slow misses some.
                note = added.recv() => match note {
                    Ok(note) => events.send(Event::json(&note)?).await?,
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                () = events.unread() => break,
            }
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    });
    sse
}

fn webapp() -> Webapp {
    let notes = Arc::new(Notes::new());
    let api = Mapper::with_shared(notes.clone())
        .get("/notes", list)
        .post("/notes", add)
        .get("/notes/{id}", one)
        .get("/events", events)
        .post("/measure", measure);
    let mapper = Mapper::with_shared(notes).get("/", page).post("/", add_by_form);
    Webapp::new("notes")
        .max_body_size(1 << 30)
        .rule(Rule::new().handlet(mapper.nest("/api", api)))
        .task(tick)
}

/// Works in the background for as long as the webapp is served.
async fn tick(run: Run) {
    let mut hours = tokio::time::interval(Duration::from_secs(3600));
    while run.shut().run_until_cancelled(hours.tick()).await.is_some() {}
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3080".to_owned());
    let address = address.parse().map_err(|e| Error::other(format!("{address}: {e}")))?;
    let mut parts = Parts::new();
    let webapp = webapp().install(&mut parts)?;
    HttpxServer::new(address, [webapp]).install("main", &mut parts)?;
    serve_parts(parts).await
}

#[cfg(test)]
mod tests {
    use hemi_web::testing::Client;

    use super::*;

    /// Most of a webapp is tested without a socket.
    #[tokio::test]
    async fn notes_are_kept() {
        let client = Client::new(webapp());
        let note = Note { text: "buy milk".to_owned(), done: false };
        assert_eq!(client.post("/api/notes").json(&note).send().await.status(), 201);
        let all: Vec<Note> = client.get("/api/notes?done=false").send().await.json().unwrap();
        assert_eq!(all[0].text, "buy milk");
        assert_eq!(client.get("/api/notes/1").send().await.status(), 404);
        let empty = Note { text: " ".to_owned(), done: false };
        let answer = client.post("/api/notes").json(&empty).send().await;
        assert_eq!((answer.status().as_u16(), &*answer.text()), (422, "a note needs a text\n"));
    }
}
