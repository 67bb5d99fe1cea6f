//! Users and their passwords, for components that ask for them.
//!
//! A hash that is worth something takes long to compute: that is done on threads of its own, a few at a
//! time, and what was found right is remembered for a while. A name that is not known costs as much as one
//! that is.

mod hashes;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Included, Unbounded};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hemi_core::clock::{self, Moment};
use hemi_core::config::Diagnostic;
use hemi_core::cores::PerCore;
use hemi_core::watched::{self, Stamp};
use hemi_core::{CreateCx, Error, Explain, Prepare, Result, Run};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::realm::credentials;

pub(crate) use hashes::Hash;

/// Users and their passwords.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct UsersConfig {
    /// Hashes of passwords by names; they count before those of the file.
    users: BTreeMap<String, Hash>,
    /// A file of lines `name:hash`, as `htpasswd` writes it; `#` begins a comment. Of two lines with the
    /// same name the first counts. It is read again within a second after it has changed; if that
    /// fails, what it said before holds.
    file: Option<PathBuf>,
    /// How long a password that was right need not be computed again, if its hash stays the same.
    remember: Duration,
}

impl Default for UsersConfig {
    fn default() -> Self {
        Self { users: BTreeMap::new(), file: None, remember: Duration::from_secs(300) }
    }
}

impl UsersConfig {
    /// Whether there can't be any.
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.file.is_none()
    }
}

/// Too many passwords are being computed.
#[derive(Debug)]
pub(crate) struct Busy;

/// Bytes of a file of users, at most.
const FILE_SIZE: u64 = 16 << 20;

/// Bytes of a password, at most: more nobody types.
const PASSWORD: usize = 1024;

/// Passwords that a core remembers, at most.
const REMEMBERED: usize = 1000;

/// Requests that wait for their password to be computed, at most.
const WAITING: usize = 256;

/// Users that are known.
#[derive(Debug)]
pub(crate) struct UserList {
    listed: BTreeMap<String, Hash>,
    file: Option<PathBuf>,
    /// What the file was like when it was read first.
    stamp: OnceLock<Stamp>,
    remember: Duration,
    /// Makes what is remembered worthless to others.
    salt: [u8; 32],
    cores: OnceLock<PerCore<Known>>,
    /// One for each password that may be computed at the same time.
    computing: Arc<Semaphore>,
    /// One for each request that may wait for that.
    waiting: Semaphore,
}

type Users = BTreeMap<String, Hash>;

/// What a core knows.
#[derive(Debug)]
struct Known {
    users: Arc<Users>,
    /// What was found right, as a hash, and until when that holds.
    right: HashMap<[u8; 32], Moment>,
}

/// A name and a password, as the client says.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) name: String,
    pub(crate) password: String,
}

impl UserList {
    /// Those that properties tell of.
    pub(crate) fn create(config: UsersConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        if let Some(name) = config.users.keys().find(|name| !is_name(name)) {
            let message = format!("nobody can say this name: {name:?}");
            let help = "write it without `:` and control characters";
            return Err(Diagnostic::new(cx.span(), message).help(help).into());
        }
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(|e| Error::other(format!("no random bytes: {e}")))?;
        Ok(Self {
            listed: config.users,
            file: config.file.map(|file| cx.path(file)),
            stamp: OnceLock::new(),
            remember: config.remember,
            salt,
            cores: OnceLock::new(),
            computing: Arc::new(Semaphore::new(cx.cores().div_ceil(2))),
            waiting: Semaphore::new(WAITING),
        })
    }

