//! The hstate `filesysHstate`: sessions as files of a directory.
//!
//! ```gorox
//! stage {
//! 	filesysHstate "sessions" { .stateDir = %varDir + "/sessions" }
//! 	webapp "shop" { .hostnames = ("*")  .withHstate = "sessions"  rule { .returnCode = 200 } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("shop") }
//! }
//! ```
//!
//! They outlive the process, and machines that share the directory share them. A file holds the second
//! in which its time is over, a line end, and the session; it is written aside and renamed into place,
//! so that nobody sees a half of one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hemi_core::{Component, CreateCx, Error, Explain, Lifecycle, Prepare, Result, Run};
use hemi_web::{BoxError, Hstate};
use serde::Deserialize;
use tracing::warn;

/// Keeps sessions as files.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct FilesysHstateConfig {
    /// The directory, made if it is not there; nobody but this process's user may look into it.
    pub state_dir: PathBuf,
    /// How often files whose time is over are looked for and removed.
    #[serde(default = "ten_minutes")]
    pub sweep_every: Duration,
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

/// A file that was written aside, and not renamed for so long, was given up.
const GIVEN_UP: Duration = Duration::from_secs(3600);

/// Sessions as files.
#[derive(Debug)]
pub struct FilesysHstate {
    dir: Arc<Path>,
    sweep_every: Duration,
}

impl Component for FilesysHstate {
    const SIGN: &'static str = "filesysHstate";
    type Config = FilesysHstateConfig;

    fn create(config: FilesysHstateConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let sweep_every = config.sweep_every.max(Duration::from_secs(1));
        Ok(Self { dir: cx.written(config.state_dir).into(), sweep_every })
    }
}

impl Lifecycle for FilesysHstate {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|e| Error::env(format!("cannot make {}", self.dir.display()), e))
    }

    async fn run(&self, cx: &Run) {
        loop {
            tokio::select! {
                () = cx.shut().cancelled() => return,
                () = tokio::time::sleep(self.sweep_every) => {}
            }
            let dir = self.dir.clone();
            let swept = blocking(move || sweep(&dir, SystemTime::now())).await;
            if let Err(e) = swept {
                warn!(dir = %self.dir.display(), "sessions were not swept: {e}");
            }
        }
    }
}

impl Hstate for FilesysHstate {
    async fn load(&self, key: &str) -> Result<Option<Bytes>, BoxError> {
        let path = self.path(key)?;
        Ok(blocking(move || read(&path)).await?)
    }

    async fn save(&self, key: &str, state: Bytes, keep: Duration) -> Result<(), BoxError> {
        let (dir, path) = (self.dir.clone(), self.path(key)?);
        Ok(blocking(move || write(&dir, &path, &state, keep)).await?)
    }

    async fn update(&self, key: &str, state: Bytes, keep: Duration) -> Result<bool, BoxError> {
        let (dir, path) = (self.dir.clone(), self.path(key)?);
        let update = move || {
            let is_kept = path.try_exists()?;
            if is_kept {
                write(&dir, &path, &state, keep)?;
            }
            Ok(is_kept)
        };
        Ok(blocking(update).await?)
    }

    async fn remove(&self, key: &str) -> Result<(), BoxError> {
        let path = self.path(key)?;
        let removed = blocking(move || std::fs::remove_file(path)).await;
        match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }
}

impl FilesysHstate {
    fn path(&self, key: &str) -> Result<PathBuf, BoxError> {
        let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if plain { Ok(self.dir.join(key)) } else { Err("not the key of a session".into()) }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn read(path: &Path) -> io::Result<Option<Bytes>> {
    let mut content = Vec::new();
    match File::open(path).and_then(|mut file| file.read_to_end(&mut content)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let Some((until, start)) = head(&content) else { return Ok(None) };
    Ok((SystemTime::now() < until).then(|| Bytes::from(content).slice(start..)))
}

/// When the session is over, and where its bytes begin.
fn head(content: &[u8]) -> Option<(SystemTime, usize)> {
    let end = content.iter().take(24).position(|byte| *byte == b'\n')?;
    let seconds = std::str::from_utf8(content.get(..end)?).ok()?.parse().ok()?;
    Some((SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?, end + 1))
}

fn write(dir: &Path, path: &Path, state: &[u8], keep: Duration) -> io::Result<()> {
    // Other machines may have processes of the same number.
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let aside = dir.join(format!(".{:032x}", u128::from_ne_bytes(random)));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let until = now.saturating_add(keep).as_secs();
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside);
    let written = written.and_then(|mut file| {
        file.write_all(format!("{until}\n").as_bytes())?;
        file.write_all(state)
    });
    let renamed = written.and_then(|()| std::fs::rename(&aside, path));
    if renamed.is_err() {
        // What failed has been told already.
        let _ = std::fs::remove_file(&aside);
    }
    renamed
}

/// Removes what is over, and what was begun and given up.
fn sweep(dir: &Path, now: SystemTime) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let over = match entry.file_name().to_str() {
            Some(name) if name.starts_with('.') => {
                let age = entry.metadata().and_then(|meta| meta.modified());
                age.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > GIVEN_UP))
            }
            Some(_) => is_over(&entry.path(), now),
            None => false,
        };
        if over {
            // Another process that shares the directory may have been faster.
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn is_over(path: &Path, now: SystemTime) -> bool {
    let mut start = [0; 24];
    let got = File::open(path).and_then(|mut file| file.read(&mut start));
    let start = got.ok().and_then(|got| start.get(..got));
    start.and_then(head).is_some_and(|(until, _)| until <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_neither_read_nor_kept() {
        let dir = hemi_test::TempDir::new().unwrap();
        let (long, short) = (dir.path().join("long"), dir.path().join("short"));
        write(dir.path(), &long, b"a\nb", Duration::from_secs(100)).unwrap();
        write(dir.path(), &short, b"c", Duration::ZERO).unwrap();
        assert_eq!(read(&long).unwrap().unwrap(), "a\nb");
        assert_eq!(read(&short).unwrap(), None);
        sweep(dir.path(), SystemTime::now()).unwrap();
        assert!(long.exists() && !short.exists());
        sweep(dir.path(), SystemTime::now() + Duration::from_secs(200)).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_broken_file_is_no_session() {
        let dir = hemi_test::TempDir::new().unwrap();
        for content in ["", "x", "12", "x\ny", "99999999999999999999999999\nlate"] {
            let path = dir.write("broken", content).unwrap();
            assert_eq!(read(&path).unwrap(), None, "{content:?}");
        }
    }
}
