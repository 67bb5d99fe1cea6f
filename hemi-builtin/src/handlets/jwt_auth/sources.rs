//! Where keys come from, and the tokens that they have verified.

use std::collections::HashMap;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hemi_core::client::{Client, ClientLimits};
use hemi_core::clock::{self, Moment};
use hemi_core::cores::{PerCore, wait_aside};
use hemi_core::tls::ConnectorConfig;
use hemi_core::{BoxFuture, CreateCx, Error, HttpUrl, Result};
use http::StatusCode;
use http::header::{ACCEPT, HeaderMap, HeaderValue, USER_AGENT};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::keys::{Algorithm, BadKeys, Key};
use hemi_core::watched::{self, Stamp};

/// All keys, from all places.
pub(super) struct Sources<T> {
    algorithms: Arc<[Algorithm]>,
    files: Vec<KeyFile>,
    remote: Option<Remote>,
    /// The secret's, the remote ones, then those of each file.
    found: Mutex<Vec<Keys>>,
    cores: PerCore<Known<T>>,
}

type Keys = Arc<[Arc<Key>]>;

/// What a core knows.
pub(super) struct Known<T> {
    /// Those of all places.
    pub(super) keys: Keys,
    /// What follows from tokens that were good, by their digest.
    pub(super) good: HashMap<[u8; 32], Arc<T>>,
}

struct KeyFile {
    path: PathBuf,
    form: Form,
    /// What it was like when it was read first.
    stamp: OnceLock<Stamp>,
}

#[derive(Clone, Copy)]
enum Form {
    Pem,
    Jwks,
}

/// Keys that another server has.
struct Remote {
    client: Client,
    refresh_every: Duration,
    /// What was fetched last; outlives reloads.
    last: Arc<Mutex<Option<Keys>>>,
    state: watch::Sender<Asked>,
    wanted: Notify,
}

/// Whether a request has asked for new keys.
struct Asked {
    /// They are being fetched.
    pending: bool,
    /// When one may ask again.
    next: Moment,
}

const SECRET: usize = 0;
const REMOTE: usize = 1;
const FILES: usize = 2;

/// Bytes of a file or answer with keys, at most.
const SIZE: usize = 1 << 20;

/// Requests can have keys fetched not more often than this.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// How soon fetching is tried again after it has failed.
const TRY_AGAIN: Duration = Duration::from_secs(10);

const LIMITS: ClientLimits = ClientLimits {
    connect: Duration::from_secs(2),
    total: Duration::from_secs(3),
    content: SIZE,
    kept: 0,
};

