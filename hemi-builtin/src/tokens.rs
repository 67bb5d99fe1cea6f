//! Tokens that clients are known by (RFC 6750), from a file, for components that ask for them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use hemi_core::cores::PerCore;
use hemi_core::watched::{self, Stamp};
use hemi_core::{CreateCx, Error, Explain, Prepare, Result, Run};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Tokens that clients are known by.
#[derive(Debug, Default, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct TokensConfig {
    /// A file of lines `name:token`: clients are let in by a token of 16 bytes at least (Bearer, RFC 6750), and have its
    /// name; `#` begins a comment, and a name may have several. It is read again within a second after it has
    /// changed; if that fails, what it said before holds.
    token_file: Option<PathBuf>,
}

/// Bytes of a file of tokens, at most.
const FILE_SIZE: u64 = 16 << 20;

/// Bytes of a token, at least.
const SHORTEST: usize = 16;

/// Tokens that are known.
#[derive(Debug)]
pub(crate) struct TokenList {
    file: PathBuf,
    /// What the file was like when it was read first.
    stamp: OnceLock<Stamp>,
    salt: [u8; 32],
    cores: OnceLock<PerCore<Arc<Tokens>>>,
}

/// Names by salted digests of their tokens, so that how long it takes to look one up tells nothing of it.
type Tokens = HashMap<[u8; 32], String>;

impl TokensConfig {
    /// Whether there can't be any.
    pub(crate) fn is_empty(&self) -> bool {
        self.token_file.is_none()
    }
}

impl TokenList {
    /// Those that properties tell of.
    pub(crate) fn create(config: TokensConfig, cx: &mut CreateCx<'_>) -> Result<Option<Self>> {
        let Some(file) = config.token_file else { return Ok(None) };
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(|e| Error::other(format!("no random bytes: {e}")))?;
        let (stamp, cores) = (OnceLock::new(), OnceLock::new());
        Ok(Some(Self { file: cx.path(file), stamp, salt, cores }))
    }

    /// Reads the file.
    pub(crate) fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let _ = self.stamp.set(Stamp::of(&self.file));
        let tokens = Arc::new(read(&self.file, &self.salt)?);
        let _ = self.cores.set(PerCore::new(cx.cores(), || tokens.clone()));
        Ok(())
    }

    /// Follows it, until the stage ends.
    pub(crate) async fn run(&self, cx: &Run) {
        let (stamp, salt) = (self.stamp.get().copied().unwrap_or_default(), self.salt);
        let read = move |path: &Path| read(path, &salt);
        let follow = watched::follow(&self.file, stamp, read, |tokens| {
            let tokens = Arc::new(tokens);
            for mut known in self.cores.get().into_iter().flat_map(PerCore::each) {
                known.clone_from(&tokens);
            }
        });
        tokio::select! {
            () = cx.shut().cancelled() => {}
            () = follow => {}
        }
        // Requests under way are still checked, by what is known.
    }

    /// Whose token it is, if it is one.
    pub(crate) fn name_of(&self, token: &[u8]) -> Option<String> {
        self.cores.get()?.mine().get(&digest(token, &self.salt)).cloned()
    }
}

fn digest(token: &[u8], salt: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(salt).chain_update(token).finalize().into()
}

/// Reads a file of lines `name:token`.
fn read(path: &Path, salt: &[u8; 32]) -> Result<Tokens> {
    let shown = path.display();
    let text = watched::read_text(path, FILE_SIZE)
        .map_err(|e| Error::env(format!("cannot read {shown}"), e))?;
    let mut tokens = Tokens::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let refused = |why: &str| Error::other(format!("{shown}:{number}: {why}"));
        let (name, token) = line.split_once(':').ok_or_else(|| refused("no `name:token`"))?;
        // What a token is made of (RFC 6750, 2.1).
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if name.is_empty() || !token.bytes().all(fits) {
            return Err(refused("a token has letters, digits and `-._~+/=` only, and a name"));
        }
        if token.len() < SHORTEST {
            return Err(refused(
                "the token is too short: `openssl rand -base64 24` makes a good one",
            ));
        }
        if tokens.insert(digest(token.as_bytes(), salt), name.to_owned()).is_some() {
            return Err(refused("the token is somebody's already"));
        }
    }
    Ok(tokens)
}