    /// Reads the file.
    pub(crate) fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let from_file = match &self.file {
            Some(path) => {
                let _ = self.stamp.set(Stamp::of(path));
                read(path)?
            }
            None => Users::new(),
        };
        let users = Arc::new(self.with_listed(from_file));
        let known = || Known { users: users.clone(), right: HashMap::new() };
        let _ = self.cores.set(PerCore::new(cx.cores(), known));
        Ok(())
    }

    /// Follows it, until the stage ends.
    pub(crate) async fn run(&self, cx: &Run) {
        let Some(path) = &self.file else { return };
        let stamp = self.stamp.get().copied().unwrap_or_default();
        let follow = watched::follow(path, stamp, read, |users| self.update(users));
        tokio::select! {
            () = cx.shut().cancelled() => {}
            () = follow => {}
        }
        // Requests under way are still checked, by what is known.
    }

    /// Whether the password is known to be the name's; none if that has to be computed.
    pub(crate) fn check_now(&self, credentials: &Credentials) -> Option<bool> {
        let mut known = self.cores.get()?.mine();
        let proof = self.proof(credentials, nearest(&known.users, &credentials.name)?);
        match known.right.get(&proof) {
            Some(until) if clock::now() < *until => Some(true),
            Some(_) => {
                known.right.remove(&proof);
                None
            }
            None => None,
        }
    }

    /// Computes whether the password is the name's.
    ///
    /// # Errors
    /// When too many others wait for that.
    pub(crate) async fn check(&self, credentials: &Credentials) -> Result<bool, Busy> {
        let users = self.cores.get().ok_or(Busy)?.mine().users.clone();
        let Some(user) = nearest(&users, &credentials.name) else { return Ok(false) };
        let _place = self.waiting.try_acquire().map_err(|_| Busy)?;
        let permit = self.computing.clone().acquire_owned().await.map_err(|_| Busy)?;
        let (password, of) = (credentials.password.clone(), user.1.clone());
        let computed = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            of.is_of(&password)
        });
        let of_hash = computed.await.map_err(|_| Busy)?;
        let right = of_hash && *user.0 == credentials.name;
        if right {
            self.note(self.proof(credentials, user));
        }
        Ok(right)
    }

    /// Stands for the password of a user, that is right as long as its hash stays the same.
    fn proof(&self, credentials: &Credentials, user: (&String, &Hash)) -> [u8; 32] {
        let mut proof = Sha256::new();
        proof.update(self.salt);
        for part in [user.0, &credentials.name, &credentials.password, user.1.text()] {
            proof.update((part.len() as u64).to_le_bytes());
            proof.update(part);
        }
        proof.finalize().into()
    }

    fn note(&self, proof: [u8; 32]) {
        let Some(cores) = self.cores.get() else { return };
        let (mut known, now) = (cores.mine(), clock::now());
        if known.right.len() >= REMEMBERED {
            known.right.retain(|_, until| now < *until);
        }
        if known.right.len() < REMEMBERED {
            known.right.insert(proof, now.after(self.remember));
        }
    }

    /// Those of the file, and of the config.
    fn with_listed(&self, mut users: Users) -> Users {
        users.extend(self.listed.iter().map(|(name, hash)| (name.clone(), hash.clone())));
        users
    }

    fn update(&self, from_file: Users) {
        let users = Arc::new(self.with_listed(from_file));
        for mut known in self.cores.get().into_iter().flat_map(PerCore::each) {
            known.users = users.clone();
        }
    }
}

/// The user of this name, or another one, always the same, for the same to be done for a name that is
/// not there: how long that takes tells nothing.
fn nearest<'a>(users: &'a Users, name: &str) -> Option<(&'a String, &'a Hash)> {
    users.range::<str, _>((Included(name), Unbounded)).next().or_else(|| users.first_key_value())
}

/// Whether it can be in a request (RFC 7617, 2).
fn is_name(name: &str) -> bool {
    !name.chars().any(|c| c == ':' || c.is_control())
}

/// Reads a file of lines `name:hash`.
fn read(path: &Path) -> Result<Users> {
    let shown = path.display();
    let text = watched::read_text(path, FILE_SIZE)
        .map_err(|e| Error::env(format!("cannot read {shown}"), e))?;
    let mut users = Users::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let refused = |why: &str| Error::other(format!("{shown}:{number}: {why}"));
        let (name, hash) = line.split_once(':').ok_or_else(|| refused("no `name:hash`"))?;
        // More fields than two are somebody else's.
        let hash = hash.split(':').next().unwrap_or_default();
        let hash = Hash::try_from(hash.to_owned()).map_err(|e| refused(&e.to_string()))?;
        users.entry(name.to_owned()).or_insert(hash);
    }
    Ok(users)
}

impl Credentials {
    /// Of the value of a field, if it is of this scheme (RFC 7617).
    pub(crate) fn of_basic(field: &[u8]) -> Option<Self> {
        let encoded = credentials(field, "basic").filter(|text| text.len() <= 2 * PASSWORD)?;
        let decoded = STANDARD.decode(encoded).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (name, password) = text.split_once(':')?;
        let clean = !text.chars().any(char::is_control) && password.len() <= PASSWORD;
        clean.then(|| Self { name: name.to_owned(), password: password.to_owned() })
    }
}