impl<T: Send + Sync + 'static> Sources<T> {
    pub(super) fn new(algorithms: Vec<Algorithm>, cx: &CreateCx<'_>) -> Self {
        let known = || Known { keys: Keys::default(), good: HashMap::new() };
        Self {
            algorithms: algorithms.into(),
            files: Vec::new(),
            remote: None,
            found: Mutex::new(Vec::from([Keys::default(), Keys::default()])),
            cores: PerCore::new(cx.cores(), known),
        }
    }

    pub(super) fn add_secret(&mut self, secret: &str) {
        self.found()[SECRET] = [Arc::new(Key::secret(secret.as_bytes(), &self.algorithms))].into();
    }

    pub(super) fn add_pem(&mut self, path: PathBuf) {
        self.add_file(path, Form::Pem);
    }

    pub(super) fn add_jwks(&mut self, path: PathBuf) {
        self.add_file(path, Form::Jwks);
    }

    fn add_file(&mut self, path: PathBuf, form: Form) {
        self.files.push(KeyFile { path, form, stamp: OnceLock::new() });
        self.found().push(Keys::default());
    }

    pub(super) fn add_remote(
        &mut self,
        url: HttpUrl,
        refresh_every: Duration,
        tls: ConnectorConfig,
        cx: &mut CreateCx<'_>,
    ) -> Result<()> {
        let asked = Asked { pending: false, next: clock::now() };
        self.remote = Some(Remote {
            client: Client::new(url, LIMITS, tls, cx)?,
            refresh_every: refresh_every.max(Duration::from_secs(1)),
            last: cx.carry(Mutex::default),
            state: watch::Sender::new(asked),
            wanted: Notify::new(),
        });
        Ok(())
    }

    /// Reads files, and fetches keys unless there are some from the stage before.
    pub(super) fn prepare(&self) -> Result<()> {
        for (file, index) in self.files.iter().zip(FILES..) {
            let _ = file.stamp.set(Stamp::of(&file.path));
            self.found()[index] = read(&file.path, file.form, &self.algorithms)?;
        }
        if let Some(remote) = &self.remote {
            remote.client.prepare()?;
            let last = lock(&remote.last).clone();
            let keys = match last {
                Some(keys) => Some(keys),
                None => wait_aside(self.fetch(remote))?,
            };
            self.found()[REMOTE] = keys.unwrap_or_default();
        }
        self.update(|_| {});
        Ok(())
    }

    /// Keeps all keys up to date. Has no end.
    pub(super) async fn follow(&self) {
        let files = self.files.iter().zip(FILES..).map(|(file, index)| async move {
            let (form, algorithms) = (file.form, self.algorithms.clone());
            let read = move |path: &Path| read(path, form, &algorithms);
            let stamp = file.stamp.get().copied().unwrap_or_default();
            let note = |keys| self.update(|found| found[index] = keys);
            watched::follow(&file.path, stamp, read, note).await;
        });
        let mut files: Vec<BoxFuture<'_, ()>> = files.map(|file| Box::pin(file) as _).collect();
        let files = poll_fn(move |cx| {
            for file in &mut files {
                // None of them has an end.
                let _ = file.as_mut().poll(cx);
            }
            Poll::<()>::Pending
        });
        tokio::join!(files, self.follow_remote());
    }

    async fn follow_remote(&self) {
        let Some(remote) = &self.remote else { return };
        let mut wait = match self.found()[REMOTE].is_empty() {
            true => remote.refresh_every.min(TRY_AGAIN),
            false => remote.refresh_every,
        };
        loop {
            let wanted = tokio::select! {
                () = sleep(wait) => false,
                () = remote.wanted.notified() => true,
            };
            let fetched = self.fetch(remote).await;
            wait = match fetched {
                Some(_) => remote.refresh_every,
                None => remote.refresh_every.min(TRY_AGAIN),
            };
            if let Some(keys) = fetched {
                self.update(|found| found[REMOTE] = keys);
            }
            if wanted {
                remote.state.send_modify(|asked| asked.pending = false);
            }
        }
    }

    async fn fetch(&self, remote: &Remote) -> Option<Keys> {
        let url = remote.client.url().as_str();
        let mut fields = HeaderMap::new();
        fields.insert(USER_AGENT, HeaderValue::from_static("hemi"));
        fields
            .insert(ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
        let why = match remote.client.get(fields).await {
            Ok(answer) if answer.status == StatusCode::OK => {
                match Key::all_of_jwks(&answer.content, &self.algorithms) {
                    Ok(keys) => {
                        let keys: Keys = keys.into_iter().map(Arc::new).collect();
                        info!(url, keys = keys.len(), "fetched");
                        *lock(&remote.last) = Some(keys.clone());
                        return Some(keys);
                    }
                    Err(e) => e.to_string(),
                }
            }
            Ok(answer) => format!("the server answered {}", answer.status),
            Err(e) => e.to_string(),
        };
        match lock(&remote.last).is_some() {
            true => warn!("the keys known of {url} hold: {why}"),
            false => warn!("there are no keys of {url} yet: {why}"),
        }
        None
    }

    /// Whether there may be other keys than those known.
    pub(super) fn can_be_refreshed(&self) -> bool {
        self.remote.is_some()
    }

    /// Has keys fetched, if that was not done just now, and waits for that.
    pub(super) async fn refresh(&self) {
        let Some(remote) = &self.remote else { return };
        let now = clock::now();
        let asks = remote.state.send_if_modified(|asked| {
            let asks = !asked.pending && now >= asked.next;
            if asks {
                *asked = Asked { pending: true, next: now.after(ASK_EVERY) };
            }
            asks
        });
        if asks {
            remote.wanted.notify_one();
        }
        let mut state = remote.state.subscribe();
        let fetched = state.wait_for(|asked| !asked.pending);
        // One fetch may be under way already.
        let _ = timeout(2 * LIMITS.total, fetched).await;
    }

    /// What this core knows.
    pub(super) fn known(&self) -> MutexGuard<'_, Known<T>> {
        self.cores.mine()
    }

    /// Changes keys, after which no token is known that others have verified.
    fn update(&self, change: impl FnOnce(&mut Vec<Keys>)) {
        let keys: Keys = {
            let mut found = self.found();
            change(&mut found);
            found.iter().flat_map(|keys| keys.iter().cloned()).collect()
        };
        for mut known in self.cores.each() {
            known.keys = keys.clone();
            known.good.clear();
        }
    }

    fn found(&self) -> MutexGuard<'_, Vec<Keys>> {
        lock(&self.found)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(path: &Path, form: Form, algorithms: &[Algorithm]) -> Result<Keys> {
    let shown = path.display();
    let text = watched::read_text(path, SIZE as u64)
        .map_err(|e| Error::env(format!("cannot read {shown}"), e))?;
    let keys = match form {
        Form::Pem => Key::all_of_pem(&text, algorithms),
        Form::Jwks => Key::all_of_jwks(text.as_bytes(), algorithms),
    };
    let keys = keys.map_err(|e: BadKeys| Error::other(format!("{shown}: {e}")))?;
    Ok(keys.into_iter().map(Arc::new).collect())
}
