//! Where a program finds its config, and where it keeps its files.

use std::path::{Path, PathBuf};

use hemi_core::config::{Constants, Source};

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
    let top_dir = match (&options.top_dir, wanted, home) {
        (Some(dir), ..) => here.join(dir),
        (None, None, Some(home)) => home.clone(),
        _ => beside,
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
