//! Where a program finds its config, and where it keeps its files.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hemi_core::config::{Constants, Source};
use rustix::fs::OFlags;

use crate::Call;

/// The config to load, and the directories it may name.
pub(crate) fn locate(call: &Call<'_>) -> Result<(Source, Constants), String> {
    let (program, options) = (call.program, call.options);
    let here = std::env::current_dir().map_err(|e| format!("cannot tell where I am: {e}"))?;
    let file = Path::new("conf").join(format!("{}.conf", program.name));
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    let beside = beside.unwrap_or_else(|| here.clone());
    let wanted = options.config.as_ref().or(options.operands.first());
    let homes = [Some(&here), options.top_dir.as_ref(), Some(&beside)];
    let home = homes.into_iter().flatten().find(|dir| dir.join(&file).is_file());
    let source = match (wanted, home) {
        (Some(url), _) if url.starts_with("http://") || url.starts_with("https://") => {
            Source::Url(url.clone())
        }
        (Some(path), _) => Source::File(path.into()),
        (None, Some(home)) if *home == here => Source::File(file),
        (None, Some(home)) => Source::File(home.join(file)),
        (None, None) => Source::text("the default config", program.default_config),
    };
    let around = match &source {
        Source::File(path) => around_conf(&here.join(path)),
        _ => None,
    };
    let top_dir = match (&options.top_dir, around, home) {
        (Some(dir), ..) => here.join(dir),
        (None, Some(dir), _) => dir,
        (None, None, Some(home)) => home.clone(),
        (None, None, None) => beside,
    };
    let under = |dir: &Option<PathBuf>, default: &str| {
        dir.as_ref().map_or_else(|| top_dir.join(default), |dir| here.join(dir))
    };
    let constants = Constants {
        log_dir: under(&options.log_dir, "data/log"),
        tmp_dir: under(&options.tmp_dir, "data/tmp"),
        var_dir: under(&options.var_dir, "data/var"),
        top_dir,
        env: call.env.clone(),
    };
    Ok((source, constants))
}

/// The directory whose `conf` this file lies in.
fn around_conf(file: &Path) -> Option<PathBuf> {
    let conf = file.parent().filter(|dir| dir.ends_with("conf"))?;
    conf.parent().map(Path::to_owned)
}

/// Where the processes of a program find each other: files in `%varDir`.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    name: &'static str,
    socket: Option<PathBuf>,
}

impl Home {
    pub(crate) fn new(call: &Call<'_>, constants: &Constants) -> Self {
        let (dir, name) = (constants.var_dir.clone(), call.program.name);
        let socket = call.options.cmdui.as_ref().filter(|place| place.contains('/'));
        Self { dir, name, socket: socket.map(PathBuf::from) }
    }

    /// Makes the directory.
    pub(crate) fn prepare(&self) -> Result<(), String> {
        let cannot = |e| format!("cannot write to {}: {e}", self.dir.display());
        fs::create_dir_all(&self.dir).map_err(cannot)?;
        rustix::fs::access(&self.dir, rustix::fs::Access::WRITE_OK).map_err(|e| cannot(e.into()))
    }

    /// Holds the id of the leader, and is locked by it.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.file("pid")
    }

    /// Where the leader can be asked.
    pub(crate) fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.file("sock"))
    }

    /// Where a worker that has lost its leader waits for another.
    pub(crate) fn rescue(&self) -> PathBuf {
        self.file("rescue")
    }

    /// The token by which others than this user may ask.
    pub(crate) fn token(&self) -> PathBuf {
        self.file("token")
    }

    /// The token of those who may only look, if somebody has put one there.
    pub(crate) fn viewer(&self) -> PathBuf {
        self.file("viewer.token")
    }

    /// Keeps a config that has proven good.
    pub(crate) fn keep_config(&self, config: &str) -> io::Result<()> {
        let fresh = self.file("good.new");
        let mut options = OpenOptions::new();
        // The directory may be a worker's, which must not point elsewhere.
        options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits() as i32);
        let mut file = options.write(true).create(true).truncate(true).open(&fresh)?;
        file.write_all(config.as_bytes())?;
        fs::rename(fresh, self.file("good.conf"))
    }

    fn file(&self, end: &str) -> PathBuf {
        self.dir.join(format!("{}.{end}", self.name))
    }
}
