//! Sessions: what a webapp remembers of a client between requests.
//!
//! ```gorox
//! stage {
//! 	memoryHstate "sessions" {}
//! 	webapp "shop" {
//! 		.hostnames = ("*")
//! 		.withHstate = "sessions"
//! 		.sessionIdle = 30m
//! 		rule { .returnCode = 200 }
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("shop") }
//! }
//! ```
//!
//! A session begins when something is put into it, and is saved when its request is answered: where two
//! requests of one client change it at the same time, the later one wins.

mod flash;
mod token;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hemi_core::config::{ConfigType, Ref};
use hemi_core::{CreateCx, Explain, clock};
use hemi_proto::cookie::{CookieError, SameSite, SetCookie};
use http::StatusCode;
use http::header::SET_COOKIE;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing::error;

pub use flash::Flash;
pub use token::CsrfError;

use crate::body::BoxError;
use crate::hstate::{DynHstate, HstateKind};
use crate::{Request, Response, Scheme};
use token::Token;

/// Properties of a webapp that has sessions.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionConfig {
    /// The store that keeps the webapp's sessions; without one it has none.
    pub with_hstate: Option<Ref<HstateKind>>,
    /// The cookie that says which session a client has.
    pub session_cookie: CookieName,
    /// How long a session lasts after the last request that asked for it.
    pub session_idle: Duration,
    /// How long a session lasts in all, whatever is asked.
    pub session_age: Duration,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            with_hstate: None,
            session_cookie: CookieName("sid".to_owned()),
            session_idle: Duration::from_secs(30 * 60),
            session_age: Duration::from_secs(12 * 3600),
        }
    }
}

/// The name of a cookie.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CookieName(String);

impl TryFrom<String> for CookieName {
    type Error = CookieError;

    fn try_from(name: String) -> Result<Self, CookieError> {
        SetCookie::new(&name, "").map(|_| Self(name))
    }
}

impl CookieName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ConfigType for CookieName {
    fn kind() -> Cow<'static, str> {
        String::kind()
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

/// The sessions of a webapp.
#[derive(Clone)]
pub(crate) struct Sessions {
    store: Arc<dyn DynHstate>,
    cookie: Arc<str>,
    idle: Duration,
    age: Duration,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The webapp has no store for them.
    #[error("the webapp has no sessions: give it `.withHstate`")]
    None,
    /// The store can't be asked now.
    #[error("the store of sessions fails: {0}")]
    Store(BoxError),
    /// A value is not what was asked for, or can't be kept.
    #[error("a value of the session: {0}")]
    Value(#[from] serde_json::Error),
}

impl SessionError {
    /// What a request is answered that has failed for it: 503 if the store may be there again soon, else 500.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::None | Self::Value(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What a webapp remembers of the client that a request comes from.
///
/// Values are anything that serde takes, by their names. Clones are the same session.
///
/// ```
/// # use hemi_web::{Request, SessionError};
/// async fn count(req: &mut Request) -> Result<String, SessionError> {
///     let session = req.session().await?;
///     let visits = session.value::<u64>("visits")?.unwrap_or_default() + 1;
///     session.set("visits", &visits)?;
///     Ok(format!("your visit number {visits}"))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Session(Arc<Mutex<Inner>>);

struct Inner {
    sessions: Sessions,
    /// The one that the client's cookie names, if there is such a session.
    known: Option<Token>,
    /// Under which it is to be kept from now on.
    token: Option<Token>,
    state: State,
    changed: bool,
    secure: bool,
}

/// What is kept in the store.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// Seconds since 1970.
    created: u64,
    saved: u64,
    values: Map<String, Value>,
}

impl Sessions {
    /// Those that a config asks for.
    pub(crate) fn of(
        config: SessionConfig,
        cx: &mut CreateCx<'_>,
    ) -> hemi_core::Result<Option<Self>> {
        let Some(store) = &config.with_hstate else { return Ok(None) };
        let (cookie, idle) = (config.session_cookie.0.into(), config.session_idle);
        Ok(Some(Self { store: cx.follow(store)?, cookie, idle, age: config.session_age }))
    }

    /// Those that are kept in `store`, with defaults for all else.
    pub(crate) fn in_store(store: Arc<dyn DynHstate>) -> Self {
        let SessionConfig { session_cookie, session_idle, session_age, .. } =
            SessionConfig::default();
        Self { store, cookie: session_cookie.0.into(), idle: session_idle, age: session_age }
    }

    /// The session of the token that the client has sent, else a new one.
    async fn open(self, sent: Option<Token>, secure: bool) -> Result<Session, SessionError> {
        let now = seconds(clock::calendar());
        let mut state = State { created: now, saved: now, values: Map::new() };
        let mut known = None;
        if let Some(token) = sent {
            let kept = self.store.load(&token.key()).await.map_err(SessionError::Store)?;
            let kept = kept.and_then(|bytes| serde_json::from_slice::<State>(&bytes).ok());
            if let Some(kept) =
                kept.filter(|kept| now < kept.created.saturating_add(self.age.as_secs()))
            {
                (state, known) = (kept, Some(token));
            }
        }
        // Only a session that was found goes on under its token: a client can't choose one.
        let token = known.clone();
        let inner = Inner { sessions: self, known, token, state, changed: false, secure };
        Ok(Session(Arc::new(Mutex::new(inner))))
    }
}

impl Request {
    /// The client's session, an empty one if it has none yet.
    ///
    /// # Errors
    /// When the webapp has no sessions, or their store fails.
    pub async fn session(&mut self) -> Result<Session, SessionError> {
        if let Some(session) = self.open_session() {
            return Ok(session.clone());
        }
        let sessions = self.sessions().cloned().ok_or(SessionError::None)?;
        let sent = hemi_proto::cookie::value(self.headers(), sessions.cookie.as_bytes());
        let (sent, secure) = (sent.and_then(Token::parse), self.scheme() == Scheme::Https);
        let session = sessions.open(sent, secure).await?;
        self.set_session(session.clone());
        Ok(session)
    }
}

impl Session {
    /// A value by its name.
    ///
    /// # Errors
    /// When it is there, but not a `T`.
    pub fn value<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        let value = self.lock().state.values.get(name).cloned();
        Ok(value.map(serde_json::from_value).transpose()?)
    }

