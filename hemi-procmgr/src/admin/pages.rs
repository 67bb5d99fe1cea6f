//! The admin pages: made here, with no script needed to read them or to give a command.

mod show;
mod view;

use std::sync::{Arc, Mutex, PoisonError};

use askama::Template;
use hemi_core::listen::Peer;
use hemi_core::status::Timestamp;
use hemi_web::{
    BoxError, Event, Form, Html, Mapper, Redirect, Respond, Response, SameSite, SetCookie, Sse,
    State, WebError,
};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde::Deserialize;
use tracing::{info, warn};

use super::Site;
use super::guard::OverTls;
use super::site::Seen;
use super::token::{Right, SESSION};
use crate::control::{Act, ConfigView, Overview};
pub(crate) use view::{Live, Past};

/// What the pages remember.
struct Pages {
    site: Arc<Site>,
    past: Mutex<Past>,
    last: Mutex<Option<Answered>>,
}

/// What came of the last command that a page gave.
struct Answered {
    at: Timestamp,
    act: &'static str,
    result: Result<String, String>,
}

/// The routes of the pages.
pub(super) fn mapper(site: &Arc<Site>) -> Mapper<impl Send + Sync + 'static + use<>> {
    let pages = Pages { site: site.clone(), past: Mutex::default(), last: Mutex::default() };
    Mapper::with_state(pages)
        .get("/", overview)
        .get("/live", live)
        .get("/config", config)
        .post("/act", act)
        .get("/login", login_page)
        .post("/login", login)
        .post("/logout", logout)
        .get("/style.css", || asset("text/css", include_str!("pages/style.css")))
        .get("/script.js", || asset("text/javascript", include_str!("pages/script.js")))
        .max_content(super::CONTENT)
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage<'a> {
    program: &'a str,
    version: &'a str,
    here: &'static str,
    notice: Option<Notice>,
    /// Whether there are buttons.
    acts: bool,
    live: String,
}

/// What came of a command, as it is shown.
struct Notice {
    act: &'static str,
    done: bool,
    message: String,
    ago: String,
}

/// For so many seconds.
const NOTICED: u64 = 120;

#[derive(Template)]
#[template(path = "config.html")]
struct ConfigPage<'a> {
    program: &'a str,
    version: &'a str,
    here: &'static str,
    view: ConfigView,
    served: bool,
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    program: &'a str,
    /// Not for everybody.
    version: &'static str,
    failed: bool,
}

async fn overview(pages: State<Pages>, right: Right) -> Result<Html<String>, WebError> {
    let overview = pages.site.overview().await;
    page(&OverviewPage {
        program: &overview.program,
        version: &overview.version,
        here: "/",
        notice: pages.notice(),
        acts: right == Right::Act,
        live: pages.live(&overview).map_err(failed)?,
    })
}

/// The part of the page that changes, once a second.
async fn live(pages: State<Pages>) -> Sse {
    let (events, sse) = Sse::channel(2);
    tokio::spawn(async move {
        let mut watch = pages.site.watch();
        while let Some(seen) = watch.next().await {
            if let Seen::Beat = seen {
                let overview = pages.site.overview().await;
                events.send(Event::data(pages.live(&overview)?)).await?;
            }
        }
        Ok::<_, BoxError>(())
    });
    sse
}

async fn config(pages: State<Pages>) -> Result<Html<String>, WebError> {
    let (overview, view) = tokio::join!(pages.site.overview(), pages.site.control.config());
    let report = overview.worker.as_ref().and_then(|worker| worker.report.as_ref());
    let serving = report.and_then(|report| report.engine.stages.first());
    page(&ConfigPage {
        program: &overview.program,
        version: &overview.version,
        here: "/config",
        served: serving.is_some_and(|stage| stage.digest == view.digest),
        view,
    })
}

/// What the buttons send.
#[derive(Deserialize)]
struct Pressed {
    act: String,
}

async fn act(pages: State<Pages>, peer: Peer, Form(pressed): Form<Pressed>) -> Response {
    let (act, name) = match &*pressed.act {
        "reload" => (Act::Reload, "Reload"),
        "rework" => (Act::Rework, "Rework"),
        "reopen" => (Act::Reopen, "Reopen logs"),
        "quit" => (Act::Quit, "Quit"),
        _ => return StatusCode::NOT_FOUND.respond(),
    };
    info!(%peer, "asked by the admin page: {}", pressed.act);
    let done = pages.site.act(act).await;
    let result = done.map(|done| done.message).map_err(|refused| refused.message);
    let answered = Answered { at: Timestamp::now(), act: name, result };
    *pages.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(answered);
    Redirect::see_other("/").respond()
}

async fn login_page(pages: State<Pages>) -> Result<Html<String>, WebError> {
    pages.login_page(false).await
}

#[derive(Deserialize)]
struct Login {
    token: String,
}

async fn login(
    pages: State<Pages>,
    peer: Peer,
    OverTls(over_tls): OverTls,
    Form(login): Form<Login>,
) -> Result<Response, WebError> {
    let Some(right) = pages.site.token.right_of(login.token.trim()) else {
        warn!(%peer, "somebody has tried to log in to the admin pages with a wrong token");
        let page = pages.login_page(true).await?;
        return Ok((StatusCode::FORBIDDEN, page).respond());
    };
    let name = &pages.site.cookie;
    let cookie = SetCookie::new(name, &pages.site.token.session(name, right));
    let cookie = cookie.map_err(|e| WebError::caused(StatusCode::INTERNAL_SERVER_ERROR, e))?;
    let cookie =
        cookie.path("/").map_err(|e| WebError::caused(StatusCode::INTERNAL_SERVER_ERROR, e))?;
    let cookie = cookie.http_only().same_site(SameSite::Strict).max_age(SESSION);
    let cookie = if over_tls { cookie.secure() } else { cookie };
    Ok(Redirect::see_other("/").respond().cookie(&cookie))
}

async fn logout(pages: State<Pages>) -> Result<Response, WebError> {
    let cookie = SetCookie::new(&pages.site.cookie, "");
    let cookie = cookie.map_err(|e| WebError::caused(StatusCode::INTERNAL_SERVER_ERROR, e))?;
    Ok(Redirect::see_other("/login").respond().remove_cookie(cookie))
}

impl Pages {
    fn live(&self, overview: &Overview) -> Result<String, askama::Error> {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let live = Live::of(overview, &self.site.happened(), &mut past);
        live.render()
    }

    fn notice(&self) -> Option<Notice> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Answered { at, act, result } = last.as_ref()?;
        let ago = Timestamp::now().since(*at);
        (ago.as_secs() < NOTICED).then(|| Notice {
            act,
            done: result.is_ok(),
            message: result.clone().unwrap_or_else(|why| why),
            ago: show::age(ago),
        })
    }

    async fn login_page(&self, failed: bool) -> Result<Html<String>, WebError> {
        let overview = self.site.overview().await;
        page(&LoginPage { program: &overview.program, version: "", failed })
    }
}

fn page(page: &impl Template) -> Result<Html<String>, WebError> {
    page.render().map(Html).map_err(failed)
}

fn failed(e: askama::Error) -> WebError {
    WebError::caused(StatusCode::INTERNAL_SERVER_ERROR, e)
}

fn asset(media_type: &'static str, text: &'static str) -> Response {
    Response::typed(HeaderValue::from_static(media_type), text)
        .field(CACHE_CONTROL, HeaderValue::from_static("max-age=60"))
}
