//! A guestbook: pages from templates, a form, and a session that remembers who has signed.
//!
//! It is a whole program with the command line of Gorox: `guestbook serve --config FILE`, `guestbook
//! check`, `guestbook explain guestbook`.

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use askama::Template;
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Result};
use hemi_web::{
    Flash, Form, Handlet, HandletRegistry, Html, Mapper, Redirect, Reply, Request, Session, State,
    WebError,
};
use serde::Deserialize;

/// What it does when no config is given.
const CONF: &str = r#"stage {
    memoryHstate "sessions" {}
    webapp "guestbook" {
        .hostnames = ("*")
        .withHstate = "sessions"
        gzip {}
        rule { guestbook { .title = "Our guestbook" } }
    }
    httpxServer "main" { .address = ":3080"  .webapps = ("guestbook") }
}"#;

/// Shows what guests have written, and lets them write.
#[derive(Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
struct GuestbookConfig {
    /// The title of the page.
    title: String,
    /// Entries kept, at most; the oldest go first.
    #[serde(default = "one_hundred")]
    max_entries: usize,
}

fn one_hundred() -> usize {
    100
}

/// What all requests share.
struct Book {
    config: GuestbookConfig,
    entries: Mutex<Vec<Entry>>,
}

#[derive(Clone)]
struct Entry {
    name: String,
    words: String,
}

/// What the form sends.
#[derive(Deserialize)]
struct Signature {
    token: String,
    name: String,
    words: String,
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    title: &'a str,
    token: String,
    name: String,
    flashes: Vec<Flash>,
    entries: Vec<Entry>,
}

async fn show(book: State<Book>, session: Session) -> Result<Html<String>, WebError> {
    let page = Page {
        title: &book.config.title,
        token: session.csrf_token()?,
        name: session.value("name")?.unwrap_or_default(),
        flashes: session.take_flashes()?,
        entries: book.entries(),
    };
    Ok(Html(page.render()?))
}

async fn sign(
    book: State<Book>,
    session: Session,
    Form(signature): Form<Signature>,
) -> Result<Redirect, WebError> {
    session.check_csrf(&signature.token)?;
    let (name, words) = (signature.name.trim(), signature.words.trim());
    if name.is_empty() || words.is_empty() {
        session.flash("error", "Please write something, and who you are.")?;
    } else {
        book.add(Entry { name: name.to_owned(), words: words.to_owned() });
        session.set("name", name)?;
        session.flash("notice", format!("Thank you, {name}."))?;
    }
    Ok(Redirect::see_other("/"))
}

impl Book {
    fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, entry: Entry) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.insert(0, entry);
        entries.truncate(self.config.max_entries);
    }
}

/// The component: it makes the routes, and leaves the rest to them.
struct Guestbook(Mapper<Book>);

impl Component for Guestbook {
    const SIGN: &'static str = "guestbook";
    type Config = GuestbookConfig;

    fn create(config: GuestbookConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        if config.max_entries == 0 {
            return Err(Error::config(cx.span(), "`.maxEntries` must be at least 1"));
        }
        let book = Book { config, entries: Mutex::default() };
        Ok(Self(Mapper::with_state(book).get("/", show).post("/", sign)))
    }
}

impl Lifecycle for Guestbook {}

impl Handlet for Guestbook {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.0.handle(req).await
    }
}

fn main() -> ExitCode {
    let program = hemi_procmgr::Program {
        name: "guestbook",
        title: "A guestbook on Hemi",
        version: env!("CARGO_PKG_VERSION"),
        default_config: CONF,
        register: |registry| {
            hemi_web::register(registry);
            hemi_builtin::register(registry);
            registry.handlet::<Guestbook>();
        },
    };
    program.run(std::env::args_os().skip(1), std::env::vars_os())
}