    /// Remembers a value.
    ///
    /// # Errors
    /// When JSON can't express it.
    pub fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), SessionError> {
        let value = serde_json::to_value(value)?;
        let mut inner = self.lock();
        inner.state.values.insert(name.to_owned(), value);
        inner.changed = true;
        Ok(())
    }

    /// Forgets a value.
    pub fn remove(&self, name: &str) {
        let mut inner = self.lock();
        let removed = inner.state.values.remove(name).is_some();
        inner.changed |= removed;
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().state.values.is_empty()
    }

    /// Has the session go on under a new token. To be called whenever the client's rights change, as at
    /// a login: who has planted or seen the old token is left with nothing.
    pub fn rotate(&self) {
        let mut inner = self.lock();
        inner.token = None;
        inner.changed = true;
    }

    /// Forgets all, and ends the session, as at a logout.
    pub fn clear(&self) {
        let mut inner = self.lock();
        let now = seconds(clock::calendar());
        inner.state = State { created: now, saved: now, values: Map::new() };
        inner.token = None;
        inner.changed = true;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves what has changed, and tells the client its token if that is new.
    pub(crate) async fn close(&self, response: &mut Response) {
        let Some(work) = self.lock().work() else { return };
        if let Err(e) = work.done().await {
            error!("a session is lost, for its store fails: {e}");
            *response = StatusCode::SERVICE_UNAVAILABLE.into();
        } else if let Some(cookie) = work.cookie {
            response.headers_mut().append(SET_COOKIE, cookie.to_header_value());
        }
    }
}

/// What is left to be done for a session when its request is answered.
struct Work {
    store: Arc<dyn DynHstate>,
    /// The key that is kept no longer.
    old: Option<String>,
    /// What is to be kept, where, and for how long.
    new: Option<(String, Bytes, Duration)>,
    /// Whether nothing was kept there before.
    is_new: bool,
    cookie: Option<SetCookie>,
}

impl Inner {
    /// A session that is only read is saved too, when a good part of its time without requests is over.
    fn work(&mut self) -> Option<Work> {
        let now = seconds(clock::calendar());
        let idle = self.sessions.idle.as_secs();
        let stale = self.known.is_some() && now.saturating_sub(self.state.saved) > idle / 8;
        if !std::mem::take(&mut self.changed) && !stale {
            return None;
        }
        let store = self.sessions.store.clone();
        let mut work = Work { store, old: None, new: None, is_new: false, cookie: None };
        if self.state.values.is_empty() {
            self.token = None;
        } else {
            let age = self.state.created.saturating_add(self.sessions.age.as_secs());
            let age = age.saturating_sub(now);
            let keep = Duration::from_secs(age.min(idle).max(1));
            self.state.saved = now;
            let token = self.token.get_or_insert_with(Token::random);
            // Maps of values always have a form in JSON.
            let bytes = serde_json::to_vec(&self.state).unwrap_or_default();
            work.new = Some((token.key(), bytes.into(), keep));
        }
        if self.token != self.known {
            work.is_new = true;
            work.old = self.known.as_ref().map(Token::key);
            work.cookie = self.cookie();
            self.known = self.token.clone();
        }
        Some(work)
    }

    /// The cookie that names the session, or ends it.
    fn cookie(&self) -> Option<SetCookie> {
        let value = self.token.as_ref().map_or("", Token::text);
        let ended = value.is_empty();
        // The name was checked when the config was read, and a token is plain text.
        let cookie = SetCookie::new(&self.sessions.cookie, value).ok()?;
        let cookie = cookie.path("/").ok()?.http_only().same_site(SameSite::Lax);
        let cookie = if self.secure { cookie.secure() } else { cookie };
        Some(if ended { cookie.max_age(Duration::ZERO) } else { cookie })
    }
}

impl Work {
    async fn done(&self) -> Result<(), BoxError> {
        match &self.new {
            Some((key, bytes, keep)) if self.is_new => {
                self.store.save(key, bytes.clone(), *keep).await?;
            }
            // If another request has ended the session meanwhile, it stays ended.
            Some((key, bytes, keep)) => drop(self.store.update(key, bytes.clone(), *keep).await?),
            None => {}
        }
        if let Some(old) = &self.old {
            self.store.remove(old).await?;
        }
        Ok(())
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("cookie", &self.cookie).finish_non_exhaustive()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values are nobody's business.
        f.debug_struct("Session").field("changed", &self.changed).finish_non_exhaustive()
    }
}
